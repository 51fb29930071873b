//! Folders, and what the three programs find in them; the names here are those of the programs' sources.

use std::ops::ControlFlow;

use mil::{DType, FunctionBuilder, HostTensor, Literal, Opset, Type};
use mlpackage::{Description, Existing, Package};

use super::*;

const TOKENIZER: [&str; 2] = ["vocab.json", "merges.txt"];

/// Files of a small compiled model.
fn model() -> Vec<(&'static str, Vec<u8>)> {
    let dir = tempfile::tempdir().unwrap();
    let (package, compiled) = (dir.path().join("x.mlpackage"), dir.path().join("x.mlmodelc"));
    let mut b = FunctionBuilder::new("main", Opset::CoreML6);
    let x = b.input("x", Type::tensor(DType::F32, &[16]));
    let weight = HostTensor::from_f32([16], vec![1.5; 16]);
    let mut e = b.emitter();
    let y = e.op("add", "y", [("x", x.into()), ("y", Literal::from(weight).into())]).unwrap();
    let ops = e.into_ops();
    let program = b.finish_program(ops, &[y]);
    let valid = mil::validate(&program).unwrap();
    mlpackage::write(&package, valid, &Description::of(&program), Existing::Refuse, &mut |_| {}).unwrap();
    let opened = Package::open(&package).unwrap();
    mlpackage::compile(&opened, &compiled, Existing::Refuse, &mut |_| ControlFlow::Continue(())).unwrap();
    let files = ["model.mil", "coremldata.bin", "weights/weight.bin"];
    files.map(|name| (name, std::fs::read(compiled.join(name)).unwrap())).to_vec()
}

/// A folder with these files, and small models where a name ends with that of one.
fn folder(names: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let model = model();
    for name in names {
        let path = dir.path().join(name);
        match name.contains(".ml") {
            true => {
                std::fs::create_dir_all(path.join("weights")).unwrap();
                model.iter().for_each(|(file, bytes)| std::fs::write(path.join(file), bytes).unwrap());
                let json = r#"[{"mlProgramOperationTypeHistogram": {"Ios16.einsum": 1}, "inputSchema": [INPUTS]}]"#;
                let inputs = match () {
                    () if names.contains(&"MultiModalDiffusionTransformer.mlmodelc") => {
                        r#"{"name": "latent_image_embeddings"}"#
                    }
                    () if names.contains(&"TextEncoder2.mlmodelc") => {
                        r#"{"name": "time_ids"}, {"name": "text_embeds"}"#
                    }
                    () => r#"{"name": "sample"}"#,
                };
                std::fs::write(path.join("metadata.json"), json.replace("INPUTS", inputs)).unwrap();
            }
            false => std::fs::write(path, r#"{"a": 1}"#).unwrap(),
        }
    }
    dir
}

/// What each program misses: the Swift package, Mochi, Diffusers.
fn missed(family: Family, names: &[&str]) -> Vec<Vec<String>> {
    let dir = folder(names);
    let facts = ProgramFacts::of_folder(dir.path(), family);
    let of = |facts: &ProgramFacts| {
        assert_eq!(facts.finds_all, facts.missing.is_empty() && facts.faults.is_empty());
        facts.missing.iter().map(|missing| missing.file.clone()).chain(facts.faults.iter().cloned()).collect()
    };
    facts.iter().map(of).collect()
}

/// Every set of files with which all three programs draw, by family.
const COMPLETE: &[(Family, &[&str])] = &[
    (Family::Sd, &["TextEncoder.mlmodelc", "Unet.mlmodelc", "VAEDecoder.mlmodelc"]),
    (Family::Sd, &["TextEncoder.mlmodelc", "UnetChunk1.mlmodelc", "UnetChunk2.mlmodelc", "VAEDecoder.mlmodelc"]),
    (Family::Sdxl, &["TextEncoder.mlmodelc", "TextEncoder2.mlmodelc", "Unet.mlmodelc", "VAEDecoder.mlmodelc"]),
    (Family::Sdxl, &["TextEncoder2.mlmodelc", "UnetChunk1.mlmodelc", "UnetChunk2.mlmodelc", "VAEDecoder.mlmodelc"]),
    (Family::SdxlRefiner, &["TextEncoder2.mlmodelc", "Unet.mlmodelc", "VAEDecoder.mlmodelc"]),
    (
        Family::Sd3,
        &[
            "TextEncoder.mlmodelc",
            "TextEncoder2.mlmodelc",
            "MultiModalDiffusionTransformer.mlmodelc",
            "VAEDecoder.mlmodelc",
        ],
    ),
];

#[test]
fn what_is_complete_is_found_and_whatever_is_taken_away_is_named() {
    for (family, models) in COMPLETE {
        let all = [&TOKENIZER[..], models].concat();
        for (program, missed) in missed(*family, &all).into_iter().enumerate() {
            assert!(missed.is_empty(), "{program} of {all:?}: {missed:?}");
        }
        for name in &all {
            let rest: Vec<&str> = all.iter().copied().filter(|other| other != name).collect();
            let is_optional = *family == Family::Sdxl && *name == "TextEncoder.mlmodelc";
            for missed in missed(*family, &rest) {
                assert_eq!(missed.iter().any(|file| file == name), !is_optional, "{rest:?}: {missed:?}");
            }
        }
    }
}

#[test]
fn packages_in_the_place_of_compiled_models_are_named_as_what_is_there() {
    let names = ["TextEncoder.mlpackage", "UnetChunk1.mlpackage", "UnetChunk2.mlpackage", "VAEDecoder.mlmodelc"];
    let dir = folder(&[&TOKENIZER[..], &names].concat());
    for facts in ProgramFacts::of_folder(dir.path(), Family::Sd) {
        let missing: Vec<(&str, Option<&str>)> =
            facts.missing.iter().map(|missing| (&*missing.file, missing.instead.as_deref())).collect();
        let expected = [
            ("TextEncoder.mlmodelc", Some(names[0])),
            ("UnetChunk1.mlmodelc", Some(names[1])),
            ("UnetChunk2.mlmodelc", Some(names[2])),
        ];
        assert_eq!(missing, expected, "{}", facts.program);
    }
}

#[test]
fn controlnets_serve_where_their_unet_is_there_too() {
    let common = [&TOKENIZER[..], &["TextEncoder.mlmodelc", "VAEDecoder.mlmodelc"]].concat();
    let [swift, mochi, diffusers] =
        &missed(Family::Sd, &[&common[..], &["ControlledUnet.mlmodelc", "controlnet/X.mlmodelc"]].concat())[..]
    else {
        panic!()
    };
    assert!(
        swift.is_empty() && mochi.is_empty() && diffusers == &["Unet.mlmodelc"],
        "{swift:?} {mochi:?} {diffusers:?}"
    );
    let dir = folder(&[&common[..], &["Unet.mlmodelc", "controlnet/X.mlmodelc"]].concat());
    let facts = ProgramFacts::of_folder(dir.path(), Family::Sd);
    let without: Vec<_> = facts[0].left_out.iter().map(|left| (left.what, &*left.missing[0].file)).collect();
    let expected = [
        ("to begin with a picture", "VAEEncoder.mlmodelc"),
        ("to be guided by ControlNets", "ControlledUnet.mlmodelc"),
    ];
    assert_eq!(without, expected);
    assert!(facts[1].notes.iter().any(|note| note.contains("its own folder controlnet")));
}

#[test]
fn what_is_there_and_cannot_be_loaded_is_named() {
    const POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n";
    let all = [&TOKENIZER[..], COMPLETE[0].1, &["controlnet/X.mlmodelc"]].concat();
    for (name, content, words) in [
        ("Unet.mlmodelc/model.mil", None, "there is no model.mil"),
        ("Unet.mlmodelc/model.mil", Some(POINTER), "Git LFS pointer"),
        ("Unet.mlmodelc/model.mil", Some("program(1.0) {"), "model.mil"),
        ("Unet.mlmodelc/coremldata.bin", None, "Unet.mlmodelc: there is no coremldata.bin"),
        ("Unet.mlmodelc/coremldata.bin", Some(POINTER), "Git LFS pointer"),
        ("Unet.mlmodelc/weights/weight.bin", None, "weight.bin"),
        ("Unet.mlmodelc/weights/weight.bin", Some(POINTER), "Git LFS pointer"),
        ("VAEDecoder.mlmodelc/model.espresso.net", Some("{}"), "a neural network"),
        ("controlnet/X.mlmodelc/model.mil", None, "controlnet/X.mlmodelc"),
        ("vocab.json", Some(""), "vocab.json"),
        ("vocab.json", Some("{}"), "vocab.json: it has no words"),
        ("vocab.json", Some(POINTER), "Git LFS pointer"),
        ("merges.txt", Some(" "), "merges.txt: it is empty"),
    ] {
        let dir = folder(&all);
        let path = dir.path().join(name);
        match content {
            Some(content) => std::fs::write(&path, content).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let facts = ProgramFacts::of_folder(dir.path(), Family::Sd);
        let faults = facts[0].faults.join("\n");
        assert!(
            !facts[0].finds_all && faults.contains(words) && faults.contains(name.split('/').next().unwrap()),
            "{name}: {faults}"
        );
        // A program that reads no ControlNets does not mind them.
        assert_eq!(facts[2].finds_all, name.starts_with("controlnet"), "{name}");
    }
    let dir = folder(&all);
    std::fs::remove_dir_all(dir.path().join("Unet.mlmodelc")).unwrap();
    std::fs::create_dir(dir.path().join("Unet.mlmodelc")).unwrap();
    let facts = ProgramFacts::of_folder(dir.path(), Family::Sd);
    assert!(facts[0].faults[0].starts_with("Unet.mlmodelc: it holds no model"), "{:?}", facts[0].faults);
}

#[test]
fn which_of_two_forms_counts_is_said_and_that_a_unet_needs_controlnets() {
    let notes = |names: &[&str]| {
        let common = ["TextEncoder.mlmodelc", "VAEDecoder.mlmodelc"];
        let dir = folder(&[&TOKENIZER[..], &common, names].concat());
        let facts = ProgramFacts::of_folder(dir.path(), Family::Sd);
        (facts[0].finds_all, facts[0].notes.clone())
    };
    let chunks = ["UnetChunk1.mlmodelc", "UnetChunk2.mlmodelc"];
    let (finds_all, both) = notes(&["Unet.mlmodelc", chunks[0], chunks[1]]);
    assert!(finds_all && both.len() == 1 && both[0].contains("takes the chunks"), "{both:?}");
    assert!(notes(&chunks).1.is_empty() && notes(&["Unet.mlmodelc"]).1.is_empty());
    let guided = ["ControlledUnet.mlmodelc", "controlnet/X.mlmodelc"];
    let (finds_all, only) = notes(&guided);
    assert!(finds_all && only.len() == 1 && only[0].starts_with("only with --controlnet"), "{only:?}");
    assert!(notes(&[&guided[..], &["Unet.mlmodelc"]].concat()).1.is_empty());
}

#[test]
fn t5_needs_all_three_of_its_files_and_none_is_none_too_few() {
    let complete = [&TOKENIZER[..], COMPLETE.last().unwrap().1, &["VAEEncoder.mlmodelc"]].concat();
    let left_out = |more: &[&str]| {
        let dir = folder(&[&complete[..], more].concat());
        let facts = ProgramFacts::of_folder(dir.path(), Family::Sd3);
        facts[0].left_out.iter().flat_map(|left| &left.missing).map(|missing| missing.file.clone()).collect::<Vec<_>>()
    };
    assert!(left_out(&[]).is_empty());
    assert_eq!(left_out(&["TextEncoderT5.mlmodelc", "tokenizer.json"]), ["tokenizer_config.json"]);
    assert!(left_out(&["TextEncoderT5.mlmodelc", "tokenizer.json", "tokenizer_config.json"]).is_empty());
}

#[test]
fn mochi_is_told_what_it_misreads() {
    let all = [&TOKENIZER[..], COMPLETE[2].1].concat();
    let dir = folder(&all);
    let unet = dir.path().join("Unet.mlmodelc/metadata.json");
    std::fs::write(&unet, r#"[{"mlProgramOperationTypeHistogram": {}, "inputSchema": []}]"#).unwrap();
    let mochi = &ProgramFacts::of_folder(dir.path(), Family::Sdxl)[1];
    assert_eq!(mochi.faults, ["it takes the model for Stable Diffusion 1.x or 2.x, which is XL"]);
    std::fs::remove_file(&unet).unwrap();
    let mochi = &ProgramFacts::of_folder(dir.path(), Family::Sdxl)[1];
    assert!(!mochi.finds_all && mochi.faults[0].contains("no Unet.mlmodelc/metadata.json"), "{:?}", mochi.faults);
}
