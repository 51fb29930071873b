//! Names of pictures that nobody named: by their prompt, and by numbers where there are several.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A file in the current directory that is named by the prompt and not there yet.
pub(super) fn free_name(prompt: &str, count: usize) -> Result<PathBuf> {
    let stem = stem_of(prompt);
    let name = |i: u32| PathBuf::from(if i == 1 { format!("{stem}.png") } else { format!("{stem}-{i}.png") });
    let is_free = |path: &PathBuf| (0..count).all(|idx| numbered(path, idx, count).symlink_metadata().is_err());
    (1..10_000).map(name).find(is_free).with_context(|| format!("every name {stem}-N.png is taken; say which with -o"))
}

/// The prompt's letters and digits in lower case, words joined by hyphens, at most about 60 characters.
fn stem_of(prompt: &str) -> String {
    let mut stem = String::new();
    for word in prompt.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        if stem.chars().count() + word.chars().count() > 60 && !stem.is_empty() {
            break;
        }
        if !stem.is_empty() {
            stem.push('-');
        }
        stem.extend(word.chars().take(60).flat_map(char::to_lowercase));
    }
    if stem.is_empty() { "picture".to_owned() } else { stem }
}

/// `out.png` for a single picture, `out-1.png`, `out-2.png`, … for several.
pub(super) fn numbered(path: &Path, idx: usize, n_images: usize) -> PathBuf {
    if n_images == 1 {
        return path.to_owned();
    }
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{}", idx + 1));
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
    fn several_pictures_are_numbered_before_the_extension() {
        assert_eq!(numbered(Path::new("a/heart.png"), 0, 1), Path::new("a/heart.png"));
        assert_eq!(numbered(Path::new("a/heart.png"), 0, 2), Path::new("a/heart-1.png"));
        assert_eq!(numbered(Path::new("heart"), 9, 10), Path::new("heart-10"));
        assert_eq!(numbered(Path::new("a.b.png"), 1, 2), Path::new("a.b-2.png"));
    }
}
