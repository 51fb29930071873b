//! `convert --bundle`: the folder that Apple's Swift package and the programs built on it read, and pictures drawn from it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::{Path, PathBuf};

use common::made::Made;
use common::{fail, json, names, read_picture, succeed, text};
use sd_runtime::image::Difference;

fn checkpoint(name: &str) -> Option<PathBuf> {
    Some(testkit::golden()?.join("checkpoints").join(name))
}

/// Draws a small picture, and returns where it is.
fn draw(model: &Path, picture: PathBuf, more: &[&str]) -> PathBuf {
    let own = ["generate", "a fox", "-m", &text(model), "-o", &text(&picture), "--steps", "2", "--seed", "5"];
    succeed(own.iter().chain(more));
    picture
}

#[track_caller]
fn check_same(a: &Path, b: &Path) {
    let difference = Difference::between(&read_picture(a), &read_picture(b)).unwrap();
    assert!(difference.psnr_db >= 60.0, "{} dB", difference.psnr_db);
}

#[test]
fn a_bundle_holds_nothing_beside_its_folder_and_draws() {
    let Some(model) = checkpoint("tiny-sd15") else { return };
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let report = json(["convert", &text(&model), "-o", &text(&out), "--bundle=packages"]);
    assert_eq!(names(&out), ["Resources"]);
    let resources = out.join("Resources");
    assert_eq!(
        names(&resources),
        [
            "SafetyChecker.mlpackage",
            "TextEncoder.mlpackage",
            "Unet.mlpackage",
            "VAEDecoder.mlpackage",
            "VAEEncoder.mlpackage",
            "merges.txt",
            "scheduler_config.json",
            "smelt.json",
            "special_tokens_map.json",
            "tokenizer_config.json",
            "vocab.json"
        ]
    );
    let (folder, bundle) = (text(&resources), &report["bundle"]);
    assert_eq!([&bundle["folder"], &bundle["form"]], [folder.as_str(), "packages"]);
    let compile = bundle["compile"].as_str().unwrap();
    assert!(compile.contains("xcrun coremlcompiler compile") && compile.contains(&folder), "{compile}");
    let own = draw(&model, dir.path().join("own.png"), &[]);
    check_same(&own, &draw(&resources, dir.path().join("resources.png"), &[]));
    // The folder that was named when it was made serves too.
    check_same(&own, &draw(&out, dir.path().join("out.png"), &["--low-memory"]));
    let again = fail(["convert", &text(&model), "-o", &text(&out), "--bundle=packages"]);
    assert!(again.contains("Unet.mlpackage") && again.contains("--force"), "{again}");
    succeed(["convert", &text(&model), "-o", &text(&out), "--bundle=packages", "--component", "unet", "--force"]);
    let other = fail(["convert", &text(testkit::demo()), "-o", &text(&out), "--bundle=packages"]);
    assert!(other.contains("holds the model tiny-sd15"), "{other}");
}

#[test]
fn a_compiled_bundle_is_the_default_and_draws_the_same_whole_and_in_chunks() {
    let Some(model) = checkpoint("tiny-sd15") else { return };
    let dir = tempfile::tempdir().unwrap();
    let own = draw(&model, dir.path().join("own.png"), &[]);
    let drawn = std::fs::read(&own).map(|_| read_picture(&own)).unwrap();
    for (name, more) in [("whole", &["--bundle"][..]), ("chunks", &["--chunk-unet", "--bundle=compiled"])] {
        let out = dir.path().join(name);
        let said = succeed([&["convert", &text(&model), "-o", &text(&out)], more].concat());
        assert_eq!(said.matches("no Core ML has loaded them here").count(), 1, "{said}");
        let resources = names(&out.join("Resources"));
        assert!(resources.iter().all(|name| !name.starts_with('.') && !name.ends_with(".mlpackage")), "{resources:?}");
        let denoisers =
            if name == "whole" { &["Unet.mlmodelc"][..] } else { &["UnetChunk1.mlmodelc", "UnetChunk2.mlmodelc"] };
        let there: Vec<&String> = resources.iter().filter(|name| name.starts_with("Unet")).collect();
        assert_eq!(there, denoisers);
        for model in resources.iter().filter(|name| name.ends_with(".mlmodelc")) {
            let files = ["analytics", "coremldata.bin", "metadata.json", "model.mil", "weights"];
            assert_eq!(names(&out.join("Resources").join(model)), files, "{model}");
        }
        assert!(read_picture(draw(&out, dir.path().join("x.png"), &[])) == drawn, "{name}");
        if name == "whole" {
            // Parts of a bundle's model have the names that a bundle has.
            let parts = dir.path().join("parts");
            succeed(["chunk", &text(out.join("Resources/Unet.mlmodelc")), "-o", &text(&parts)]);
            assert_eq!(names(&parts), ["UnetChunk1.mlpackage", "UnetChunk2.mlpackage"]);
        }
        // Of compiled models packages are made.
        let smaller = dir.path().join(format!("{name}-8"));
        succeed(["compress", &text(&out), "-o", &text(&smaller), "--bits", "8"]);
        let made: Vec<String> = denoisers.iter().map(|name| name.replace("mlmodelc", "mlpackage")).collect();
        assert!(made.iter().all(|name| smaller.join(name).is_dir()), "{:?}", names(&smaller));
        draw(&smaller, dir.path().join("smaller.png"), &[]);
    }
}

#[test]
fn chunks_take_the_place_of_the_whole_and_controlnets_have_a_folder() {
    let (Some(model), Some(net)) = (checkpoint("tiny-sd15"), checkpoint("tiny-controlnet")) else { return };
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("it's a bundle");
    let call = ["convert", &text(&model), "-o", &text(&out), "--bundle=packages", "--size", "64x64"];
    let more = ["--component", "text-encoder,unet,vae-decoder", "--chunk-unet", "--quantize-nbits", "8"];
    let plain = succeed([&call[..], &more].concat());
    assert!(plain.contains("UnetChunk1") && plain.contains("'\\''s a bundle/Resources'/*.mlpackage"), "{plain}");
    let resources = out.join("Resources");
    let packages = |dir: &Path| names(dir).into_iter().filter(|name| name.contains(".ml")).collect::<Vec<_>>();
    let own = ["TextEncoder.mlpackage", "UnetChunk1.mlpackage", "UnetChunk2.mlpackage", "VAEDecoder.mlpackage"];
    assert_eq!(packages(&resources), own);
    let size = ["--size", "64x64"];
    let whole = draw(&resources, dir.path().join("chunks.png"), &size);
    assert!(read_picture(&whole).pixels().iter().any(|value| *value != 0));
    let nets = ["--component", "unet", "--unet-support-controlnet", "--controlnet", &text(&net)];
    let guided = succeed([&call[..], &nets].concat());
    assert!(guided.contains("Resources'/*.mlpackage '") && guided.contains("/controlnet'/*.mlpackage"), "{guided}");
    assert_eq!(packages(&resources.join("controlnet")), ["TinyControlnet.mlpackage"]);
    assert!(resources.join("ControlledUnet.mlpackage").is_dir());
    let picture = text(&whole);
    for name in ["tiny-controlnet", "TinyControlnet"] {
        let guide = ["--controlnet", name, "--control-image", &picture];
        draw(&out, dir.path().join("guided.png"), &[&size[..], &guide].concat());
    }
}

#[test]
fn commands_take_a_bundle_and_compress_its_controlnets_too() {
    let (Some(model), Some(net)) = (checkpoint("tiny-sd15"), checkpoint("tiny-controlnet")) else { return };
    let dir = tempfile::tempdir().unwrap();
    let [out, packages, smaller] = ["out", "packages", "smaller"].map(|name| text(dir.path().join(name)));
    let call =
        ["convert", &text(&model), "-o", &out, "--size", "64x64", "--component", "text-encoder,unet,vae-decoder"];
    succeed(call.iter().chain(&["--unet-support-controlnet", "--controlnet", &text(&net), "--bundle"]));
    std::fs::write(dir.path().join("out/Resources/controlnet/notes.txt"), "mine").unwrap();
    succeed(["compress", &out, "-o", &packages]);
    succeed(["compress", &out, "-o", &smaller, "--bits", "4"]);
    let net = |folder: &str| Path::new(folder).join("controlnet/TinyControlnet.mlpackage");
    for folder in [&packages, &smaller] {
        assert_eq!(names(&Path::new(folder).join("controlnet")), ["TinyControlnet.mlpackage", "notes.txt"]);
    }
    let n_bytes = |path: PathBuf| common::files(&path).values().map(Vec::len).sum::<usize>();
    assert!(n_bytes(net(&smaller)) < n_bytes(net(&packages)) / 2);
    let start = draw(&model, dir.path().join("start.png"), &[]);
    let guide = ["--controlnet", "TinyControlnet", "--control-image", &text(start)];
    draw(Path::new(&smaller), dir.path().join("guided.png"), &guide);
    let facts = json(["bench", &out, "--runs", "1"]);
    assert_eq!(facts["models"].as_array().unwrap().len(), 3);
}

#[test]
fn a_bundle_has_one_form_of_each_model() {
    let dir = tempfile::tempdir().unwrap();
    let (out, resources) = (text(dir.path()), dir.path().join("Resources"));
    let unet = ["convert", &text(testkit::demo()), "-o", &out, "--component", "unet"];
    let models = || names(&resources).into_iter().filter(|name| name.contains(".ml")).collect::<Vec<_>>();
    let (whole, chunks) = (["Unet.mlmodelc"], ["UnetChunk1.mlmodelc", "UnetChunk2.mlmodelc"]);
    let packages = chunks.map(|name| name.replace("mlmodelc", "mlpackage"));
    succeed([&unet[..], &["--bundle", "--chunk-unet"]].concat());
    assert_eq!(models(), chunks);
    for (more, before, after) in [
        (&["--bundle"][..], &chunks[..], &whole[..]),
        (&["--chunk-unet", "--bundle=packages"], &whole, &[&*packages[0], &*packages[1]]),
        (&["--chunk-unet", "--bundle"], &[&*packages[0], &*packages[1]], &chunks),
    ] {
        let call = [&unet[..], more].concat();
        let refused = fail(&call);
        assert!(before.iter().all(|name| refused.contains(name)), "{refused}");
        assert!(refused.contains("in another form") && refused.contains("give another folder"), "{refused}");
        assert_eq!(models(), before);
        let ran = common::run(call.iter().chain(&["--force"]));
        assert!(ran.code == Some(0) && ran.stderr.contains("is removed for the new one"), "{}", ran.stderr);
        assert_eq!(models(), after);
    }
    // Another model's names begin alike, and both UNets have their uses.
    succeed([&unet[..], &["--bundle", "--unet-support-controlnet"]].concat());
    assert!(models().contains(&"ControlledUnet.mlmodelc".to_owned()) && models().len() == 3, "{:?}", models());
    assert!(names(&resources).iter().all(|name| !name.starts_with('.')));
    // The folder itself is meant where it is named.
    let said =
        succeed(["convert", &text(testkit::demo()), "-o", &text(&resources), "--bundle", "--component", "vae-decoder"]);
    assert!(said.contains("wrote 1 model to") && models().contains(&"VAEDecoder.mlmodelc".to_owned()), "{said}");
    assert_eq!(names(dir.path()), ["Resources"]);
    let said = succeed(["inspect", &out]);
    assert!(said.contains("compiled  VAEDecoder.mlmodelc"), "{said}");
}

#[test]
fn a_refiner_is_called_so_beside_xl_and_a_unet_where_it_draws_alone() {
    let (Some(base), Some(refiner)) = (checkpoint("tiny-sdxl"), checkpoint("tiny-sdxl-refiner")) else { return };
    let dir = tempfile::tempdir().unwrap();
    let (xl, alone) = (dir.path().join("xl"), dir.path().join("alone"));
    let bundle = ["--bundle=packages"];
    let both = ["--refiner", &text(&refiner), "--size", "64x64"];
    succeed([&["convert", &text(&base), "-o", &text(&xl)], &bundle[..], &both].concat());
    assert!(
        xl.join("Resources/UnetRefiner.mlpackage").is_dir() && xl.join("Resources/TextEncoder2.mlpackage").is_dir()
    );
    let start = draw(&xl, dir.path().join("xl.png"), &["--refiner", &text(&xl), "--refiner-start", "0.5"]);
    succeed([&["convert", &text(&refiner), "-o", &text(&alone)], &bundle[..], &["--size", "64x64"]].concat());
    let resources = alone.join("Resources");
    assert!(resources.join("Unet.mlpackage").is_dir() && !resources.join("UnetRefiner.mlpackage").exists());
    draw(&alone, dir.path().join("refined.png"), &["--image", &text(start), "--strength", "1"]);
}

#[test]
fn t5s_tokenizer_lies_where_the_swift_package_reads_it_and_pictures_are_drawn() {
    let (Some(model), Some(other)) = (checkpoint("tiny-sd3"), checkpoint("tiny-sd15")) else { return };
    let dir = tempfile::tempdir().unwrap();
    let vocabulary = |name: &str| std::fs::read(other.join("tokenizer").join(name)).unwrap();
    let made = Made::copy(&model, dir.path().join("sd3"))
        .file("tokenizer/vocab.json", vocabulary("vocab.json"))
        .file("tokenizer/merges.txt", vocabulary("merges.txt"));
    let out = dir.path().join("out");
    succeed(["convert", &text(&made.root), "-o", &text(&out), "--bundle=packages"]);
    let resources = out.join("Resources");
    let of_t5 = |name: &str| std::fs::read(made.root.join("tokenizer_3").join(name)).unwrap();
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        assert_eq!(std::fs::read(resources.join(name)).unwrap(), of_t5(name));
    }
    assert!(resources.join("TextEncoderT5.mlpackage").is_dir());
    draw(&out, dir.path().join("x.png"), &[]);
}

#[test]
fn what_no_bundle_has_is_refused_before_any_work() {
    let Some(model) = checkpoint("tiny-sd15") else { return };
    let dir = tempfile::tempdir().unwrap();
    let out = text(dir.path().join("out"));
    let refused = |checkpoint: &Path, more: &[&str]| {
        let call = ["convert", &text(checkpoint), "-o", &out, "--bundle=packages"];
        fail([&call[..], more].concat())
    };
    for (more, words) in [
        (&["--chunk-unet", "3"][..], "in 2 parts"),
        (&["--unet-batches", "1,2"], "a bundle has one unet, and 2 sizes or batches"),
        (&["--zip"], "--zip is for compiled models"),
        (&["--model-version", ""], "cannot be in names of files"),
        (&["--model-version", "."], "cannot be in names of files"),
        (&["--model-version", "me/.."], "cannot be in names of files"),
        (&["--model-version", "me/"], "cannot be in names of files"),
        (&["--model-version", "a\nb"], "cannot be in names of files"),
    ] {
        let message = refused(&model, more);
        assert!(message.contains(words), "{message}");
    }
    let Some(sd3) = checkpoint("tiny-sd3") else { return };
    let message = refused(&sd3, &["--chunk-unet"]);
    assert!(message.contains("take mmdit in one part"), "{message}");
    assert!(!Path::new(&out).exists());
}

/// What a program makes of a folder.
#[track_caller]
fn program<'f>(facts: &'f serde_json::Value, name: &str) -> &'f serde_json::Value {
    facts["programs"].as_array().unwrap().iter().find(|program| program["program"] == name).unwrap()
}

/// Tells of a bundle that every program finds all that it needs in it, and takes it for what it is.
#[track_caller]
fn check_complete(out: &Path, family: &str, attention: &str) {
    let facts = json(["inspect", &text(out)]);
    let programs = facts["programs"].as_array().unwrap();
    let names: Vec<&str> = programs.iter().map(|program| program["program"].as_str().unwrap()).collect();
    assert_eq!(names, ["Apple's Swift package", "Mochi Diffusion", "Diffusers"]);
    for program in programs {
        assert_eq!(program["finds_all"], true, "{program:#}");
        assert_eq!(program["left_out"], serde_json::json!([]), "{program:#}");
    }
    let reads = &program(&facts, "Mochi Diffusion")["reads"];
    assert_eq!((&reads["family"], &reads["attention"]), (&family.into(), &attention.into()));
    assert_eq!(reads["size"], serde_json::json!([64, 64]));
}

#[test]
fn a_bundle_of_every_family_is_complete_by_the_rules_of_all_programs() {
    let Some(golden) = testkit::golden() else { return };
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| text(golden.join("checkpoints").join(name));
    let vocabulary = |name: &str| std::fs::read(golden.join("checkpoints/tiny-sd15/tokenizer").join(name)).unwrap();
    let sd3 = Made::copy(&golden.join("checkpoints/tiny-sd3"), dir.path().join("sd3"))
        .file("tokenizer/vocab.json", vocabulary("vocab.json"))
        .file("tokenizer/merges.txt", vocabulary("merges.txt"));
    let (sd3, net, refiner) = (text(&sd3.root), at("tiny-controlnet"), at("tiny-sdxl-refiner"));
    let guided = ["--unet-support-controlnet", "--controlnet", &net];
    for (checkpoint, more, family, attention) in [
        (at("tiny-sd15"), &["--attention", "original"][..], "1.x or 2.x", "original"),
        (at("tiny-sd15"), &guided, "1.x or 2.x", "split-einsum"),
        (at("tiny-sd21"), &["--chunk-unet", "--attention", "split-einsum-v2"], "1.x or 2.x", "split-einsum"),
        (at("tiny-sd21"), &["--target", "macOS14"], "1.x or 2.x", "split-einsum"),
        (at("tiny-sdxl"), &["--refiner", &refiner, "--quantize-nbits", "6"], "XL", "split-einsum"),
        (at("tiny-sdxl-refiner"), &["--chunk-unet"], "XL", "split-einsum"),
        (sd3, &[], "3", "split-einsum"),
    ] {
        let out = tempfile::tempdir().unwrap();
        let call = ["convert", &checkpoint, "-o", &text(out.path()), "--size", "64x64", "--bundle"];
        succeed(call.iter().chain(more));
        if more == guided {
            // Diffusers knows no ControlNets and takes the plain one, which every other program has beside them.
            let facts = json(["inspect", &text(out.path())]);
            assert_eq!(program(&facts, "Diffusers")["missing"][0]["file"], "Unet.mlmodelc");
            succeed(call.iter().chain(&["--component", "unet"]));
        }
        check_complete(out.path(), family, attention);
    }
}

#[test]
fn an_archive_holds_the_bundle_in_a_folder_called_as_it_is() {
    let Some(model) = checkpoint("tiny-sd21") else { return };
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let call = ["convert", &text(&model), "-o", &text(&out), "--bundle", "--zip", "--model-version", "me/coreml-x"];
    let more = ["--attention", "original", "--component", "text-encoder,unet,vae-decoder"];
    let report = json(call.iter().chain(&more));
    let (name, path) = ("coreml-x_original_compiled", out.join("coreml-x_original_compiled.zip"));
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(report["bundle"]["zip"], serde_json::json!({"path": text(&path), "bytes": bytes.len()}));
    assert_eq!(names(&out), ["Resources".to_owned(), format!("{name}.zip")].map(|name| name));
    let again = fail(call.iter().chain(&more));
    assert!(again.contains("_original_compiled.zip"), "{again}");
    succeed(call.iter().chain(&more).chain(&["--force"]));
    assert!(std::fs::read(&path).unwrap() == bytes, "the same conversion gives another archive");
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
    let unpacked = dir.path().join("models");
    archive.extract(&unpacked).unwrap();
    assert_eq!(names(&unpacked), [name]);
    assert!(common::files(&unpacked.join(name)) == common::files(&out.join("Resources")));
    let facts = json(["inspect", &text(unpacked.join(name))]);
    assert_eq!(program(&facts, "Diffusers")["finds_all"], true);
}

#[test]
fn an_archive_holds_what_was_written_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (out, resources) = (dir.path().join("out"), dir.path().join("out/Resources"));
    std::fs::create_dir_all(resources.join("Other.mlmodelc")).unwrap();
    std::fs::write(resources.join("Other.mlmodelc/model.mil"), "").unwrap();
    std::fs::write(resources.join("notes.txt"), "mine").unwrap();
    std::fs::write(dir.path().join("secret"), "s").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("../..", resources.join("up")).unwrap();
    let call =
        ["convert", &text(testkit::demo()), "-o", &text(&out), "--bundle", "--zip", "--component", "vae-decoder"];
    let ran = common::run(call);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let list = "the archive leaves out what is in the bundle and was not written now:\n  Other.mlmodelc\n  notes.txt\n";
    assert!(ran.stderr.contains(list) && (cfg!(not(unix)) || ran.stderr.contains("  up")), "{}", ran.stderr);
    let zip = names(&out).into_iter().find(|name| name.ends_with(".zip")).unwrap();
    let mut archive = zip::ZipArchive::new(std::fs::File::open(out.join(&zip)).unwrap()).unwrap();
    archive.extract(dir.path().join("unpacked")).unwrap();
    let unpacked = dir.path().join("unpacked").join(zip.trim_end_matches(".zip"));
    let expected =
        names(&resources).into_iter().filter(|name| !["Other.mlmodelc", "notes.txt", "up"].contains(&&**name));
    assert_eq!(names(&unpacked), expected.collect::<Vec<_>>());
    assert!(
        common::files(&unpacked.join("VAEDecoder.mlmodelc")) == common::files(&resources.join("VAEDecoder.mlmodelc"))
    );
}

#[test]
fn what_a_program_would_not_find_is_said() {
    let Some(model) = checkpoint("tiny-sd15") else { return };
    let dir = tempfile::tempdir().unwrap();
    let out = text(dir.path());
    let components = ["--component", "text-encoder,unet,vae-decoder", "--bundle=packages"];
    succeed([&["convert", &text(&model), "-o", &out], &components[..]].concat());
    std::fs::remove_file(dir.path().join("Resources/merges.txt")).unwrap();
    let said = succeed(["inspect", &out]);
    let missing = "does not find TextEncoder.mlmodelc (TextEncoder.mlpackage is there, to be compiled), Unet.mlmodelc \
                   (Unet.mlpackage is there, to be compiled), VAEDecoder.mlmodelc (VAEDecoder.mlpackage is there, to be \
                   compiled), merges.txt";
    assert_eq!(said.matches(missing).count(), 3, "{said}");
    assert!(said.contains("to begin with a picture it lacks VAEEncoder.mlmodelc"), "{said}");
}
