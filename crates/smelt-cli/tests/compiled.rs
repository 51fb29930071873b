//! Compiled models: made of the demo's packages, used in their place, and made packages again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use common::{fail, files, json, names, run, succeed, text};
use testkit::demo;

/// Packages of the demo, and the same compiled; made once for all tests of this file.
static MADE: LazyLock<(PathBuf, PathBuf)> = LazyLock::new(|| {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled");
    if dir.exists() {
        fs::remove_dir_all(&dir).unwrap();
    }
    let (packages, compiled) = (dir.join("packages"), dir.join("compiled"));
    json(["convert", &text(demo()), "-o", &text(&packages)]);
    let ran = run(["compile", &text(&packages), "-o", &text(&compiled)]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(ran.stderr.matches("no Core ML has loaded them here").count(), 1, "{}", ran.stderr);
    (packages, compiled)
});

fn picture(model: &Path, more: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let output = text(folder.path().join("x.png"));
    let args = ["generate", "a red heart", "-m", &text(model), "-o", &output, "--steps", "2", "--seed", "3"];
    succeed(args.iter().chain(more));
    fs::read(output).unwrap()
}

#[test]
fn a_folder_is_compiled_whole_and_draws_the_same_picture() {
    let (packages, compiled) = &*MADE;
    let expected: Vec<String> = names(packages).into_iter().map(|n| n.replace(".mlpackage", ".mlmodelc")).collect();
    assert_eq!(names(compiled), expected);
    let model = compiled.join("Stable_Diffusion_version_sd-emoji_unet.mlmodelc");
    assert_eq!(names(&model), ["analytics", "coremldata.bin", "metadata.json", "model.mil", "weights"]);
    assert_eq!(picture(compiled, &[]), picture(packages, &[]));
    assert_eq!(picture(compiled, &["--low-memory"]), picture(packages, &[]));
}

#[test]
fn compressing_without_a_method_gives_the_packages_back() {
    let (packages, compiled) = &*MADE;
    let folder = tempfile::tempdir().unwrap();
    let again = folder.path().join("again");
    succeed(["compress", &text(compiled), "-o", &text(&again)]);
    assert_eq!(names(&again), names(packages));
    assert!(files(&again) == files(packages));
    let unet = "Stable_Diffusion_version_sd-emoji_unet";
    let (model, package) = (compiled.join(format!("{unet}.mlmodelc")), folder.path().join("unet.mlpackage"));
    succeed(["compress", &text(&model), "-o", &text(&package)]);
    assert!(files(&package) == files(&packages.join(format!("{unet}.mlpackage"))));
    assert!(fail(["compress", &text(packages), "-o", &text(folder.path().join("x"))]).contains("say how: --bits N"));
    let named = fail(["compress", &text(&model), "-o", &text(folder.path().join("x.mlmodelc")), "--bits", "6"]);
    assert!(named.contains("must end with .mlpackage"), "{named}");
}

#[test]
fn compressed_packages_are_given_back_as_well() {
    let (packages, _) = &*MADE;
    let folder = tempfile::tempdir().unwrap();
    let unet = text(packages.join("Stable_Diffusion_version_sd-emoji_unet.mlpackage"));
    for (name, how) in [
        ("palettes", &["--bits", "4"][..]),
        ("integers", &["--dtype", "int8"]),
        ("groups", &["--bits", "3", "--granularity", "channels", "--group-size", "8", "--target", "macOS15"]),
        ("sparse", &["--sparsity", "0.5"]),
    ] {
        let [package, again] = ["", "-again"].map(|end| folder.path().join(format!("{name}{end}.mlpackage")));
        succeed(["compress", &unet, "-o", &text(&package)].iter().chain(how));
        succeed(["compile", &text(&package), "-o", &text(folder.path())]);
        let compiled = folder.path().join(format!("{name}.mlmodelc"));
        succeed(["compress", &text(&compiled), "-o", &text(&again)]);
        assert!(files(&again) == files(&package), "{name}");
    }
}

#[test]
fn compiled_models_are_compressed_as_their_packages_are() {
    let (packages, compiled) = &*MADE;
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
    succeed(["compress", &text(packages), "-o", &text(&a), "--bits", "6"]);
    succeed(["compress", &text(compiled), "-o", &text(&b), "--bits", "6"]);
    assert!(files(&a) == files(&b));
}

#[test]
fn what_takes_a_package_takes_a_compiled_one() {
    let (packages, compiled) = &*MADE;
    let unet = |dir: &Path, end: &str| text(dir.join(format!("Stable_Diffusion_version_sd-emoji_unet.{end}")));
    let (package, model) = (unet(packages, "mlpackage"), unet(compiled, "mlmodelc"));
    let same = json(["verify", &model, "--against", &package]);
    assert_eq!(same["outputs"][0]["identical"], true);
    let (of_model, of_package) = (json(["inspect", &model]), json(["inspect", &package]));
    assert_eq!(of_model["model"], of_package["model"]);
    assert!(of_model["compiler"].as_str().unwrap().starts_with("smelt "));
    assert_eq!(succeed(["inspect", &model, "--weights"]), succeed(["inspect", &package, "--weights"]));
    let folder = tempfile::tempdir().unwrap();
    succeed(["chunk", &model, "-o", &text(folder.path().join("parts")), "--check"]);
    assert_eq!(names(&folder.path().join("parts")).len(), 2);
    assert_eq!(json(["bench", &model, "--runs", "1"])["models"].as_array().map(Vec::len), Some(1));
    let inside = json(["inspect", &text(compiled)]);
    assert_eq!(inside["packages"].as_array().unwrap().len(), 4);
}

#[test]
fn a_package_beside_what_was_compiled_of_it_is_one_model() {
    let (packages, _) = &*MADE;
    let folder = tempfile::tempdir().unwrap();
    let both = folder.path().join("both");
    succeed(["compile", &text(packages), "-o", &text(&both)]);
    for name in names(packages).iter().filter(|name| name.ends_with(".mlpackage")) {
        let to = both.join(name);
        for (file, bytes) in files(&packages.join(name)) {
            fs::create_dir_all(to.join(&file).parent().unwrap()).unwrap();
            fs::write(to.join(&file), bytes).unwrap();
        }
    }
    assert_eq!(picture(&both, &[]), picture(packages, &[]));
    // Compiled in its own place, it needs no copies.
    let message = fail(["compile", &text(&both), "-o", &text(&both)]);
    assert!(message.contains("is there already; replace it with --force"), "{message}");
    assert_eq!(json(["compile", &text(&both), "-o", &text(&both), "--force"])["copied"], serde_json::json!([]));
}

#[test]
fn what_cannot_be_compiled_is_named_and_leaves_nothing() {
    let (packages, compiled) = &*MADE;
    let folder = tempfile::tempdir().unwrap();
    let to = text(folder.path().join("x"));
    let check = |from: &Path, expected: &str| {
        let message = fail(["compile", &text(from), "-o", &to]);
        assert!(message.contains(expected), "{message}");
        assert!(!Path::new(&to).exists());
    };
    check(&compiled.join("Stable_Diffusion_version_sd-emoji_unet.mlmodelc"), "is compiled already");
    check(compiled, "holds compiled models, and no package that is not compiled");
    check(&packages.join("vocab.json"), "give a package");
    check(&demo(), "a checkpoint");
}

#[test]
fn a_name_is_taken_for_one_model_and_folders_in_a_folder_are_compiled_too() {
    let (packages, compiled) = &*MADE;
    let folder = tempfile::tempdir().unwrap();
    let unet = packages.join("Stable_Diffusion_version_sd-emoji_unet.mlpackage");
    let named = folder.path().join("Unet.mlmodelc");
    succeed(["compile", &text(&unet), "-o", &text(&named)]);
    assert!(named.join("model.mil").is_file());
    let message = fail(["compile", &text(packages), "-o", &text(folder.path().join("All.mlmodelc"))]);
    assert!(message.contains("is named as one compiled model, and"), "{message}");
    // As a bundle of packages has its ControlNets.
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    for (file, bytes) in files(&unet) {
        for place in ["Unet.mlpackage", "controlnet/Canny.mlpackage"] {
            let file = from.join(place).join(&file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, &bytes).unwrap();
        }
    }
    fs::write(from.join("controlnet/notes.txt"), "x").unwrap();
    succeed(["compile", &text(&from), "-o", &text(&to)]);
    assert_eq!(names(&to), ["Unet.mlmodelc", "controlnet"]);
    assert_eq!(names(&to.join("controlnet")), ["Canny.mlmodelc", "notes.txt"]);
    let of = |path: &Path| fs::read(path.join("model.mil")).unwrap();
    assert!(
        of(&to.join("controlnet/Canny.mlmodelc"))
            == of(&compiled.join("Stable_Diffusion_version_sd-emoji_unet.mlmodelc"))
    );
}

/// A package whose files are links to others, as the Hub's cache has them.
#[cfg(unix)]
#[test]
fn packages_of_the_hubs_cache_are_compiled() {
    let (packages, compiled) = &*MADE;
    let folder = tempfile::tempdir().unwrap();
    let repository = folder.path().join("models--a--b");
    let snapshot = repository.join("snapshots/0123456789012345678901234567890123456789/packages/Unet.mlpackage");
    let blobs = repository.join("blobs");
    fs::create_dir_all(&blobs).unwrap();
    for (i, (file, bytes)) in
        files(&packages.join("Stable_Diffusion_version_sd-emoji_unet.mlpackage")).into_iter().enumerate()
    {
        let (blob, link) = (blobs.join(format!("{i:064x}")), snapshot.join(&file));
        fs::write(&blob, bytes).unwrap();
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(blob, link).unwrap();
    }
    succeed(["compile", &text(&snapshot), "-o", &text(folder.path())]);
    let (made, model) =
        (folder.path().join("Unet.mlmodelc"), compiled.join("Stable_Diffusion_version_sd-emoji_unet.mlmodelc"));
    for file in ["model.mil", "coremldata.bin", "analytics/coremldata.bin", "weights/weight.bin"] {
        assert!(fs::read(made.join(file)).unwrap() == fs::read(model.join(file)).unwrap(), "{file}");
    }
    assert!(!made.join("weights/weight.bin").is_symlink());
}

#[test]
fn outputs_without_a_declared_shape_are_as_good_as_others() {
    let Some(golden) = testkit::golden() else { return };
    let folder = tempfile::tempdir().unwrap();
    let samples = golden.join("mlmodelc-samples");
    for (name, from) in [("a", "ironmill-base.mlmodelc"), ("b", "ironmill-base.mlpackage")] {
        let to = text(folder.path().join(format!("{name}.mlpackage")));
        succeed(["compress", &text(samples.join(from)), "-o", &to, "--bits", "4", "--min-elements", "100"]);
        let own = text(samples.join(from));
        let compared = run(["verify", &to, "--against", &own]);
        assert!(
            compared.code == Some(0) || compared.code == Some(1) && compared.stderr.is_empty(),
            "{}",
            compared.stderr
        );
    }
    succeed([
        "compress",
        &text(samples.join("ironmill-base.mlmodelc")),
        "-o",
        &text(folder.path().join("c.mlpackage")),
    ]);
}

#[test]
fn apples_compiled_models_run_where_their_weights_are_here() {
    let Some(golden) = testkit::golden() else { return };
    let (mut n_ran, mut without_weights) = (0, Vec::new());
    let mut folders = vec![golden.join("mlmodelc-samples")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
            if path.extension().is_none_or(|end| end != "mlmodelc") {
                folders.push(path);
                continue;
            }
            let ran = run(["bench", &text(&path), "--runs", "1"]);
            match ran.code {
                Some(0) => n_ran += 1,
                _ if ran.stderr.contains("weight file") && ran.stderr.contains("is missing") => {
                    without_weights.push(path)
                }
                _ => panic!("{}: {}", path.display(), ran.stderr),
            }
        }
    }
    // Of these four only the texts were published.
    assert!(without_weights.iter().all(|path| text(path).contains("fluid-8842adb7-")), "{without_weights:?}");
    assert_eq!((n_ran, without_weights.len()), (13, 4));
}
