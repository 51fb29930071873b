//! Pictures that a TAESD decodes in the place of the model's own autoencoder.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use smelt::{
    Conversion, Event, HostTensor, Opening, Picture, PipelineOptions, Request, Role, Source, Unwatched, tensor_file,
};
use testkit::Rng;

#[path = "../examples/small_decoder.rs"]
#[allow(dead_code, reason = "its `main` is for whoever runs the example")]
mod example;

/// Widths of a random TAESD, far from the real one's 64.
const WIDTH: usize = 8;

/// The layers of a decoder behind its first one, by their numbers in diffusers: blocks and what leads to the next level.
fn layers(latents: usize) -> Vec<(String, Vec<usize>)> {
    let mut layers = vec![("0.weight".to_owned(), vec![WIDTH, latents, 3, 3]), ("0.bias".to_owned(), vec![WIDTH])];
    // A convolution and its activation, then for each level a block, what makes pictures larger, and a convolution.
    let mut at = 2;
    for level in 0..4 {
        for conv in [0, 2, 4] {
            layers.push((format!("{at}.conv.{conv}.weight"), vec![WIDTH, WIDTH, 3, 3]));
            layers.push((format!("{at}.conv.{conv}.bias"), vec![WIDTH]));
        }
        if level < 3 {
            layers.push((format!("{}.weight", at + 2), vec![WIDTH, WIDTH, 3, 3]));
            at += 3;
        }
    }
    layers.push((format!("{}.weight", at + 1), vec![3, WIDTH, 3, 3]));
    layers.push((format!("{}.bias", at + 1), vec![3]));
    layers
}

/// Writes the decoder of a random TAESD under its author's names.
fn author(path: &Path, latents: usize) -> Source {
    let mut rng = Rng::new(7);
    let tensor = |(key, shape): (String, Vec<usize>)| {
        let (layer, rest) = key.split_once('.').unwrap();
        let key = format!("{}.{rest}", layer.parse::<usize>().unwrap() + 1);
        let n: usize = shape.iter().product();
        let scale = if shape.len() == 4 { (shape[1] as f32 * 9.0).powf(-0.5) } else { 0.1 };
        (key, HostTensor::from_f32(shape, rng.normals(n).iter().map(|x| x * scale).collect()))
    };
    let tensors: BTreeMap<String, HostTensor> = layers(latents).into_iter().map(tensor).collect();
    let mut outputs = safe_files::Outputs::new();
    tensor_file::write(&outputs.file("it", path).unwrap(), &tensors, &mut Unwatched).unwrap();
    path.into()
}

/// The same under diffusers' names, with an encoder, in a folder with its configuration.
fn diffusers(folder: &Path, author: &Path) -> Source {
    std::fs::create_dir(folder).unwrap();
    let renamed = testkit::load_safetensors(author).into_iter().map(|(key, tensor)| {
        let (layer, rest) = key.split_once('.').unwrap();
        (format!("decoder.layers.{}.{rest}", layer.parse::<usize>().unwrap() - 1), tensor)
    });
    let mut tensors: BTreeMap<String, HostTensor> = renamed.collect();
    let mut zeros = |key: String, shape: Vec<usize>| {
        let n = shape.iter().product();
        tensors.insert(key, HostTensor::from_f32(shape, vec![0.0; n]));
    };
    for (layer, [o, i], has_bias) in [(0, [WIDTH, 3], true), (8, [4, WIDTH], true)]
        .into_iter()
        .chain([2, 4, 6].map(|layer| (layer, [WIDTH, WIDTH], false)))
    {
        zeros(format!("encoder.layers.{layer}.weight"), vec![o, i, 3, 3]);
        if has_bias {
            zeros(format!("encoder.layers.{layer}.bias"), vec![o]);
        }
    }
    for layer in [1, 3, 5, 7] {
        for conv in [0, 2, 4] {
            zeros(format!("encoder.layers.{layer}.conv.{conv}.weight"), vec![WIDTH, WIDTH, 3, 3]);
            zeros(format!("encoder.layers.{layer}.conv.{conv}.bias"), vec![WIDTH]);
        }
    }
    let file = folder.join("diffusion_pytorch_model.safetensors");
    let mut outputs = safe_files::Outputs::new();
    tensor_file::write(&outputs.file("it", &file).unwrap(), &tensors, &mut Unwatched).unwrap();
    let config = format!(
        r#"{{"_class_name": "AutoencoderTiny", "latent_channels": 4, "scaling_factor": 1.0,
            "encoder_block_out_channels": [{WIDTH}, {WIDTH}, {WIDTH}, {WIDTH}], "num_encoder_blocks": [1, 1, 1, 1],
            "decoder_block_out_channels": [{WIDTH}, {WIDTH}, {WIDTH}, {WIDTH}], "num_decoder_blocks": [1, 1, 1, 1]}}"#
    );
    std::fs::write(folder.join("config.json"), config).unwrap();
    folder.into()
}

fn request() -> Request {
    Request { steps: 2, guidance: 1.0, seed: 3, ..Request::new("a red heart") }
}

fn draw(model: &smelt::Opened, taesd: Option<&Source>) -> (Picture, Vec<String>) {
    let options = PipelineOptions { taesd: taesd.cloned(), ..PipelineOptions::default() };
    let mut pipeline = model.pipeline(&options).unwrap();
    let picture = pipeline.draw(&request(), &mut Unwatched).unwrap().pictures.remove(0);
    (picture, pipeline.warnings().to_vec())
}

/// Packages of the demo model, with another autoencoder where one is given.
fn packages(to: PathBuf, vae: Option<&Source>) -> PathBuf {
    let opening = Opening { vae: vae.cloned(), ..Opening::default() };
    let opened = opening.open(testkit::demo()).unwrap();
    let roles = vec![Role::TextEncoder, Role::UNet, Role::VaeDecoder];
    opened.convert(&to, &Conversion { roles, ..Conversion::default() }, &mut Unwatched).unwrap();
    to
}

#[test]
fn a_taesd_decodes_what_the_model_drew_wherever_both_come_from() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let file = author(&at("taesd_decoder.safetensors"), 4);
    let folder = diffusers(&at("taesd"), &at("taesd_decoder.safetensors"));
    let plain = packages(at("plain"), None);
    let with = packages(at("with"), Some(&folder));
    let with_it = Source::from(with.as_path());
    let decoder = smelt::packages(&with)
        .unwrap()
        .into_iter()
        .find(|path| path.ends_with("Stable_Diffusion_version_sd-emoji_vae_decoder.mlpackage"));
    let package = Source::from(decoder.unwrap().as_path());
    for model in [smelt::open(testkit::demo()).unwrap(), smelt::open(plain.as_path()).unwrap()] {
        let (own, _) = draw(&model, None);
        let (first, warnings) = draw(&model, Some(&file));
        assert!(warnings.is_empty(), "{warnings:?}");
        assert_eq!(first.latents.to_f32_vec(), own.latents.to_f32_vec());
        assert_ne!(first.image, own.image);
        assert_eq!((own.settings.taesd, first.settings.taesd.as_deref()), (None, Some("taesd_decoder")));
        for (source, name) in [(&folder, "taesd"), (&with_it, "taesd"), (&package, "taesd")] {
            let (other, warnings) = draw(&model, Some(source));
            assert!(warnings.is_empty(), "{warnings:?}");
            assert_eq!(other.image, first.image, "{source}");
            assert_eq!(other.settings.taesd.as_deref(), Some(name));
        }
        let low = PipelineOptions { taesd: Some(file.clone()), low_memory: true, ..PipelineOptions::default() };
        let drawn = model.pipeline(&low).unwrap().draw(&request(), &mut Unwatched).unwrap();
        assert_eq!(drawn.pictures[0].image, first.image);
    }
    example::draw(&testkit::demo(), &at("taesd_decoder.safetensors"), "a red heart", &at("picture.png")).unwrap();
    assert!(at("picture.png").is_file());
    // A whole checkpoint with it in the place of its own, as `--vae` makes one, draws the same.
    let (same, _) = draw(&smelt::open(with.as_path()).unwrap(), None);
    let (own, _) = draw(&smelt::open(plain.as_path()).unwrap(), Some(&file));
    assert_eq!(same.image, own.image);
}

#[test]
fn a_picture_to_begin_with_is_read_by_the_models_own_encoder() {
    let dir = tempfile::tempdir().unwrap();
    let file = author(&dir.path().join("taesd_decoder.safetensors"), 4);
    let model = smelt::open(testkit::demo()).unwrap();
    let begin = draw(&model, None).0.image;
    let latents = |taesd: Option<&Source>| {
        let options = PipelineOptions { taesd: taesd.cloned(), with_picture: true, ..PipelineOptions::default() };
        let start = smelt::Start { strength: Some(0.5), ..smelt::Start::new(begin.clone(), "sketch.png") };
        let request = Request { start: Some(start), ..request() };
        let drawn = model.pipeline(&options).unwrap().draw(&request, &mut Unwatched).unwrap();
        drawn.pictures[0].latents.to_f32_vec()
    };
    assert_eq!(latents(Some(&file)), latents(None));
}

#[test]
fn what_does_not_fit_is_refused_by_name_and_what_is_not_known_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let model = smelt::open(testkit::demo()).unwrap();
    let refused = |source: &Source, facts: &[&str]| {
        let options = PipelineOptions { taesd: Some(source.clone()), ..PipelineOptions::default() };
        let error = model.pipeline(&options).map(drop).unwrap_err().chain();
        assert!(facts.iter().all(|fact| error.contains(fact)), "{error}");
    };
    let flux = author(&at("taef1_decoder.safetensors"), 16);
    refused(&flux, &["--taesd", "16 channels", "Stable Diffusion 1.x", "have 4"]);
    let xl = author(&at("taesdxl_decoder.safetensors"), 4);
    refused(&xl, &["the TAESD of Stable Diffusion XL by its name", "rename it"]);
    let vae = Source::from(testkit::demo().join("vae").as_path());
    refused(&vae, &["an ordinary VAE (AutoencoderKL)", "--vae takes it"]);
    refused(&Source::from(at("none").as_path()), &["not there", "--taesd takes"]);
    let plain = packages(at("plain"), None);
    refused(&Source::from(plain.as_path()), &["the decoder of an ordinary VAE", "--vae TAESD"]);
    let unknown = author(&at("small.safetensors"), 4);
    let (picture, warnings) = draw(&model, Some(&unknown));
    assert_eq!(picture.settings.taesd.as_deref(), Some("small"));
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(warning.contains("does not say by its name") && warning.contains("1.x and XL"), "{warning}");
}

#[test]
fn a_taesd_shows_pictures_while_they_are_drawn() {
    let dir = tempfile::tempdir().unwrap();
    let taesd = author(&dir.path().join("taesd_decoder.safetensors"), 4);
    let model = smelt::open(testkit::demo()).unwrap();
    let request = Request { scheduler: Some("euler".parse().unwrap()), ..request() };
    let draw = |options: PipelineOptions| {
        let (mut pipeline, mut shown) = (model.pipeline(&options).unwrap(), Vec::new());
        let mut watch = |event: Event<'_>| {
            if let Event::Step(step) = event {
                shown.push((step.size(), step.preview().unwrap()));
            }
            ControlFlow::Continue(())
        };
        let picture = pipeline.draw(&request, &mut watch).unwrap().pictures.remove(0).image;
        (picture, shown)
    };
    let small = PipelineOptions { taesd: Some(taesd.clone()), ..PipelineOptions::default() };
    let (wanted, plain) = draw(small);
    // Colours of latents are a pixel for each; they are for a picture of the same size.
    assert_eq!((plain[1].0, plain[1].1.width(), plain[1].1.height()), (wanted.size(), 16, 16));
    for low_memory in [false, true] {
        let previewed =
            PipelineOptions { preview_taesd: Some(taesd.clone()), low_memory, ..PipelineOptions::default() };
        let (picture, shown) = draw(previewed);
        assert_eq!(shown.len(), 2);
        assert!(picture != wanted, "the preview's decoder drew the picture");
        // What the last step of this scheduler foretells is what is drawn.
        let apart = shown[1].1.pixels().iter().zip(wanted.pixels()).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(apart <= Some(1) && shown[0].1 != shown[1].1, "{apart:?}");
    }
}
