//! `Manifest.json`: which items a package holds, and where.
//!
//! Reads any manifest of format version 1.0.0 or older, strictly where a lie could harm: keys, versions, and above all
//! paths, which must stay inside the package. Writes the two items of an ML Program with identifiers that depend on
//! nothing but their names, so that packages are reproducible.
//! Source of the rules: apple/coremltools e0e2f42, `modelpackage/src/ModelPackage.cpp`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::{Component, Path, PathBuf},
};

use serde::{
    Deserialize, Serialize,
    de::{Error as _, MapAccess, Visitor},
};

use crate::error::{Error, IoContext, ManifestFault};

/// Name of the manifest inside a package.
pub const MANIFEST_FILE: &str = "Manifest.json";
/// Directory that item paths are relative to.
pub(crate) const DATA_DIR: &str = "Data";
/// Author of the items that Core ML itself defines.
const AUTHOR: &str = "com.apple.CoreML";
const MODEL_NAME: &str = "model.mlmodel";
const WEIGHTS_NAME: &str = "weights";
/// No manifest that anyone writes comes near this size.
const MAX_BYTES: u64 = 4 << 20;

/// One item of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Who defined the item, for example `com.apple.CoreML`.
    pub author: String,
    /// What it is, in words.
    pub description: String,
    /// Name, unique for its author.
    pub name: String,
    /// Path of a file or directory below `Data`, with forward slashes.
    pub path: String,
}

/// The contents of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    file_format_version: String,
    #[serde(default, deserialize_with = "unique_items")]
    item_info_entries: BTreeMap<String, Item>,
    root_model_identifier: String,
}

impl Manifest {
    /// The manifest of a package with a model and, if `has_weights`, a directory of weight files.
    #[must_use]
    pub fn for_program(has_weights: bool) -> Self {
        let mut items = BTreeMap::new();
        let mut add = |name: &str, description: &str| {
            let path = format!("{AUTHOR}/{name}");
            let id = identifier(&path);
            let item = Item { author: AUTHOR.into(), description: description.into(), name: name.into(), path };
            items.insert(id.clone(), item);
            id
        };
        let root = add(MODEL_NAME, "CoreML Model Specification");
        if has_weights {
            add(WEIGHTS_NAME, "CoreML Model Weights");
        }
        Self { file_format_version: "1.0.0".into(), item_info_entries: items, root_model_identifier: root }
    }

    /// Parses and checks a manifest; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Manifest`] for every breach but paths that do not exist, which only [`Manifest::read`] can know.
    pub fn parse(json: &[u8], path: &Path) -> Result<Self, Error> {
        let fault = |fault| Error::Manifest { path: path.to_path_buf(), fault };
        let manifest: Self = serde_json::from_slice(json).map_err(|e| fault(ManifestFault::Syntax(e.to_string())))?;
        manifest.check().map_err(fault)?;
        Ok(manifest)
    }

    /// Reads the manifest of the package at `package`, and checks that each item is there.
    ///
    /// # Errors
    /// [`Error::Manifest`], or [`Error::Io`] when a file cannot be read.
    pub fn read(package: &Path) -> Result<Self, Error> {
        let path = package.join(MANIFEST_FILE);
        let fault = |fault| Error::Manifest { path: path.clone(), fault };
        match fs::metadata(&path) {
            Ok(meta) if meta.is_file() => {}
            Ok(_) => return Err(fault(ManifestFault::Missing)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(fault(ManifestFault::Missing)),
            Err(e) => return Err(e).at("read", &path),
        }
        let manifest = Self::parse(&safe_files::read(&path, MAX_BYTES)?, &path)?;
        for item in manifest.items() {
            manifest.locate(package, item)?;
        }
        Ok(manifest)
    }

    /// The JSON text: keys sorted, four spaces, as coremltools writes it.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = Vec::new();
        let mut serializer =
            serde_json::Serializer::with_formatter(&mut out, serde_json::ser::PrettyFormatter::with_indent(b"    "));
        self.serialize(&mut serializer).expect("invariant: strings serialise");
        out.push(b'\n');
        String::from_utf8(out).expect("invariant: JSON is UTF-8")
    }

    /// All items, in the order of their identifiers.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.item_info_entries.values()
    }

    /// The item that is the model.
    #[must_use]
    pub fn root(&self) -> &Item {
        self.item_info_entries.get(&self.root_model_identifier).expect("invariant: checked when parsed")
    }

    /// The directory of weight files, if the package has one.
    #[must_use]
    pub fn weights(&self) -> Option<&Item> {
        self.items().find(|item| item.author == AUTHOR && item.name == WEIGHTS_NAME)
    }

    /// The absolute path of an item, which lies inside `package`, symbolic links resolved.
    ///
    /// # Errors
    /// When the item is not there, or a symbolic link leads out of the package (and its repository in the Hub's cache).
    pub fn locate(&self, package: &Path, item: &Item) -> Result<PathBuf, Error> {
        let fault = |fault| Error::Manifest { path: package.join(MANIFEST_FILE), fault };
        match resolve_inside(&package.join(DATA_DIR), &item.path) {
            Ok(path) => Ok(path),
            Err(Outside::Absent) => Err(fault(ManifestFault::Absent(item.path.clone()))),
            Err(Outside::Refused(reason)) => Err(fault(ManifestFault::Path { path: item.path.clone(), reason })),
            Err(Outside::Io(e)) => Err(e).at("resolve", &package.join(DATA_DIR).join(&item.path)),
        }
    }

    /// The directory that an item's own files lie in, as the package has it: links are not resolved.
    pub(crate) fn directory_of(package: &Path, item: &Item) -> PathBuf {
        let path = package.join(DATA_DIR).join(&item.path);
        path.parent().unwrap_or(package).to_path_buf()
    }

    fn check(&self) -> Result<(), ManifestFault> {
        if !is_supported(&self.file_format_version) {
            return Err(ManifestFault::Version(self.file_format_version.clone()));
        }
        if !self.item_info_entries.contains_key(&self.root_model_identifier) {
            return Err(ManifestFault::Root(self.root_model_identifier.clone()));
        }
        let mut seen = BTreeSet::new();
        for item in self.items() {
            if let Err(reason) = check_relative(&item.path) {
                return Err(ManifestFault::Path { path: item.path.clone(), reason });
            }
            if !seen.insert((&item.author, &item.name)) {
                return Err(ManifestFault::Duplicate(format!("{}/{}", item.author, item.name)));
            }
        }
        Ok(())
    }
}

/// True for `a.b.c` up to 1.0.0.
fn is_supported(version: &str) -> bool {
    let parts: Option<Vec<u32>> =
        version.split('.').map(|p| (p.bytes().all(|b| b.is_ascii_digit())).then(|| p.parse().ok()).flatten()).collect();
    parts.is_some_and(|p| p.len() == 3 && p <= vec![1, 0, 0])
}

/// Why a relative path does not lead to a place inside a directory.
#[derive(Debug)]
pub(crate) enum Outside {
    /// There is nothing.
    Absent,
    /// It is spelt in a way that could lead out, or a symbolic link does lead out.
    Refused(&'static str),
    /// The operating system does not say.
    Io(std::io::Error),
}

/// Checks that a path of a file cannot name a place outside the directory that it is relative to.
pub(crate) fn check_relative(path: &str) -> Result<(), &'static str> {
    if path.contains('\\') {
        return Err("it has a backslash");
    }
    if path.contains('\0') {
        return Err("it has a zero byte");
    }
    if path.starts_with('/') {
        return Err("it is absolute");
    }
    for part in path.split('/') {
        match part {
            "" => return Err("it has an empty component"),
            "." | ".." => return Err("it has a dot component"),
            _ => {}
        }
    }
    // Drive letters and other prefixes of the platform at hand.
    if !Path::new(path).components().all(|c| matches!(c, Component::Normal(_))) {
        return Err("it is absolute");
    }
    Ok(())
}

/// The real path of `relative` below `base`.
pub(crate) fn resolve_inside(base: &Path, relative: &str) -> Result<PathBuf, Outside> {
    check_relative(relative).map_err(Outside::Refused)?;
    let real = |path: &Path| {
        path.canonicalize().map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => Outside::Absent,
            _ => Outside::Io(e),
        })
    };
    let (base, path) = (real(base)?, real(&base.join(relative))?);
    if path.starts_with(&base) || is_in_same_cache(&base, &path) {
        return Ok(path);
    }
    Err(Outside::Refused("a symbolic link leads out of the package; copy the package without links, as cp -rL does"))
}

/// True for a blob in the cache of huggingface_hub, of the repository that the package is a snapshot of:
/// `REPOSITORY/snapshots/HASH/…` links to `REPOSITORY/blobs`.
fn is_in_same_cache(base: &Path, blob: &Path) -> bool {
    let snapshots = base.ancestors().find(|folder| folder.file_name().is_some_and(|name| name == "snapshots"));
    let repository = snapshots.and_then(Path::parent);
    repository.is_some_and(|repository| blob.starts_with(repository.join("blobs")))
}

/// An identifier in UUID form that depends on `name` only: FNV-1a of 128 bits, marked as version 8 (RFC 9562).
fn identifier(name: &str) -> String {
    let mut hash = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
    for byte in name.bytes() {
        hash = (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
    }
    let id = hash & !(0xF << 76) & !(0b11 << 62) | 0x8 << 76 | 0b10 << 62;
    let hex = format!("{id:032X}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// A map of items that refuses a repeated key, which JSON leaves open.
fn unique_items<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Item>, D::Error> {
    struct Unique;
    impl<'de> Visitor<'de> for Unique {
        type Value = BTreeMap<String, Item>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of items")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut items = BTreeMap::new();
            while let Some((key, item)) = map.next_entry::<String, Item>()? {
                if items.insert(key.clone(), item).is_some() {
                    return Err(A::Error::custom(format!("item {key:?} stands twice")));
                }
            }
            Ok(items)
        }
    }
    deserializer.deserialize_map(Unique)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(version: &str, path: &str) -> String {
        format!(
            r#"{{"fileFormatVersion": "{version}", "rootModelIdentifier": "A", "extra": [1],
              "itemInfoEntries": {{"A": {{"author": "a", "description": "", "name": "n", "path": "{path}"}}}}}}"#
        )
    }

    #[track_caller]
    fn fault(json: &str) -> ManifestFault {
        match Manifest::parse(json.as_bytes(), Path::new("Manifest.json")) {
            Err(Error::Manifest { fault, .. }) => fault,
            other => panic!("no manifest fault but {other:?}"),
        }
    }

    #[test]
    fn identifiers_depend_on_names_only_and_look_like_uuids() {
        let text = Manifest::for_program(true).to_json();
        assert_eq!(text, Manifest::for_program(true).to_json());
        let id = identifier("com.apple.CoreML/weights");
        assert_eq!(id.len(), 36);
        assert_eq!(&id[14..15], "8");
        assert!(id.chars().all(|c| c == '-' || c.is_ascii_digit() || c.is_ascii_uppercase()));
        assert_ne!(id, identifier("com.apple.CoreML/model.mlmodel"));
        assert!(text.contains(&id) && text.ends_with("}\n"));
        let back = Manifest::parse(text.as_bytes(), Path::new("m")).unwrap();
        assert_eq!(back, Manifest::for_program(true));
        assert_eq!(back.root().path, "com.apple.CoreML/model.mlmodel");
        assert_eq!(back.weights().map(|w| w.path.as_str()), Some("com.apple.CoreML/weights"));
        assert!(Manifest::for_program(false).weights().is_none());
    }

    #[test]
    fn path_tricks_are_refused_by_name() {
        for (path, reason) in [
            ("../x", "it has a dot component"),
            ("a/../../x", "it has a dot component"),
            ("./x", "it has a dot component"),
            ("/etc/passwd", "it is absolute"),
            ("a//b", "it has an empty component"),
            ("", "it has an empty component"),
            (r"a\\..\\b", "it has a backslash"),
            (r"a\u0000b", "it has a zero byte"),
        ] {
            match fault(&manifest("1.0.0", path)) {
                ManifestFault::Path { reason: found, .. } => assert_eq!(found, reason, "{path}"),
                other => panic!("{path}: {other}"),
            }
        }
    }

    #[test]
    fn only_versions_up_to_1_0_0_are_read() {
        for version in ["1.0.0", "0.9.7", "0.0.0"] {
            assert!(Manifest::parse(manifest(version, "a/n").as_bytes(), Path::new("m")).is_ok(), "{version}");
        }
        for version in ["1.0.1", "1.1.0", "2.0.0", "1.0", "1.0.0.0", "+1.0.0", "1.0.x", "", "1.0.99999999999"] {
            assert_eq!(fault(&manifest(version, "a/n")), ManifestFault::Version(version.into()));
        }
    }

    #[test]
    fn missing_keys_wrong_types_and_repeated_items_are_refused() {
        let whole = manifest("1.0.0", "a/n");
        for (from, to) in [
            (r#""author": "a", "#, ""),
            (r#""description": "", "#, ""),
            (r#""name": "n", "#, ""),
            (r#", "path": "a/n""#, ""),
            (r#""fileFormatVersion": "1.0.0", "#, ""),
            (r#""rootModelIdentifier": "A", "#, ""),
            (r#""path": "a/n""#, r#""path": 3"#),
            (
                r#""itemInfoEntries": {"#,
                r#""itemInfoEntries": {"A": {"author":"","description":"","name":"","path":"b"}, "#,
            ),
        ] {
            let broken = whole.replacen(from, to, 1);
            assert_ne!(broken, whole);
            assert!(matches!(fault(&broken), ManifestFault::Syntax(_)), "{broken}");
        }
        for n in 0..whole.len() {
            assert!(Manifest::parse(&whole.as_bytes()[..n], Path::new("m")).is_err(), "{n}");
        }
        assert_eq!(fault(&whole.replacen(r#""A", "extra""#, r#""B", "extra""#, 1)), ManifestFault::Root("B".into()));
        let twice =
            whole.replacen(r#""A": {"#, r#""C": {"author":"a","description":"","name":"n","path":"b"}, "A": {"#, 1);
        assert_eq!(fault(&twice), ManifestFault::Duplicate("a/n".into()));
    }

    #[cfg(unix)]
    #[test]
    fn a_symbolic_link_may_not_lead_out_of_the_package() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("p/Data/com.apple.CoreML");
        fs::create_dir_all(&data).unwrap();
        fs::write(dir.path().join("secret"), "x").unwrap();
        std::os::unix::fs::symlink(dir.path().join("secret"), data.join("model.mlmodel")).unwrap();
        let package = dir.path().join("p");
        fs::write(package.join(MANIFEST_FILE), Manifest::for_program(false).to_json()).unwrap();
        let error = Manifest::read(&package).unwrap_err();
        assert!(matches!(error, Error::Manifest { fault: ManifestFault::Path { .. }, .. }), "{error}");
        fs::remove_file(data.join("model.mlmodel")).unwrap();
        let error = Manifest::read(&package).unwrap_err();
        assert!(matches!(error, Error::Manifest { fault: ManifestFault::Absent(_), .. }), "{error}");
        fs::write(data.join("model.mlmodel"), "x").unwrap();
        assert!(Manifest::read(&package).is_ok());
        assert!(matches!(
            Manifest::read(dir.path()).unwrap_err(),
            Error::Manifest { fault: ManifestFault::Missing, .. }
        ));
    }
}
