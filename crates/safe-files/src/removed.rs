//! Folders in whose place something else is now.

use std::{fs, path::Path};

use crate::{
    error::{IoContext, WriteError},
    scratch::Scratch,
};

/// Removes a folder with all that is in it; of a link, the link. It is gone in one step, before any of it is removed.
///
/// # Errors
/// [`WriteError::Io`], and [`WriteError::Target`] for a path without a name; the folder is then where it was.
pub fn remove_folder(path: &Path) -> Result<(), WriteError> {
    let scratch = Scratch::beside(path)?;
    let aside = scratch.path().join(path.file_name().unwrap_or_default());
    fs::rename(path, aside).at("remove", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_whole_and_a_link_goes_alone() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("x.mlmodelc/weights")).unwrap();
        fs::write(at("x.mlmodelc/weights/weight.bin"), "w").unwrap();
        fs::create_dir(at("kept")).unwrap();
        remove_folder(&at("x.mlmodelc")).unwrap();
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("kept", at("link")).unwrap();
            remove_folder(&at("link")).unwrap();
        }
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["kept"]);
        assert!(remove_folder(&at("absent")).unwrap_err().to_string().contains("absent"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing stays of a removal that failed");
    }
}
