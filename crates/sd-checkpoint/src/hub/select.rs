//! Which files of a repository are needed, told by their names.
//!
//! Of a pipeline these are its index, configurations and tokenizers, and the weights of the networks that are wanted: in one
//! format, of one variant. A repository often holds several times as much.

use std::collections::{BTreeMap, BTreeSet};

use sd_spec::{Family, Role};
use serde_json::{Map, Value};

use crate::files::{NAMES, variant_of};

/// Endings of whole models in one file, of adapters and of embeddings, the better ones first.
const SINGLE: [&str; 5] = [".safetensors", ".ckpt", ".pth", ".pt", ".bin"];

/// Endings of configurations and of tokenizers' files.
const CONFIGURATIONS: [&str; 3] = [".json", ".txt", ".model"];

/// Endings of Core ML's folders.
const PACKAGES: [&str; 2] = [".mlpackage", ".mlmodelc"];

const INDEX: &str = "model_index.json";
const CONFIG: &str = "config.json";
/// As many names as a message lists.
const MOST_NAMES: usize = 12;

/// What of a repository is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// A file or folder of it, with slashes; default: what a model is opened by.
    pub path: Option<String>,
    /// Networks; default: all that the pipeline lists. Configurations and tokenizers come whatever is wanted.
    pub roles: Vec<Role>,
    /// Variant of the weights, where a network has it; default: the plain ones, or the only ones.
    pub variant: Option<String>,
    /// How much.
    pub extent: Extent,
}

/// How much of a repository is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Extent {
    /// What is needed to convert it or to draw with it.
    #[default]
    Needed,
    /// Configurations and tokenizers, without any weights.
    Configurations,
    /// Every file.
    All,
}

/// What is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// The folder or file that a model is opened by; empty for the repository itself.
    pub root: String,
    /// The files, sorted.
    pub files: Vec<String>,
    /// Folders of wanted networks that have no weights.
    pub absent: Vec<String>,
}

/// Why it is not clear what is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unclear {
    /// What is there.
    pub what: String,
    /// What to do.
    pub next: String,
}

/// What a repository, or a folder of it, holds.
enum Kind<'a> {
    /// A pipeline in folders.
    Pipeline,
    /// One network with its configuration.
    Network,
    /// Models of Core ML.
    Packages,
    /// A whole model in one file.
    File(&'a str),
}

/// The index that says which networks a pipeline has, if there is one; [`select`] takes its content.
#[must_use]
pub fn index_of(names: &[String], wanted: &Wanted) -> Option<String> {
    let index = joined(wanted.path.as_deref().unwrap_or_default(), INDEX);
    (wanted.extent != Extent::All && names.contains(&index)).then_some(index)
}

/// The folder or file that a model is opened by.
///
/// # Errors
/// When the path is not there, and when there are several models and none is named.
pub(super) fn root(names: &[String], wanted: &Wanted) -> Result<String, Unclear> {
    let base = wanted.path.as_deref().unwrap_or_default();
    if names.iter().any(|name| name == base) {
        return Ok(base.to_owned());
    }
    let below = below(names, base)?;
    match kind(&below, base)? {
        Kind::File(file) => Ok(joined(base, file)),
        _ => Ok(base.to_owned()),
    }
}

/// The files that are needed of those that a repository has; `index` is the content of [`index_of`].
///
/// # Errors
/// When the path is not there, when there are several models and none is named, and when a network has weights of several
/// variants and none is named.
pub fn select(names: &[String], wanted: &Wanted, index: Option<&[u8]>) -> Result<Selection, Unclear> {
    let base = wanted.path.as_deref().unwrap_or_default();
    let (mut files, mut absent) = (BTreeSet::new(), Vec::new());
    let mut root = base.to_owned();
    if names.iter().any(|name| name == base) {
        files.insert(String::new());
    } else {
        let below = below(names, base)?;
        if wanted.extent == Extent::All {
            files.extend(below.iter().map(|&name| name.to_owned()));
        } else {
            match kind(&below, base)? {
                Kind::Pipeline => pipeline(&below, wanted, index, &mut files, &mut absent)?,
                Kind::Network if wanted.extent == Extent::Configurations => configurations(&below, "", &mut files),
                Kind::Packages | Kind::File(_) if wanted.extent == Extent::Configurations => {
                    return Err(Unclear {
                        what: "it holds no configurations".to_owned(),
                        next: "name a model in diffusers layout".to_owned(),
                    });
                }
                Kind::Network => drop(component(&below, "", wanted.variant.as_deref(), &mut files)?),
                Kind::Packages => files.extend(below.iter().map(|&name| name.to_owned())),
                Kind::File(file) => {
                    root = joined(base, file);
                    files.insert(file.to_owned());
                }
            }
        }
    }
    let mut files: BTreeSet<String> = files.iter().map(|name| joined(base, name)).collect();
    // What PEFT's weights are multiplied with stands beside them.
    let beside: Vec<String> = files.iter().filter_map(|name| configuration_of_adapter(name)).collect();
    files.extend(beside.into_iter().filter(|name| names.contains(name)));
    Ok(Selection { root, files: files.into_iter().collect(), absent })
}

/// The file beside an adapter of PEFT that says its alphas.
fn configuration_of_adapter(name: &str) -> Option<String> {
    let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
    file.starts_with("adapter_model.").then(|| joined(folder, "adapter_config.json"))
}

fn joined(folder: &str, name: &str) -> String {
    let slash = if folder.is_empty() || name.is_empty() { "" } else { "/" };
    format!("{folder}{slash}{name}")
}

/// The files below a folder, by their paths from it.
fn below<'a>(names: &'a [String], base: &str) -> Result<Vec<&'a str>, Unclear> {
    let folder = if base.is_empty() { String::new() } else { format!("{base}/") };
    let below: Vec<&str> = names.iter().filter_map(|name| name.strip_prefix(folder.as_str())).collect();
    if !below.is_empty() {
        return Ok(below);
    }
    if base.is_empty() {
        return Err(Unclear { what: "it has no files".to_owned(), next: "check the name".to_owned() });
    }
    let parent = base.rsplit_once('/').map_or("", |(parent, _)| parent);
    let nearest = if names.iter().any(|name| name.starts_with(&format!("{parent}/"))) { parent } else { "" };
    let prefix = if nearest.is_empty() { String::new() } else { format!("{nearest}/") };
    let entry = |name: &String| {
        let rest = name.strip_prefix(prefix.as_str())?;
        Some(rest.split_once('/').map_or(rest.to_owned(), |(folder, _)| format!("{folder}/")))
    };
    let entries: BTreeSet<String> = names.iter().filter_map(entry).collect();
    let place = if nearest.is_empty() { "it".to_owned() } else { nearest.to_owned() };
    let what = format!("it has no file or folder {base}");
    Err(Unclear { what, next: format!("{place} has {}", list(entries.iter().map(String::as_str))) })
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    let shown = names.iter().take(MOST_NAMES).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MOST_NAMES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Folders of a pipeline: those of networks, and those beside them.
fn network_folders() -> BTreeSet<&'static str> {
    Role::ALL.iter().map(|role| role.spec().folder).filter(|folder| !folder.is_empty()).collect()
}

/// Folders of networks that no family needs to draw: an index may list one that is not there.
#[must_use]
pub fn optional_folders() -> BTreeSet<&'static str> {
    let required = Family::ALL.into_iter().flat_map(|family| family.spec().required);
    let required: BTreeSet<&str> = required.map(|role| role.spec().folder).collect();
    network_folders().into_iter().filter(|folder| !required.contains(folder)).collect()
}

fn companion_folders() -> BTreeSet<&'static str> {
    let of = |family: Family| {
        let spec = family.spec();
        spec.tokenizers.iter().copied().chain([spec.scheduler, spec.feature_extractor])
    };
    Family::ALL.into_iter().flat_map(of).collect()
}

fn kind<'a>(below: &[&'a str], base: &str) -> Result<Kind<'a>, Unclear> {
    let is_package = |folder: &str| PACKAGES.iter().any(|end| folder.ends_with(end));
    let has = |name: &str| below.contains(&name);
    if is_package(base) || below.iter().any(|name| name.split_once('/').is_some_and(|(folder, _)| is_package(folder))) {
        return Ok(Kind::Packages);
    }
    if has(INDEX) {
        return Ok(Kind::Pipeline);
    }
    if has(CONFIG) {
        return Ok(Kind::Network);
    }
    if network_folders().iter().any(|folder| has(&format!("{folder}/{CONFIG}"))) {
        return Ok(Kind::Pipeline);
    }
    single(below)
}

/// The one model in one file, in the best format that it has.
fn single<'a>(below: &[&'a str]) -> Result<Kind<'a>, Unclear> {
    let mut models: BTreeMap<&str, &'a str> = BTreeMap::new();
    for end in SINGLE {
        // Weights of packages are no models by themselves.
        let in_package = |name: &str| PACKAGES.iter().any(|end| name.contains(&format!("{end}/")));
        for &name in below.iter().filter(|name| !in_package(name)) {
            if let Some(stem) = name.strip_suffix(end) {
                models.entry(stem).or_insert(name);
            }
        }
    }
    let named: Vec<&str> = models.values().copied().collect();
    match named[..] {
        [only] => Ok(Kind::File(only)),
        [] => {
            let folders: BTreeSet<&str> = below
                .iter()
                .filter_map(|name| PACKAGES.iter().find_map(|end| name.find(&format!("{end}/")).map(|at| &name[..at])))
                .filter_map(|package| package.rsplit_once('/').map(|(folder, _)| folder))
                .collect();
            let next = match folders.is_empty() {
                true => format!("it has {}", list(below.iter().copied())),
                false => format!("name one of its folders of packages: {}", list(folders.into_iter())),
            };
            Err(Unclear { what: "it holds no model that is read here".to_owned(), next })
        }
        _ => Err(Unclear {
            what: format!("it holds {} models in single files", named.len()),
            next: format!("name one, as /FILE behind the name: {}", list(named.into_iter())),
        }),
    }
}

fn pipeline(
    below: &[&str],
    wanted: &Wanted,
    index: Option<&[u8]>,
    files: &mut BTreeSet<String>,
    absent: &mut Vec<String>,
) -> Result<(), Unclear> {
    let index: Option<Map<String, Value>> = index.and_then(|json| serde_json::from_slice(json).ok());
    // As diffusers has it: what the index does not list, or lists without a class, is not loaded.
    let is_listed = |folder: &str| match &index {
        Some(index) => index.get(folder).and_then(|pair| pair.get(1)).is_some_and(Value::is_string),
        None => below.iter().any(|name| name.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))),
    };
    if below.contains(&INDEX) {
        files.insert(INDEX.to_owned());
    }
    for folder in companion_folders().into_iter().filter(|folder| is_listed(folder)) {
        configurations(below, folder, files);
    }
    for folder in network_folders().into_iter().filter(|folder| is_listed(folder)) {
        let is_wanted = wanted.extent != Extent::Configurations
            && (wanted.roles.is_empty() || wanted.roles.iter().any(|role| role.spec().folder == folder));
        if !is_wanted {
            configurations(below, folder, files);
        } else if !component(below, folder, wanted.variant.as_deref(), files)? {
            absent.push(folder.to_owned());
        }
    }
    Ok(())
}

/// Files that lie in a folder, not deeper, by their names in it.
fn inside<'a>(below: &[&'a str], folder: &str) -> Vec<&'a str> {
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    below.iter().filter_map(|name| name.strip_prefix(prefix.as_str())).filter(|name| !name.contains('/')).collect()
}

fn configurations(below: &[&str], folder: &str, files: &mut BTreeSet<String>) {
    // An index of shards is of use with its shards only.
    let is_index = |name: &str| name.contains(".index.");
    let is_one = |name: &&str| CONFIGURATIONS.iter().any(|end| name.ends_with(end)) && !is_index(name);
    files.extend(inside(below, folder).into_iter().filter(is_one).map(|name| joined(folder, name)));
}

/// Takes what one network needs; false when it has no weights.
fn component(
    below: &[&str],
    folder: &str,
    variant: Option<&str>,
    files: &mut BTreeSet<String>,
) -> Result<bool, Unclear> {
    configurations(below, folder, files);
    let inside = inside(below, folder);
    for (stem, extension) in NAMES {
        let of_stem = variants(&inside, stem, extension);
        if of_stem.is_empty() {
            continue;
        }
        let chosen = choose(of_stem, folder, variant)?;
        files.extend(chosen.into_iter().map(|name| joined(folder, name)));
        return Ok(true);
    }
    Ok(false)
}

/// Weights of one variant.
#[derive(Default)]
struct Variant<'a> {
    whole: Option<&'a str>,
    /// Their index and they themselves.
    sharded: Vec<&'a str>,
}

impl<'a> Variant<'a> {
    /// As they are read: in one piece where there is one.
    fn files(self) -> Vec<&'a str> {
        self.whole.map_or(self.sharded, |whole| vec![whole])
    }
}

fn variants<'a>(inside: &[&'a str], stem: &str, extension: &str) -> BTreeMap<String, Variant<'a>> {
    let mut found: BTreeMap<String, Variant<'a>> = BTreeMap::new();
    for &name in inside {
        let Some(rest) = name.strip_prefix(stem) else { continue };
        let (rest, is_shard) = without_number(rest);
        let Some((variant, is_index)) = variant_of(&rest, extension) else { continue };
        let entry = found.entry(variant.to_owned()).or_default();
        match is_index || is_shard {
            true => entry.sharded.push(name),
            false => entry.whole = Some(name),
        }
    }
    found
}

/// A name without the number of a shard (`-00001-of-00002`), and whether it had one.
fn without_number(rest: &str) -> (String, bool) {
    const OF: &str = "-of-";
    let is_number = |text: &str| text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit());
    let found = rest.find(OF).and_then(|at| {
        let start = at.checked_sub(6)?;
        let (before, after) = (rest.get(start..at)?, rest.get(at + OF.len()..at + OF.len() + 5)?);
        let is_one = before.starts_with('-') && is_number(&before[1..]) && is_number(after);
        is_one.then(|| format!("{}{}", &rest[..start], &rest[at + OF.len() + 5..]))
    });
    found.map_or((rest.to_owned(), false), |rest| (rest, true))
}

fn choose<'a>(
    mut found: BTreeMap<String, Variant<'a>>,
    folder: &str,
    asked: Option<&str>,
) -> Result<Vec<&'a str>, Unclear> {
    if let Some(variant) = asked.and_then(|asked| found.remove(asked)).or_else(|| found.remove("")) {
        return Ok(variant.files());
    }
    let names: Vec<String> = found.keys().cloned().collect();
    match (found.pop_first(), names.len(), asked) {
        (Some((_, only)), 1, None) => Ok(only.files()),
        _ => {
            let place = if folder.is_empty() { "it".to_owned() } else { folder.to_owned() };
            let names = list(names.iter().map(String::as_str));
            let what = match asked {
                Some(asked) => format!("{place} has no weights of the variant {asked}, only {names}"),
                None => format!("{place} has weights of the variants {names}"),
            };
            Err(Unclear { what, next: "choose with --variant".to_owned() })
        }
    }
}

#[cfg(test)]
mod tests;
