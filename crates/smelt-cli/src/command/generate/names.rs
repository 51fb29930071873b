//! Names of pictures that nobody named: by their prompts, and by numbers where there are several.
//!
//! A name is one on every system: letters and digits, no longer than any takes, and none that Windows keeps for devices.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Characters of a name before its numbers, about.
const MAX_CHARS: usize = 60;
/// And bytes, which file systems count: 255 with numbers, extension and what stands before it while it is written.
const MAX_BYTES: usize = 160;

/// What pictures are called.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Names {
    /// What they are called by, without numbers; of several the first.
    pub(super) base: PathBuf,
    /// The files, in the order of the pictures.
    pub(super) paths: Vec<PathBuf>,
}

impl Names {
    /// Names for pictures of these prompts: one file with numbers, where it is given, or new ones here.
    pub(super) fn of(output: Option<&Path>, prompts: &[&str]) -> Result<Self> {
        match output {
            Some(output) => {
                let paths = (0..prompts.len()).map(|idx| numbered(output, idx, prompts.len())).collect();
                Ok(Self { base: output.to_owned(), paths })
            }
            None => Self::free(prompts, |path| path.symlink_metadata().is_err()),
        }
    }

    /// New files that are named by the prompts, and by numbers where several pictures would have one name.
    fn free(prompts: &[&str], is_free: impl Fn(&Path) -> bool) -> Result<Self> {
        let stems: Vec<String> = prompts.iter().map(|prompt| stem_of(prompt)).collect();
        let (mut paths, mut taken) = (vec![PathBuf::new(); prompts.len()], BTreeSet::new());
        let mut base = None;
        for (idx, stem) in stems.iter().enumerate() {
            // Those of one name are named together, when the first of them comes.
            if !paths[idx].as_os_str().is_empty() {
                continue;
            }
            let same: Vec<usize> = (idx..stems.len()).filter(|other| stems[*other] == *stem).collect();
            let own = |i: u32| PathBuf::from(if i == 1 { format!("{stem}.png") } else { format!("{stem}-{i}.png") });
            let all = |path: &Path| (0..same.len()).map(|n| numbered(path, n, same.len())).collect::<Vec<_>>();
            let free = |path: &PathBuf| all(path).iter().all(|path| !taken.contains(path) && is_free(path));
            let found = (1..10_000).map(own).find(free);
            let found = found.with_context(|| format!("every name {stem}-N.png is taken; say which with -o"))?;
            for (&other, path) in same.iter().zip(all(&found)) {
                taken.insert(path.clone());
                paths[other] = path;
            }
            base.get_or_insert(found);
        }
        Ok(Self { base: base.unwrap_or_default(), paths })
    }
}

/// The prompt's letters and digits in lower case, words joined by hyphens.
fn stem_of(prompt: &str) -> String {
    let mut stem = String::new();
    for word in prompt.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        if stem.chars().count() + word.chars().count() > MAX_CHARS && !stem.is_empty() {
            break;
        }
        if !stem.is_empty() {
            stem.push('-');
        }
        stem.extend(word.chars().take(MAX_CHARS).flat_map(char::to_lowercase));
    }
    stem.truncate(stem.floor_char_boundary(MAX_BYTES));
    match stem.as_str() {
        "" => "picture".to_owned(),
        device if is_device(device) => format!("{device}-picture"),
        _ => stem,
    }
}

/// Names that Windows keeps for devices, with any extension.
// "Naming Files, Paths, and Namespaces", learn.microsoft.com.
fn is_device(stem: &str) -> bool {
    let port = stem.strip_prefix("com").or_else(|| stem.strip_prefix("lpt"));
    ["con", "prn", "aux", "nul", "conin", "conout"].contains(&stem)
        || port.is_some_and(|n| ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "¹", "²", "³"].contains(&n))
}

/// `out.png` for a single picture, `out-1.png`, `out-2.png`, … for several.
fn numbered(path: &Path, idx: usize, n_images: usize) -> PathBuf {
    if n_images == 1 {
        return path.to_owned();
    }
    beside(path, &format!("-{}", idx + 1))
}

/// A name with something before its extension.
pub(super) fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(what);
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_names_its_picture() {
        assert_eq!(stem_of("A red heart, 3D!"), "a-red-heart-3d");
        assert_eq!(stem_of("../../Übung: \u{2764}"), "übung");
        assert_eq!(stem_of("?!"), "picture");
        let long = stem_of(&"lighthouse ".repeat(20));
        assert!(long.len() <= 64 && long.ends_with("house"), "{long}");
        assert_eq!(stem_of(&"x".repeat(300)).len(), 60);
    }

    #[test]
    fn a_prompt_names_a_file_on_every_system() {
        for (prompt, stem) in [("CON", "con-picture"), ("com1", "com1-picture"), ("Com¹.", "com¹-picture")] {
            assert_eq!(stem_of(prompt), stem);
        }
        assert_eq!(["con man", "com10", "nul1"].map(stem_of), ["con-man", "com10", "nul1"]);
        assert_eq!(stem_of(r#"a\b:c*d?"e<f>g|h"#), "a-b-c-d-e-f-g-h");
        // Letters of four bytes.
        let wide = stem_of(&"\u{20000}".repeat(100));
        assert!(wide.len() <= MAX_BYTES && wide.chars().all(|c| c == '\u{20000}'), "{}", wide.len());
    }

    #[test]
    fn several_pictures_are_numbered_before_the_extension() {
        assert_eq!(numbered(Path::new("a/heart.png"), 0, 1), Path::new("a/heart.png"));
        assert_eq!(numbered(Path::new("a/heart.png"), 0, 2), Path::new("a/heart-1.png"));
        assert_eq!(numbered(Path::new("heart"), 9, 10), Path::new("heart-10"));
        assert_eq!(numbered(Path::new("a.b.png"), 1, 2), Path::new("a.b-2.png"));
        let named = Names::of(Some(Path::new("a/x.png")), &["cat", "dog"]).unwrap();
        assert_eq!(named.base, Path::new("a/x.png"));
        assert_eq!(named.paths, [Path::new("a/x-1.png"), Path::new("a/x-2.png")]);
    }

    #[test]
    fn no_picture_takes_the_name_of_another() {
        let free = |prompts: &[&str], there: &[&str]| {
            let is_free = |path: &Path| !there.contains(&path.to_str().unwrap());
            let paths = Names::free(prompts, is_free).unwrap().paths;
            paths.into_iter().map(|path| path.into_os_string().into_string().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(free(&["cat", "dog"], &[]), ["cat.png", "dog.png"]);
        assert_eq!(free(&["cat", "dog", "Cat!"], &[]), ["cat-1.png", "dog.png", "cat-2.png"]);
        assert_eq!(free(&["cat"], &["cat.png", "cat-2.png"]), ["cat-3.png"]);
        // The second of two has the name that a third would have.
        assert_eq!(free(&["cat", "cat", "cat 1"], &[]), ["cat-1.png", "cat-2.png", "cat-1-2.png"]);
        assert_eq!(free(&["cat 1", "cat", "cat"], &[]), ["cat-1.png", "cat-2-1.png", "cat-2-2.png"]);
        assert_eq!(free(&["cat", "cat"], &["cat-2.png"]), ["cat-2-1.png", "cat-2-2.png"]);
    }
}
