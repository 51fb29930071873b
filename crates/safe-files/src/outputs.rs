//! What one command writes and reads, looked at before any work.
//!
//! Whoever writes names every output here and every input that an output could replace, each by the option that says it.
//! What cannot be written is refused at once, and so are two outputs with one name and outputs that would replace an
//! input, whatever the names are spelt like: through `./`, symbolic links, or hard links.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    error::{IoContext, WriteError},
    place::{Absent, Identity, Place, check_folder, parent_of},
    staged::not_a_directory,
    write::{OutputFile, is_a_directory},
};

/// What stands for standard output where a file is asked for.
const STDOUT: &str = "-";

/// Folders made by this process that may still be empty.
static MADE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn made() -> MutexGuard<'static, Vec<PathBuf>> {
    MADE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The outputs and inputs of one command.
#[derive(Debug, Default)]
pub struct Outputs {
    inputs: Vec<Claim>,
    outputs: Vec<Claim>,
    /// Folders that will be there when files are written.
    folders: Vec<PathBuf>,
}

/// One of them.
#[derive(Debug)]
struct Claim {
    /// The option, or words for an argument without one: `-o`, `the package`.
    name: String,
    /// What it is, for messages that say what would be lost.
    what: Option<&'static str>,
    /// As it was given.
    path: PathBuf,
    identity: Identity,
    extent: Extent,
}

/// What of a path is read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// The file, or the folder with everything in it.
    Whole,
    /// The folder's name: what is in it has claims of its own.
    Name,
}

impl Claim {
    fn has(&self, other: &Self) -> bool {
        self.extent == Extent::Whole && other.identity.is_inside(&self.identity)
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.path.display())
    }
}

impl Outputs {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Names a file, or a folder that is read as one thing; what is not there is left to whoever reads it.
    ///
    /// # Errors
    /// [`WriteError::Clash`] when an output would replace it.
    pub fn reads(&mut self, name: impl Into<String>, path: &Path) -> Result<(), WriteError> {
        let Ok(real) = fs::canonicalize(path) else { return Ok(()) };
        let place = if real.is_dir() { Place::Directory(real) } else { Place::File(real) };
        let identity = Identity::of(path, &place);
        let (name, path) = (name.into(), path.to_path_buf());
        let input = Claim { name, what: None, path, identity, extent: Extent::Whole };
        self.outputs.iter().try_for_each(|output| check_input(output, &input))?;
        self.inputs.push(input);
        Ok(())
    }

    /// Names a file that will be written; `-` is standard output.
    ///
    /// # Errors
    /// [`WriteError::Target`] for what cannot be written: directories, files that are write-protected, folders that are
    /// missing or take no files; [`WriteError::Clash`]; [`WriteError::Io`].
    pub fn file(&mut self, option: impl Into<String>, path: &Path) -> Result<OutputFile, WriteError> {
        self.file_as(option, None, path)
    }

    /// As [`Outputs::file`], with a word for what the file is: `the picture`.
    ///
    /// # Errors
    /// As [`Outputs::file`].
    pub fn file_as(
        &mut self,
        option: impl Into<String>,
        what: impl Into<Option<&'static str>>,
        path: &Path,
    ) -> Result<OutputFile, WriteError> {
        let place = if path == Path::new(STDOUT) { Place::Stdout } else { Place::of(path)? };
        match &place {
            Place::Stdout | Place::Stream(_) => {}
            Place::Directory(_) => return Err(is_a_directory(path)),
            Place::File(real) => check_replaceable(path, real)?,
            Place::Absent(_) if ends_with_separator(path) => {
                return Err(WriteError::target(path, "it names a directory; give the name of a file in it"));
            }
            Place::Absent(absent) => self.check_parent(path, absent)?,
        }
        let output = OutputFile::new(path, matches!(place, Place::Stdout));
        self.add(option.into(), what.into(), path, &place, Extent::Whole)?;
        Ok(output)
    }

    /// Names a directory that will be written as one thing, with a [`StagedDir`](crate::StagedDir).
    ///
    /// # Errors
    /// [`WriteError::Target`] when something else is there, the folder that it would lie in is missing or takes no
    /// files, or it is `-`; [`WriteError::Clash`]; [`WriteError::Io`].
    pub fn directory(&mut self, option: impl Into<String>, path: &Path) -> Result<(), WriteError> {
        let place = directory_place(path)?;
        match &place {
            Place::Absent(absent) => self.check_parent(path, absent)?,
            Place::Directory(real) if real.parent().is_none() => {
                return Err(WriteError::target(path, "it names no directory that could be replaced"));
            }
            Place::Directory(real) => check_folder(path, &parent_of(real))?,
            Place::Stdout | Place::Stream(_) | Place::File(_) => {}
        }
        self.add(option.into(), None, path, &place, Extent::Whole)
    }

    /// Names a folder into which outputs go; it is made when [`OutputFolder::make`] is called, if it is not there.
    ///
    /// # Errors
    /// As [`Outputs::directory`].
    pub fn folder(&mut self, option: impl Into<String>, path: &Path) -> Result<OutputFolder, WriteError> {
        let place = directory_place(path)?;
        let absent = match &place {
            Place::Absent(absent) => {
                check_folder(path, &absent.ancestor)?;
                self.folders.push(absent.path());
                Some(absent.clone())
            }
            Place::Directory(real) => {
                check_folder(path, real)?;
                None
            }
            Place::Stdout | Place::Stream(_) | Place::File(_) => None,
        };
        self.add(option.into(), None, path, &place, Extent::Name)?;
        Ok(OutputFolder { absent, made: Vec::new() })
    }

    /// The option whose output is standard output, if there is one: nothing else may go there.
    #[must_use]
    pub fn stdout(&self) -> Option<&str> {
        self.outputs.iter().find(|o| o.identity == Identity::Stdout).map(|o| o.name.as_str())
    }

    /// Refuses what is missing more than its own name, unless the folder will have been made.
    fn check_parent(&self, path: &Path, absent: &Absent) -> Result<(), WriteError> {
        let parent = parent_of(path).display().to_string();
        if absent.has_parent() {
            return check_folder(path, &absent.ancestor);
        }
        if self.folders.contains(&parent_of(&absent.path())) {
            return Ok(());
        }
        let reason = format!("there is no directory {parent}; make it first (mkdir -p {parent}), or give another");
        Err(WriteError::target(path, reason))
    }

    fn add(
        &mut self,
        name: String,
        what: Option<&'static str>,
        path: &Path,
        place: &Place,
        extent: Extent,
    ) -> Result<(), WriteError> {
        let output = Claim { name, what, path: path.to_path_buf(), identity: Identity::of(path, place), extent };
        self.inputs.iter().try_for_each(|input| check_input(&output, input))?;
        self.outputs.iter().try_for_each(|other| check_outputs(&output, other))?;
        self.outputs.push(output);
        Ok(())
    }
}

/// True for what takes one output and has no name for another beside it: `-`, pipes, devices, descriptors.
#[must_use]
pub fn is_stream(path: &Path) -> bool {
    path == Path::new(STDOUT) || matches!(Place::of(path), Ok(Place::Stdout | Place::Stream(_)))
}

/// Removes the folders that this process made and that are still empty; for when it ends without unwinding.
pub fn remove_empty_folders() {
    made().iter().rev().for_each(|folder| drop(fs::remove_dir(folder)));
}

/// A folder into which outputs go.
///
/// When it is dropped, folders that it made and that are still empty are removed.
#[derive(Debug)]
pub struct OutputFolder {
    absent: Option<Absent>,
    made: Vec<PathBuf>,
}

impl OutputFolder {
    /// Makes the folder and those on the way to it that are missing.
    ///
    /// # Errors
    /// [`WriteError::Io`].
    pub fn make(&mut self) -> Result<(), WriteError> {
        for folder in self.absent.iter().flat_map(Absent::each) {
            match fs::create_dir(&folder) {
                Ok(()) => {
                    made().push(folder.clone());
                    self.made.push(folder);
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
                Err(e) => return Err(e).at("make", &folder),
            }
        }
        Ok(())
    }
}

impl Drop for OutputFolder {
    fn drop(&mut self) {
        // A folder with anything in it is not removed.
        self.made.iter().rev().for_each(|folder| drop(fs::remove_dir(folder)));
        made().retain(|folder| !self.made.contains(folder));
    }
}

/// What stands where a directory will be; anything but one, or nothing, is refused.
fn directory_place(path: &Path) -> Result<Place, WriteError> {
    if path == Path::new(STDOUT) {
        let reason =
            "it would be a folder, and standard output takes one file; give a name (./- for one that is called -)";
        return Err(WriteError::target(path, reason));
    }
    match Place::of(path)? {
        Place::Stdout => Err(WriteError::target(path, "it is standard output, not a folder; give a name")),
        Place::Stream(_) | Place::File(_) => {
            let kind = fs::metadata(path).at("look at", path)?.file_type();
            Err(not_a_directory(path, kind))
        }
        place => Ok(place),
    }
}

/// Refuses a file that somebody has protected, or whose folder takes no new one.
fn check_replaceable(path: &Path, real: &Path) -> Result<(), WriteError> {
    let protected = || WriteError::target(path, "it is write-protected; lift that (chmod u+w), or give another name");
    if fs::metadata(real).at("look at", path)?.permissions().readonly() {
        return Err(protected());
    }
    #[cfg(unix)]
    if rustix::fs::access(real, rustix::fs::Access::WRITE_OK).is_err() {
        return Err(protected());
    }
    check_folder(path, &parent_of(real))
}

fn ends_with_separator(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().last().is_some_and(|&b| std::path::is_separator(b.into()))
}

fn check_input(output: &Claim, input: &Claim) -> Result<(), WriteError> {
    let option = &output.name;
    let is_same = output.identity.is_same(&input.identity);
    let message = if is_same && output.extent == Extent::Whole {
        let spelt = if output.path == input.path { option.clone() } else { output.to_string() };
        format!("{spelt} would replace {input}; give {option} another name")
    } else if input.has(output) {
        format!("{output} would be written into {input}; give {option} another place")
    } else if output.has(input) {
        format!("{output} would be replaced, and {input} with it; give {option} another name")
    } else {
        return Ok(());
    };
    Err(WriteError::Clash { message })
}

fn check_outputs(new: &Claim, old: &Claim) -> Result<(), WriteError> {
    if new.extent == Extent::Name && old.extent == Extent::Name {
        return Ok(());
    }
    let message = if new.identity == Identity::Stdout && old.identity == Identity::Stdout {
        format!("{} and {} are both standard output; give one of them a file", new.name, old.name)
    } else if new.identity.is_same(&old.identity) && new.extent == Extent::Name {
        format!("what {} names would be written into {old}; give one of them another place", new.name)
    } else if new.identity.is_same(&old.identity) {
        let both = match new.name == old.name {
            true => format!("{} and {}", new.path.display(), old.path.display()),
            false => format!("{} and {}", new.name, old.name),
        };
        let loss = old.what.as_ref().map_or_else(String::new, |what| format!(": {} would replace {what}", new.name));
        format!("{both} are the same file {}{loss}; give one of them another name", new.path.display())
    } else if old.has(new) {
        format!("{new} would be written into {old}; give one of them another place")
    } else if new.has(old) {
        format!("{old} would be written into {new}; give one of them another place")
    } else {
        return Ok(());
    };
    Err(WriteError::Clash { message })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal<T: fmt::Debug>(result: Result<T, WriteError>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn two_outputs_with_one_name_are_refused_however_it_is_spelt() {
        let dir = tempfile::tempdir().unwrap();
        let a = dir.path().join("a.png");
        for other in [a.clone(), dir.path().join("./a.png"), dir.path().join("sub/../a.png")] {
            fs::create_dir_all(dir.path().join("sub")).unwrap();
            for is_there in [false, true] {
                let _ = if is_there { fs::write(&a, "") } else { fs::remove_file(&a) };
                let mut outputs = Outputs::new();
                outputs.file("-o", &a).unwrap();
                let message = refusal(outputs.file("--latents", &other));
                let wanted =
                    format!("--latents and -o are the same file {}; give one of them another name", other.display());
                assert_eq!(message, wanted);
                outputs.file("--grid", &dir.path().join("b.png")).unwrap();
            }
        }
        let mut outputs = Outputs::new();
        outputs.file("-o", Path::new("-")).unwrap();
        assert_eq!(outputs.stdout(), Some("-o"));
        assert!(refusal(outputs.file("--latents", Path::new("-"))).contains("are both standard output"));
    }

    #[test]
    fn no_output_replaces_an_input_whichever_is_named_first() {
        let dir = tempfile::tempdir().unwrap();
        let a = dir.path().join("a.png");
        fs::write(&a, "").unwrap();
        let mut outputs = Outputs::new();
        outputs.reads("the picture", &a).unwrap();
        let message = refusal(outputs.file("--grid", &a));
        assert_eq!(message, format!("--grid would replace the picture {}; give --grid another name", a.display()));
        let mut outputs = Outputs::new();
        outputs.file("--grid", &a).unwrap();
        assert!(
            refusal(outputs.reads("the picture", &dir.path().join("./a.png"))).contains("would replace the picture")
        );
        Outputs::new().reads("--image", &dir.path().join("absent")).unwrap();
    }

    #[test]
    fn nothing_is_written_into_a_package_that_is_read_or_written_nor_over_one_that_holds_an_input() {
        let dir = tempfile::tempdir().unwrap();
        let [package, new] = ["a.mlpackage", "b.mlpackage"].map(|name| dir.path().join(name));
        fs::create_dir(&package).unwrap();
        fs::write(package.join("config.json"), "").unwrap();
        let mut outputs = Outputs::new();
        outputs.reads("the package", &package).unwrap();
        assert!(
            refusal(outputs.file("--report", &package.join("r.html"))).contains("would be written into the package")
        );
        assert!(refusal(outputs.directory("-o", &package)).contains("-o would replace the package"));
        outputs.directory("-o", &new).unwrap();
        let mut outputs = Outputs::new();
        outputs.reads("--config", &package.join("config.json")).unwrap();
        assert!(refusal(outputs.directory("-o", &package)).contains("and --config"));
        // A folder's name is one thing, what is in it another.
        let mut outputs = Outputs::new();
        outputs.reads("the package", &package).unwrap();
        outputs.folder("-o", dir.path()).unwrap();
        outputs.file("--report", &dir.path().join("r.html")).unwrap();
        let mut outputs = Outputs::new();
        outputs.folder("-o", &dir.path().join("out.html")).unwrap();
        assert!(outputs.file("--report", &dir.path().join("out.html")).is_err());
    }

    #[test]
    fn what_cannot_be_written_is_refused_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "").unwrap();
        let file = |path: &Path| refusal(Outputs::new().file("-o", path));
        assert!(file(dir.path()).contains("it is a directory; give the name of a file in it"));
        assert!(file(&at("new/")).contains("it names a directory"));
        assert!(file(&at("no/x.png")).contains("mkdir -p"));
        assert!(file(&at("file/x.png")).contains("is a file, not a folder"));
        assert!(refusal(Outputs::new().folder("-o", &at("file"))).contains("it is a file, not a folder"));
        assert!(refusal(Outputs::new().folder("-o", Path::new("-"))).contains("./-"));
        assert!(refusal(Outputs::new().directory("-o", Path::new("-"))).contains("./-"));
        assert!(refusal(Outputs::new().directory("-o", &at("no/x"))).contains("mkdir -p"));
        let mut permissions = fs::metadata(at("file")).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(at("file"), permissions).unwrap();
        assert!(file(&at("file")).contains("it is write-protected"));
        if cfg!(target_os = "linux") {
            assert!(file(Path::new("/proc/self/x")).contains("no file can be made in"));
            assert!(refusal(Outputs::new().folder("-o", Path::new("/proc/self/x"))).contains("no file can be made in"));
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "looking changes nothing");
    }

    #[test]
    fn folders_are_made_late_and_those_still_empty_go_again() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b/c");
        let mut outputs = Outputs::new();
        let mut folder = outputs.folder("-o", &deep).unwrap();
        outputs.directory("-o", &deep.join("x.mlpackage")).unwrap();
        assert!(outputs.file("--report", &dir.path().join("a/x/r.html")).is_err());
        assert!(!dir.path().join("a").exists());
        folder.make().unwrap();
        assert!(deep.is_dir());
        drop(folder);
        assert!(!dir.path().join("a").exists());

        let mut folder = Outputs::new().folder("-o", &deep).unwrap();
        folder.make().unwrap();
        fs::write(dir.path().join("a/b/kept"), "").unwrap();
        drop(folder);
        assert!(dir.path().join("a/b").is_dir() && !deep.exists());
    }

    #[cfg(unix)]
    #[test]
    fn links_of_both_kinds_are_the_file_that_they_lead_to() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("a"), "").unwrap();
        fs::hard_link(at("a"), at("hard")).unwrap();
        for (link, to) in [("soft", "a"), ("dangling", "new"), ("folder", ".")] {
            std::os::unix::fs::symlink(to, at(link)).unwrap();
        }
        for (one, other) in [("a", "hard"), ("a", "soft"), ("new", "dangling"), ("new", "folder/new")] {
            let mut outputs = Outputs::new();
            outputs.file("-o", &at(one)).unwrap();
            assert!(refusal(outputs.file("--grid", &at(other))).contains("--grid and -o are the same file"), "{other}");
        }
    }
}
