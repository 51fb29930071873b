//! Which files are taken of repositories as they are.

use super::*;

/// As the repository of Stable Diffusion 1.5 has them: every format, every variant, single files beside.
const SD15: &[&str] = &[
    ".gitattributes",
    "README.md",
    "feature_extractor/preprocessor_config.json",
    "model_index.json",
    "safety_checker/config.json",
    "safety_checker/model.fp16.safetensors",
    "safety_checker/model.safetensors",
    "safety_checker/pytorch_model.bin",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/flax_model.msgpack",
    "text_encoder/model.fp16.safetensors",
    "text_encoder/model.onnx",
    "text_encoder/model.safetensors",
    "text_encoder/openvino_model.bin",
    "text_encoder/openvino_model.xml",
    "text_encoder/pytorch_model.bin",
    "tokenizer/merges.txt",
    "tokenizer/special_tokens_map.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.bin",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "unet/diffusion_pytorch_model.non_ema.safetensors",
    "unet/diffusion_pytorch_model.safetensors",
    "v1-5-pruned-emaonly.safetensors",
    "v1-5-pruned.ckpt",
    "vae/config.json",
    "vae/diffusion_pytorch_model.bin",
    "vae/diffusion_pytorch_model.safetensors",
];

const INDEX_15: &str = r#"{"_class_name": "StableDiffusionPipeline",
    "feature_extractor": ["transformers", "CLIPImageProcessor"], "safety_checker": [null, null],
    "scheduler": ["diffusers", "PNDMScheduler"], "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"], "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"]}"#;

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// What is taken of these names, as far as it is no configuration.
#[track_caller]
fn takes(names: &[&str], wanted: &Wanted, index: Option<&str>, root: &str, weights: &[&str]) -> Selection {
    let found = select(&owned(names), wanted, index.map(str::as_bytes)).unwrap();
    let is_weight = |name: &&String| !name.ends_with(".txt") && (!name.ends_with(".json") || name.contains(".index."));
    assert_eq!(found.files.iter().filter(is_weight).collect::<Vec<_>>(), weights);
    assert_eq!(found.root, root);
    found
}

#[track_caller]
fn refuses(names: &[&str], wanted: &Wanted, parts: &[&str]) {
    let Unclear { what, next } = select(&owned(names), wanted, None).unwrap_err();
    let said = format!("{what}; {next}");
    parts.iter().for_each(|part| assert!(said.contains(part), "{said}"));
}

fn at(path: &str) -> Wanted {
    Wanted { path: Some(path.to_owned()), ..Wanted::default() }
}

fn of_variant(variant: Option<&str>) -> Wanted {
    Wanted { variant: variant.map(str::to_owned), ..Wanted::default() }
}

#[test]
fn of_a_pipeline_each_network_comes_once_with_all_configurations() {
    let weights = [
        "text_encoder/model.safetensors",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ];
    let found = takes(SD15, &Wanted::default(), Some(INDEX_15), "", &weights);
    let configurations = found.files.iter().filter(|name| name.ends_with(".json") || name.ends_with(".txt"));
    assert_eq!(configurations.count(), 10, "{:?}", found.files);
    assert!(!found.files.iter().any(|name| name.starts_with("safety_checker")), "the index leaves it out");
    assert_eq!(index_of(&owned(SD15), &Wanted::default()).as_deref(), Some("model_index.json"));
}

#[test]
fn without_an_index_all_networks_that_are_there_come() {
    let found = select(&owned(SD15), &Wanted::default(), None).unwrap();
    assert!(found.files.iter().any(|name| name == "safety_checker/model.safetensors"));
}

#[test]
fn a_variant_comes_where_a_network_has_it() {
    let weights = [
        "text_encoder/model.fp16.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ];
    takes(SD15, &of_variant(Some("fp16")), Some(INDEX_15), "", &weights);
}

#[test]
fn of_networks_that_are_not_wanted_only_configurations_come() {
    let wanted = Wanted { roles: vec![Role::VaeDecoder], ..Wanted::default() };
    let found = takes(SD15, &wanted, Some(INDEX_15), "", &["vae/diffusion_pytorch_model.safetensors"]);
    assert!(found.files.iter().any(|name| name == "unet/config.json"));
}

#[test]
fn shards_come_with_their_index_in_every_spelling() {
    let check = |first: &str, second: &str, index: &str, others: &[&str], variant: Option<&str>| {
        let mut expected = vec![first, second, index];
        expected.sort_unstable();
        let names = [&["config.json", first, second, index], others].concat();
        takes(&names, &of_variant(variant), None, "", &expected);
    };
    let others = ["model.safetensors.index.int8.json", "flax_model.msgpack.index.json", "pytorch_model.bin"];
    let numbered = |before: &str, after: &str| [1, 2].map(|n| format!("{before}-0000{n}-of-00002{after}"));
    for ([first, second], index, variant) in [
        (numbered("model", ".safetensors"), "model.safetensors.index.json", None),
        (numbered("model.fp16", ".safetensors"), "model.safetensors.index.fp16.json", Some("fp16")),
        (numbered("model", ".fp16.safetensors"), "model.safetensors.fp16.index.json", Some("fp16")),
    ] {
        check(&first, &second, index, &others, variant);
    }
    let [first, second] = numbered("pytorch_model", ".bin");
    check(&first, &second, "pytorch_model.bin.index.json", &[], None);
}

#[test]
fn weights_in_one_piece_come_before_shards_and_the_only_variant_for_any() {
    let whole = "diffusion_pytorch_model.safetensors";
    let shards = "diffusion_pytorch_model-00001-of-00001.safetensors";
    takes(&["config.json", whole, shards], &Wanted::default(), None, "", &[whole]);
    takes(&["config.json", "model.fp16.safetensors"], &Wanted::default(), None, "", &["model.fp16.safetensors"]);
    let two = ["config.json", "model.fp16.safetensors", "model.int8.safetensors"];
    refuses(&two, &Wanted::default(), &["variants fp16, int8", "--variant"]);
    refuses(&two[..2], &of_variant(Some("fp8")), &["no weights of the variant fp8, only fp16"]);
}

#[test]
fn a_path_is_just_that_file_or_that_folder() {
    takes(SD15, &at("v1-5-pruned.ckpt"), None, "v1-5-pruned.ckpt", &["v1-5-pruned.ckpt"]);
    let found = takes(SD15, &at("vae"), None, "vae", &["vae/diffusion_pytorch_model.safetensors"]);
    assert_eq!(found.files.len(), 2);
    refuses(SD15, &at("unte"), &["no file or folder unte", "unet/"]);
    refuses(SD15, &at("unet/x.bin"), &["no file or folder unet/x.bin", "unet has config.json"]);
    let names = ["a/model_index.json", "a/unet/config.json", "a/unet/diffusion_pytorch_model.safetensors"];
    takes(&names, &at("a"), None, "a", &names[2..]);
}

#[test]
fn one_model_in_one_file_is_meant_and_several_are_listed() {
    let check = |names: &[&str], file: &str| drop(takes(names, &Wanted::default(), None, file, &[file]));
    check(&["README.md", "a.yaml", "a.ckpt", "a.safetensors"], "a.safetensors");
    check(&["concept_images/1.jpeg", "learned_embeds.bin"], "learned_embeds.bin");
    refuses(&["a.safetensors", "b.ckpt"], &Wanted::default(), &["2 models in single files", "a.safetensors, b.ckpt"]);
    refuses(&["README.md", "data.csv"], &Wanted::default(), &["no model that is read here", "README.md, data.csv"]);
    refuses(&[], &Wanted::default(), &["no files"]);
}

#[test]
fn packages_come_whole_and_their_folders_are_listed() {
    let names = ["original/packages/a_unet.mlpackage/Manifest.json", "original/packages/vocab.json", "README.md"];
    let found = select(&owned(&names), &at("original/packages"), None).unwrap();
    assert_eq!(found.files, names[..2]);
    refuses(&names, &Wanted::default(), &["original/packages"]);
    // Apple's own: compiled models hold files that are named as weights are.
    let apples = ["coremldata.bin", "analytics/coremldata.bin", "weights/weight.bin", "model.mil"];
    let apples = apples.map(|file| format!("split_einsum/compiled/Unet.mlmodelc/{file}"));
    let all: Vec<&str> = apples.iter().map(String::as_str).chain(names).collect();
    refuses(&all, &Wanted::default(), &["folders of packages: original/packages, split_einsum/compiled"]);
    assert_eq!(select(&owned(&all), &at("split_einsum/compiled"), None).unwrap().files.len(), 4);
    let found = select(&owned(&names), &at("original/packages/a_unet.mlpackage"), None).unwrap();
    assert_eq!(found.files, names[..1]);
}

#[test]
fn all_is_every_file() {
    let wanted = Wanted { extent: Extent::All, ..Wanted::default() };
    let found = select(&owned(SD15), &wanted, None).unwrap();
    assert_eq!((found.files.len(), found.root.as_str()), (SD15.len(), ""));
}

#[test]
fn configurations_come_without_weights() {
    let wanted = Wanted { extent: Extent::Configurations, ..Wanted::default() };
    let found = select(&owned(SD15), &wanted, None).unwrap();
    let is_weights = |name: &&String| [".safetensors", ".bin", ".ckpt"].iter().any(|end| name.ends_with(end));
    assert_eq!(found.files.iter().find(is_weights), None);
    for name in ["model_index.json", "unet/config.json", "vae/config.json", "tokenizer/vocab.json"] {
        assert!(found.files.iter().any(|found| found == name), "{name}: {:?}", found.files);
    }
    let names = ["config.json", "diffusion_pytorch_model.safetensors"];
    assert_eq!(select(&owned(&names), &wanted, None).unwrap().files, names[..1]);
    refuses(&["model.safetensors"], &wanted, &["no configurations", "in diffusers layout"]);
}

#[test]
fn networks_without_weights_are_named() {
    let names = ["model_index.json", "unet/config.json", "vae/config.json", "vae/diffusion_pytorch_model.bin"];
    let found = select(&owned(&names), &Wanted::default(), None).unwrap();
    assert_eq!(found.absent, ["unet"]);
}

#[test]
fn numbers_of_shards_are_told_from_other_names() {
    for (name, expected) in [
        ("-00001-of-00002.safetensors", (".safetensors", true)),
        (".fp16-00001-of-00002.safetensors", (".fp16.safetensors", true)),
        ("-of-00002.safetensors", ("-of-00002.safetensors", false)),
        ("é-of-00002", ("é-of-00002", false)),
        ("-0000é-of-00002", ("-0000é-of-00002", false)),
    ] {
        assert_eq!(without_number(name), (expected.0.to_owned(), expected.1));
    }
}

#[test]
fn the_configuration_of_an_adapter_comes_with_its_weights() {
    const PEFT: &[&str] = &["README.md", "adapter_config.json", "adapter_model.safetensors", "b/adapter_model.bin"];
    let of = |path: Option<&str>, names: &[&str]| {
        let wanted = Wanted { path: path.map(str::to_owned), ..Wanted::default() };
        select(&owned(names), &wanted, None).unwrap().files
    };
    assert_eq!(of(None, &PEFT[..3]), ["adapter_config.json", "adapter_model.safetensors"]);
    assert_eq!(of(Some("adapter_model.safetensors"), PEFT), ["adapter_config.json", "adapter_model.safetensors"]);
    assert_eq!(of(Some("b"), PEFT), ["b/adapter_model.bin"]);
}
