//! Outputs lose nothing: every command that writes, with something else in the place of each of its outputs.
//!
//! What is there is written into or through, as its kind says, with the bytes that a new file gets; or the command
//! refuses, names it, and leaves everything as it was.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking, and says what it skips")]

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use common::{command, fail, names, succeed, text};
use rustix::fs::{CWD, FileType, Mode, makedev, mkfifoat, mknodat};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use tempfile::TempDir;
use testkit::demo;

/// What an output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    /// A file whose content is not the same each time.
    Timed,
    /// A file, whose folder is made if it is not there.
    FileInNewFolder,
    Package,
    Folder,
}

impl Kind {
    fn is_file(self) -> bool {
        matches!(self, Self::File | Self::Timed | Self::FileInNewFolder)
    }
}

/// An output of a command: in its arguments `@` is the folder to work in, and `#` what all commands read.
#[derive(Debug)]
struct Spot {
    kind: Kind,
    /// Where it is, below `@`.
    path: &'static str,
    /// What the option says, as far as it is another path: the folder that the output is in.
    folder: Option<&'static str>,
    args: &'static str,
}

const fn spot(kind: Kind, path: &'static str, args: &'static str) -> Spot {
    Spot { kind, path, folder: None, args }
}

const fn spot_in(kind: Kind, folder: &'static str, path: &'static str, args: &'static str) -> Spot {
    Spot { kind, path, folder: Some(folder), args }
}

const TEXT_ENCODER: &str = "Stable_Diffusion_version_sd-emoji_text_encoder.mlpackage";

/// Outputs of commands that draw.
const DRAWN: &[Spot] = &[
    spot(Kind::File, "a.png", "generate x -m #/models --steps 1 -o @/a.png"),
    spot(Kind::File, "l.safetensors", "generate x -m #/models --steps 1 -o @/a.png --latents @/l.safetensors"),
    spot(Kind::File, "g.png", "generate x -m #/models --steps 1 -o @/a.png --grid @/g.png"),
    spot_in(
        Kind::File,
        "pictures",
        "pictures/a-2.png",
        "generate x -m #/models --steps 1 --count 2 -o @/pictures/a.png",
    ),
    spot(Kind::File, "g.png", "compare #/one.png #/two.png --grid @/g.png"),
];

/// Outputs of commands that run or measure packages, and of `man`.
const RUN: &[Spot] = &[
    spot(Kind::File, "o.safetensors", "run #/encoder/te.mlpackage --inputs #/in.safetensors --outputs @/o.safetensors"),
    spot(Kind::Timed, "flame.svg", "bench #/encoder/te.mlpackage --runs 1 --svg @/flame.svg"),
    spot(
        Kind::FileInNewFolder,
        "r.json",
        "compress #/encoder/te.mlpackage -o @/x.mlpackage --mode uniform --bits 4 --report @/r.json --force",
    ),
    spot(
        Kind::FileInNewFolder,
        concat!("r-", "Stable_Diffusion_version_sd-emoji_text_encoder.html"),
        "compress #/one -o @/out --mode uniform --bits 4 --report @/r.html --force",
    ),
    spot_in(Kind::File, "man", "man/smelt-run.1", "man -o @/man"),
    spot(Kind::Folder, "man", "man -o @/man"),
];

/// Outputs of commands that write packages.
const PACKAGES: &[Spot] = &[
    spot(
        Kind::Package,
        "x.mlpackage",
        "compress #/encoder/te.mlpackage -o @/x.mlpackage --mode uniform --bits 4 --force",
    ),
    spot(Kind::Folder, "out", "compress #/one -o @/out --mode uniform --bits 4 --force"),
    spot_in(
        Kind::Package,
        "out",
        concat!("out/", "Stable_Diffusion_version_sd-emoji_text_encoder.mlpackage"),
        "compress #/one -o @/out --mode uniform --bits 4 --force",
    ),
    spot_in(Kind::File, "out", "out/merges.txt", "compress #/one -o @/out --mode uniform --bits 4 --force"),
    spot(Kind::Folder, "parts", "chunk #/encoder/te.mlpackage -o @/parts --force"),
    spot_in(Kind::Package, "parts", "parts/te_chunk2.mlpackage", "chunk #/encoder/te.mlpackage -o @/parts --force"),
    spot_in(
        Kind::Package,
        "parts",
        "parts/te_chunked_pipeline.mlpackage",
        "chunk #/encoder/te.mlpackage -o @/parts --pipeline --force",
    ),
    spot(Kind::Folder, "out", "convert #demo -o @/out --component text-encoder --force"),
    spot_in(
        Kind::Package,
        "out",
        concat!("out/", "Stable_Diffusion_version_sd-emoji_text_encoder.mlpackage"),
        "convert #demo -o @/out --component text-encoder --force",
    ),
    spot_in(Kind::File, "out", "out/merges.txt", "convert #demo -o @/out --component text-encoder --force"),
    spot_in(Kind::File, "out", "out/smelt.json", "convert #demo -o @/out --component text-encoder --force"),
];

/// What stands in the place of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Obstacle {
    Pipe,
    Device,
    LinkToFile,
    LinkToFolder,
    Dangling,
    Circle,
    File,
    Folder,
    /// The folder that it would be in is a link to one.
    BehindLink,
    /// The folder takes no files, whoever asks.
    Unwritable,
    /// The folder is not there.
    Missing,
}

const OBSTACLES: [Obstacle; 11] = [
    Obstacle::Pipe,
    Obstacle::Device,
    Obstacle::LinkToFile,
    Obstacle::LinkToFolder,
    Obstacle::Dangling,
    Obstacle::Circle,
    Obstacle::File,
    Obstacle::Folder,
    Obstacle::BehindLink,
    Obstacle::Unwritable,
    Obstacle::Missing,
];

/// What must happen.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    /// What is there stays, and gets the bytes.
    Into,
    /// The link stays, and what it leads to is replaced or made.
    Through,
    /// The output is there, as in an empty folder.
    Replaced,
    Refused,
}

fn wanted(spot: &Spot, obstacle: Obstacle) -> Wanted {
    let (is_file, is_settings) = (spot.kind.is_file(), spot.path.ends_with("smelt.json"));
    // Folders are made for reports and packages, and where the option names the folder; a picture's must be there.
    let is_made =
        !spot.args.starts_with("generate") && (spot.folder.is_some() || !is_file || spot.kind == Kind::FileInNewFolder);
    match obstacle {
        // Settings that cannot be read do not say whose model it is.
        Obstacle::File | Obstacle::LinkToFile if is_settings => Wanted::Refused,
        Obstacle::Pipe | Obstacle::Device if is_file => Wanted::Into,
        Obstacle::Dangling => Wanted::Through,
        Obstacle::LinkToFile if is_file => Wanted::Through,
        Obstacle::LinkToFolder if !is_file => Wanted::Through,
        Obstacle::File if is_file => Wanted::Replaced,
        Obstacle::Folder if !is_file => Wanted::Replaced,
        Obstacle::BehindLink => Wanted::Replaced,
        Obstacle::Missing if is_made => Wanted::Replaced,
        _ => Wanted::Refused,
    }
}

/// What all commands read, made once.
fn shared() -> &'static Path {
    static SHARED: OnceLock<TempDir> = OnceLock::new();
    let dir = SHARED.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        succeed(["convert", &text(demo()), "-o", &text(at("models"))]);
        fs::create_dir(at("encoder")).unwrap();
        copy_tree(&at("models").join(TEXT_ENCODER), &at("encoder/te.mlpackage"));
        fs::create_dir(at("one")).unwrap();
        copy_tree(&at("models").join(TEXT_ENCODER), &at("one").join(TEXT_ENCODER));
        fs::copy(at("models/merges.txt"), at("one/merges.txt")).unwrap();
        for (name, seed) in [("one.png", "1"), ("two.png", "2")] {
            let picture = text(at(name));
            succeed(["generate", "x", "-m", &text(at("models")), "--steps", "1", "--seed", seed, "-o", &picture]);
        }
        let zeros = [0; 4 * 77];
        let ids = TensorView::new(Dtype::F32, vec![1, 77], &zeros).unwrap();
        fs::write(at("in.safetensors"), safetensors::serialize([("input_ids", ids)], None).unwrap()).unwrap();
        dir
    });
    dir.path()
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if from.is_dir() {
            copy_tree(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
}

/// Everything below a folder: what it is, and what it holds. Links are not followed, pipes and devices not read.
fn listing(dir: &Path) -> BTreeMap<PathBuf, (char, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let kind = path.symlink_metadata().unwrap().file_type();
            let what = if kind.is_symlink() {
                ('l', fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes())
            } else if kind.is_dir() {
                folders.push(path.clone());
                ('d', Vec::new())
            } else if kind.is_file() {
                ('f', fs::read(&path).unwrap())
            } else {
                (if kind.is_fifo() { 'p' } else { 'c' }, Vec::new())
            };
            found.insert(path.strip_prefix(dir).unwrap().to_owned(), what);
        }
    }
    found
}

/// What is at a path: the bytes of a file, or the listing of a folder.
fn content(path: &Path) -> BTreeMap<PathBuf, (char, Vec<u8>)> {
    if path.is_dir() { listing(path) } else { BTreeMap::from([(PathBuf::new(), ('f', fs::read(path).unwrap()))]) }
}

/// A command line as words; see [`Spot`].
fn words(args: &str, work: &str) -> Vec<String> {
    let fill = |word: &str| word.replace("#demo", &text(demo())).replace('#', &text(shared())).replace('@', work);
    args.split(' ').map(fill).collect()
}

/// Reads a pipe to its end in a thread of its own.
fn drain(pipe: &Path) -> JoinHandle<Vec<u8>> {
    let pipe = pipe.to_owned();
    thread::spawn(move || fs::read(pipe).unwrap())
}

/// A device as /dev/null, but nobody else's; `false` where none can be made or used.
fn make_device(path: &Path) -> bool {
    let made = mknodat(CWD, path, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, 3)).is_ok();
    let is_usable = made && File::options().write(true).open(path).is_ok();
    if !is_usable {
        eprintln!("skipped: no device can be made at {}", path.display());
    }
    is_usable
}

/// Puts the obstacle into its place; `None` where there is none for this spot.
///
/// Returns the path of the folder to work in, as the command gets it.
fn put(obstacle: Obstacle, spot: &Spot, work: &Path) -> Option<String> {
    let at = work.join(spot.path);
    let parent = at.parent().unwrap();
    let make_parent = || fs::create_dir_all(parent).unwrap();
    match obstacle {
        Obstacle::Pipe => {
            make_parent();
            mkfifoat(CWD, &at, Mode::from_raw_mode(0o600)).unwrap();
        }
        Obstacle::Device => {
            make_parent();
            if !make_device(&at) {
                return None;
            }
        }
        Obstacle::LinkToFile => {
            make_parent();
            fs::write(work.join("target"), "old").unwrap();
            symlink(work.join("target"), &at).unwrap();
        }
        Obstacle::LinkToFolder => {
            make_parent();
            fs::create_dir(work.join("target")).unwrap();
            symlink(work.join("target"), &at).unwrap();
        }
        Obstacle::Dangling => {
            make_parent();
            symlink(work.join("target"), &at).unwrap();
        }
        Obstacle::Circle => {
            make_parent();
            symlink(&at, work.join("back")).unwrap();
            symlink(work.join("back"), &at).unwrap();
        }
        Obstacle::File => {
            make_parent();
            fs::write(&at, "old").unwrap();
        }
        Obstacle::Folder => {
            make_parent();
            fs::create_dir(&at).unwrap();
        }
        Obstacle::BehindLink => {
            let folder = spot.folder?;
            fs::create_dir(work.join("target")).unwrap();
            symlink(work.join("target"), work.join(folder)).unwrap();
        }
        Obstacle::Unwritable => return Path::new("/proc/self").is_dir().then(|| "/proc/self".to_owned()),
        Obstacle::Missing => return Some(text(work.join("missing"))),
    }
    Some(text(work))
}

/// A command that must end; one that waits for what it should not touch is stopped.
fn finish(args: &[String]) -> Output {
    let child = command(args).spawn().unwrap();
    let (id, (sender, ended)) = (child.id().to_string(), channel());
    thread::spawn(move || sender.send(child.wait_with_output().unwrap()));
    ended.recv_timeout(Duration::from_secs(120)).unwrap_or_else(|_| {
        Command::new("kill").args(["-9", &id]).status().unwrap();
        panic!("{args:?} does not end");
    })
}

/// One output with one obstacle.
fn check(spot: &Spot, obstacle: Obstacle, reference: &BTreeMap<PathBuf, (char, Vec<u8>)>) {
    let dir = tempfile::tempdir().unwrap();
    let Some(work) = put(obstacle, spot, dir.path()) else { return };
    let (at, args) = (Path::new(&work).join(spot.path), words(spot.args, &work));
    let what = format!("{obstacle:?} in the place of {}: {args:?}", at.display());
    let wanted = wanted(spot, obstacle);
    let reader = (obstacle == Obstacle::Pipe && wanted == Wanted::Into).then(|| drain(&at));
    let before = listing(dir.path());
    let output = finish(&args);
    let said = String::from_utf8_lossy(&output.stderr);
    let bytes = |path: &Path| {
        if spot.kind == Kind::Timed {
            let svg = fs::read_to_string(path).unwrap();
            assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"), "{what}");
        } else {
            assert!(content(path) == *reference, "{what}: other bytes");
        }
    };
    if wanted == Wanted::Refused {
        assert!(matches!(output.status.code(), Some(1 | 2)), "{what}: {:?} {said}", output.status);
        let parent = text(at.parent().unwrap());
        assert!(said.contains(&text(&at)) || said.contains(&parent), "{what} is not named: {said}");
        assert!(output.stdout.is_empty(), "{what}");
        assert!(listing(dir.path()) == before, "{what}: something has changed");
        return;
    }
    assert!(output.status.success(), "{what}: {said}");
    match wanted {
        Wanted::Into => {
            let kind = at.symlink_metadata().unwrap().file_type();
            assert!(if obstacle == Obstacle::Pipe { kind.is_fifo() } else { kind.is_char_device() }, "{what}");
            if let Some(reader) = reader {
                let got = reader.join().unwrap();
                let whole = if spot.kind == Kind::Timed {
                    got.ends_with(b"</svg>\n")
                } else {
                    got == reference[Path::new("")].1
                };
                assert!(whole, "{what}: other bytes");
            }
        }
        Wanted::Through => {
            assert!(at.symlink_metadata().unwrap().is_symlink(), "{what}: the link is gone");
            assert!(!dir.path().join("target").symlink_metadata().unwrap().is_symlink(), "{what}");
            bytes(&at);
        }
        Wanted::Replaced => bytes(&at),
        Wanted::Refused => unreachable!("handled above"),
    }
    let left: Vec<PathBuf> =
        listing(dir.path()).into_keys().filter(|p| text(p.file_name().unwrap()).starts_with('.')).collect();
    assert!(left.is_empty(), "{what} left {left:?}");
}

fn check_all(spots: &[Spot]) {
    for spot in spots {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join(spot.path).parent().unwrap()).unwrap();
        let output = finish(&words(spot.args, &text(dir.path())));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let reference = content(&dir.path().join(spot.path));
        for obstacle in OBSTACLES {
            check(spot, obstacle, &reference);
        }
    }
}

#[test]
fn what_is_drawn_goes_into_or_through_what_is_there_or_is_refused() {
    check_all(DRAWN);
}

#[test]
fn what_is_computed_or_told_goes_into_or_through_what_is_there_or_is_refused() {
    check_all(RUN);
}

#[test]
fn packages_go_through_what_is_there_or_are_refused() {
    check_all(PACKAGES);
}

#[test]
fn standard_output_gets_the_file_and_nothing_else() {
    for spot in DRAWN.iter().chain(RUN).filter(|spot| spot.kind.is_file() && spot.folder.is_none()) {
        let several = spot.args.contains("#/one -o");
        let dir = tempfile::tempdir().unwrap();
        let args = words(spot.args, &text(dir.path()));
        assert!(finish(&args).status.success());
        let at = dir.path().join(spot.path);
        let expected = fs::read(&at).unwrap();
        fs::remove_file(&at).unwrap();
        let with = |name: &str| {
            args.iter().map(|arg| if *arg == text(&at) { name.to_owned() } else { arg.clone() }).collect::<Vec<_>>()
        };
        if several {
            // A report that has no name is for programs.
            continue;
        }
        for name in ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
            let before = names(dir.path());
            let output = finish(&with(name));
            assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
            let is_whole = match spot.kind {
                Kind::Timed => output.stdout.starts_with(b"<svg") && output.stdout.ends_with(b"</svg>\n"),
                _ => output.stdout == expected,
            };
            assert!(is_whole, "{:?} to {name} gives {} bytes", spot.args, output.stdout.len());
            assert!(!output.stderr.is_empty(), "the text goes to standard error");
            assert_eq!(names(dir.path()), before, "{name}");
        }
        // Where standard output is a file, it is appended to, not replaced.
        let to = dir.path().join("redirected");
        let status = command(with("/dev/stdout")).stdout(File::create(&to).unwrap()).status().unwrap();
        assert!(status.success());
        assert!(spot.kind == Kind::Timed || fs::read(&to).unwrap() == expected);
        for option in ["--json", "--show=blocks"] {
            let refused = args_and(&with("-"), option);
            if option == "--json" || spot.args.starts_with("generate") {
                let message = fail(&refused);
                assert!(message.contains("both write to standard output"), "{refused:?}: {message}");
            }
        }
    }
}

fn args_and(args: &[String], more: &str) -> Vec<String> {
    args.iter().cloned().chain([more.to_owned()]).collect()
}

/// Runs what must be refused, and returns the message.
#[track_caller]
fn refused(dir: &Path, args: &str) -> String {
    let before = listing(dir);
    let message = fail(words(args, &text(dir)));
    assert!(listing(dir) == before, "{args}: something has changed");
    message
}

#[test]
fn no_two_outputs_share_a_name_and_none_replaces_an_input() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::copy(shared().join("one.png"), at("a.png")).unwrap();
    fs::copy(shared().join("in.safetensors"), at("in.safetensors")).unwrap();
    copy_tree(&shared().join("encoder/te.mlpackage"), &at("te.mlpackage"));
    copy_tree(&shared().join("one"), &at("one"));
    fs::write(at("recipe.json"), "{}").unwrap();
    fs::hard_link(at("a.png"), at("hard.png")).unwrap();
    symlink("a.png", at("soft.png")).unwrap();
    symlink(".", at("here")).unwrap();
    symlink("te.mlpackage", at("link.mlpackage")).unwrap();
    copy_tree(&shared().join("one"), &at("te_chunk1.mlpackage"));
    for (args, wanted) in [
        ("generate x -o @/n.png --latents @/n.png", "--latents and -o are the same file"),
        ("generate x -o @/n.png --latents @/./n.png", "--latents and -o are the same file"),
        ("generate x -o @/n.png --latents @/here/n.png", "--latents and -o are the same file"),
        ("generate x -o @/a.png --grid @/hard.png", "--grid and -o are the same file"),
        ("generate x -o @/a.png --grid @/soft.png", "--grid would replace the picture"),
        ("generate x -o @/n.png --count 3 --latents @/n-2.png", "--latents and -o are the same file"),
        ("generate x -o @/n.png --grid @/g.png --latents @/g.png", "--grid and --latents are the same file"),
        ("generate x -o - --latents -", "both standard output"),
        ("generate x -o - --count 2", "takes one picture"),
        ("generate x -o /dev/stdout --count 2", "takes one picture"),
        ("generate x --image @/a.png -o @/a.png", "-o would replace --image"),
        ("generate x --image @/a.png -o @/soft.png", "would replace --image"),
        ("generate x --image @/a.png -o @/n.png --latents @/a.png", "--latents would replace --image"),
        ("generate x -m @/one -o @/one/merges.txt", "would replace the model's file"),
        (
            "generate x -m @/one -o @/one/Stable_Diffusion_version_sd-emoji_text_encoder.mlpackage/a.png",
            "would be written into",
        ),
        ("compare @/a.png #/one.png --grid @/a.png", "--grid would replace the picture"),
        ("compare #/one.png @/a.png --grid @/hard.png", "would replace the picture"),
        ("run @/te.mlpackage --inputs @/in.safetensors --outputs @/in.safetensors", "--outputs would replace --inputs"),
        (
            "run @/te.mlpackage --inputs @/in.safetensors --outputs @/te.mlpackage/o.safetensors",
            "would be written into the package",
        ),
        (
            "run @/te.mlpackage --inputs @/in.safetensors --outputs @/te.mlpackage/Manifest.json",
            "would be written into the package",
        ),
        ("bench @/te.mlpackage --svg @/te.mlpackage/x.svg", "would be written into the package"),
        ("compress @/te.mlpackage -o @/te.mlpackage --bits 4 --force", "-o would replace the package"),
        ("compress @/te.mlpackage -o @/link.mlpackage --bits 4 --force", "would replace the package"),
        (
            "compress @/te.mlpackage -o @/n.mlpackage --bits 4 --report @/te.mlpackage/r.html",
            "would be written into the package",
        ),
        ("compress @/te.mlpackage -o @/n.mlpackage --bits 4 --report @/n.mlpackage/r.html", "would be written into"),
        (
            "compress @/te.mlpackage -o @/n.mlpackage --config @/recipe.json --report @/recipe.json",
            "--report would replace --config",
        ),
        ("compress @/one -o @/one --bits 4 --force", "over itself"),
        ("compress @/one -o @/here/one --bits 4 --force", "over itself"),
        ("compress @/one -o - --bits 4", "./-"),
        ("chunk @/te.mlpackage -o @/te.mlpackage", "would be written into the package"),
        ("chunk @/te.mlpackage -o -", "./-"),
        ("convert #demo -o -", "./-"),
        ("man -o -", "./-"),
    ] {
        let message = refused(dir.path(), args);
        assert!(message.contains(wanted), "{args}: {message}");
    }
}

#[test]
fn a_conversion_does_not_replace_a_file_of_its_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    copy_tree(&demo(), &dir.path().join("sd-emoji"));
    let config = dir.path().join("sd-emoji/tokenizer/special_tokens_map.json");
    // Beside the tokenizer its files would stay as they are; a file that a bundle has and that differs would not.
    fs::write(dir.path().join("sd-emoji/scheduler/vocab.json"), "{}").unwrap();
    let message = refused(dir.path(), "convert @/sd-emoji -o @/sd-emoji/scheduler --component text-encoder --force");
    assert!(message.contains("would replace the checkpoint's file"), "{message}");
    assert!(config.is_file());
    for _ in 0..2 {
        let checkpoint = text(dir.path().join("sd-emoji"));
        succeed(["convert", &checkpoint, "-o", &checkpoint, "--component", "text-encoder", "--force"]);
    }
}

#[test]
fn a_folder_of_packages_belongs_to_one_model() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| text(dir.path().join(name));
    let convert = || words("convert #demo --component text-encoder --force -o @/p", &text(dir.path()));
    succeed(convert());
    let message = refused(dir.path(), "convert #demo --component text-encoder --force -o @/p --model-version other");
    assert!(message.contains("holds the model sd-emoji") && message.contains("another folder"), "{message}");
    fs::remove_file(at("p/smelt.json")).unwrap();
    let message = refused(dir.path(), "convert #demo --component unet --force -o @/p --model-version other");
    assert!(message.contains(TEXT_ENCODER), "{message}");
    // Of the same model: replaced, and said if anything beside the packages is not what it was.
    fs::write(at("p/merges.txt"), "others").unwrap();
    let ran = common::run(convert());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("other content") && ran.stderr.contains("merges.txt"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("vocab.json"), "{}", ran.stderr);
    assert_eq!(common::run(convert()).stderr, "");

    // The same where companions are copied.
    succeed(["convert", &text(demo()), "--component", "text-encoder", "-o", &at("q"), "--model-version", "other"]);
    let message = refused(dir.path(), "compress @/p -o @/q --bits 4 --mode uniform --force");
    assert!(message.contains("holds the model other"), "{message}");
    succeed(["compress", &at("p"), "-o", &at("r"), "--bits", "4", "--mode", "uniform"]);
    fs::write(at("r/merges.txt"), "others").unwrap();
    let ran = common::run(["compress", &at("p"), "-o", &at("r"), "--bits", "4", "--mode", "uniform", "--force"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("merges.txt"), "{}", ran.stderr);
}

#[test]
fn a_refusal_leaves_no_folder_behind() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    copy_tree(&shared().join("one"), &at("broken"));
    fs::write(at("broken").join(TEXT_ENCODER).join("Manifest.json"), "{}").unwrap();
    fs::create_dir(at("empty")).unwrap();
    copy_tree(&shared().join("one"), &at("odd"));
    mkfifoat(CWD, at("odd/pipe"), Mode::from_raw_mode(0o600)).unwrap();
    for args in [
        "compress @/broken -o @/deep/out --bits 4",
        "compress @/empty -o @/deep/out --bits 4",
        "compress @/odd -o @/deep/out --bits 4",
        "compress #/one -o @/deep/out --bits 4 --only nothing_is_called_this",
        "compress #/encoder/te.mlpackage -o @/deep/out/x.mlpackage --bits 4 --only nothing_is_called_this",
        "compress #/encoder/te.mlpackage -o @/deep/out/x.mlpackage --bits 4 --report @/new/r.pdf",
        "convert @/empty -o @/deep/out",
        "convert #demo -o @/deep/out --component safety-checker",
        concat!("chunk @/broken/", "Stable_Diffusion_version_sd-emoji_text_encoder.mlpackage -o @/deep/out"),
        "chunk @/empty -o @/deep/out",
    ] {
        let before = listing(dir.path());
        let args = words(args, &text(dir.path()));
        let ran = common::run(&args);
        assert!(matches!(ran.code, Some(1 | 2)), "{args:?}: {}", ran.stderr);
        assert!(listing(dir.path()) == before, "{args:?}: something is left");
    }
}

#[test]
fn what_is_replaced_keeps_its_permissions_and_what_is_protected_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("g.png");
    let mode = |mode: u32| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    fs::write(&path, "old").unwrap();
    mode(0o640);
    let args = ["compare", &text(shared().join("one.png")), "--grid", &text(&path)].map(str::to_owned);
    succeed(&args);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
    mode(0o440);
    let message = refused(dir.path(), "compare #/one.png --grid @/g.png");
    assert!(message.contains("write-protected"), "{message}");
}

#[test]
fn a_reader_that_goes_away_ends_the_command_quietly_and_other_outputs_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let latents = dir.path().join("l.safetensors");
    let args = [
        "generate",
        "x",
        "-m",
        &text(shared().join("models")),
        "--steps",
        "1",
        "-o",
        "-",
        "--latents",
        &text(&latents),
    ];
    let mut child = command(args).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(latents.is_file());
}
