//! Files that people name by what they are called in a folder of theirs.

use std::path::{Path, PathBuf};

/// Names of a folder that a message shows.
const SHOWN: usize = 20;

/// A file as it is given, or the one in `folder` whose name without its ending is that.
///
/// # Errors
/// When there is neither, or several in the folder have the name.
pub(crate) fn find(name: &Path, folder: Option<&Path>, endings: &[&str]) -> Result<PathBuf, String> {
    if name.exists() {
        return Ok(name.to_owned());
    }
    let Some(folder) = folder else { return Err(format!("{} is not there", name.display())) };
    if folder.join(name).is_file() {
        return Ok(folder.join(name));
    }
    let there = files(folder, endings).map_err(|error| format!("{}: {error}", folder.display()))?;
    let found: Vec<&PathBuf> = there.iter().filter(|path| path.file_stem() == Some(name.as_os_str())).collect();
    match found[..] {
        [one] => Ok(one.clone()),
        [] => Err(format!(
            "{} is neither a file nor in {}, which holds {}",
            name.display(),
            folder.display(),
            names(&there)
        )),
        [first, second, ..] => {
            Err(format!("{} may be {} or {}; name the file", name.display(), first.display(), second.display()))
        }
    }
}

/// The files of a folder with one of these endings, sorted.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn files(folder: &Path, endings: &[&str]) -> std::io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)?;
    let mut there: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| has_ending(path, endings)).collect();
    there.sort();
    Ok(there)
}

/// What a file is called by: its name without one of these endings.
pub(crate) fn stem<'p>(path: &'p Path, endings: &[&str]) -> Option<&'p str> {
    let name = if has_ending(path, endings) { path.file_stem() } else { path.file_name() };
    name.and_then(|name| name.to_str())
}

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    path.extension().is_some_and(|own| endings.iter().any(|ending| own.eq_ignore_ascii_case(ending)))
}

fn names(files: &[PathBuf]) -> String {
    let stems = files.iter().filter_map(|path| path.file_stem());
    let mut names: Vec<String> = stems.map(|stem| stem.to_string_lossy().into_owned()).take(SHOWN + 1).collect();
    if names.len() > SHOWN {
        names[SHOWN] = "…".to_owned();
    }
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
