//! The examples, run with the model in the box and with small golden checkpoints: each writes a picture of its model's size.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "the examples' `main`s, and parts of what is shared, are for others")]

#[path = "golden_pipelines/ask.rs"]
mod ask;
#[path = "golden_pipelines/case.rs"]
mod case;
#[path = "../examples/controlnet.rs"]
mod controlnet;
#[path = "../examples/edit.rs"]
mod edit;
#[path = "../examples/few_steps.rs"]
mod few_steps;
#[path = "../examples/image_to_image.rs"]
mod image_to_image;
#[path = "../examples/inpaint.rs"]
mod inpaint;
#[path = "../examples/outpaint.rs"]
mod outpaint;
#[path = "golden_pipelines/place.rs"]
mod place;
#[path = "../examples/sd3.rs"]
mod sd3;
#[path = "../examples/text_to_image.rs"]
mod text_to_image;
#[path = "../examples/xl_with_refiner.rs"]
mod xl_with_refiner;

use std::path::{Path, PathBuf};

use smelt::image::RgbImage;
use smelt::{HostTensor, Unwatched, tensor_file};

const PROMPT: &str = "a red heart";

#[track_caller]
fn check(path: &Path, size: (usize, usize)) -> RgbImage {
    let picture = RgbImage::read(std::io::BufReader::new(std::fs::File::open(path).unwrap())).unwrap();
    assert_eq!((picture.width(), picture.height()), size);
    let first = &picture.pixels()[..3];
    assert!(picture.pixels().chunks(3).any(|pixel| pixel != first), "{} is one colour", path.display());
    picture
}

/// A grey picture with a white left half, as a mask.
fn half_white(path: &Path, side: usize) {
    let bytes = (0..side * side).flat_map(|i| [if i % side < side / 2 { 255 } else { 0 }; 3]).collect();
    let file = std::fs::File::create(path).unwrap();
    RgbImage::new(side, side, bytes).unwrap().write_png(file, &[]).unwrap();
}

#[test]
fn pictures_are_drawn_from_words_and_from_pictures() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let (demo, first) = (testkit::demo(), at("first.png"));
    text_to_image::draw(&demo, PROMPT, &first).unwrap();
    let own = check(&first, (128, 128));
    image_to_image::draw(&demo, &first, "a blue heart", &at("second.png")).unwrap();
    check(&at("second.png"), (128, 128));
    half_white(&at("mask.png"), 128);
    inpaint::draw(&demo, [&first, &at("mask.png")], "a rocket", &at("third.png")).unwrap();
    let third = check(&at("third.png"), (128, 128));
    let right =
        |picture: &RgbImage| picture.pixels().chunks(3 * 128).map(|row| row[3 * 80..].to_vec()).collect::<Vec<_>>();
    assert_eq!(right(&third), right(&own), "what is black in the mask stays");
    outpaint::draw(&demo, &first, PROMPT, &at("fourth.png")).unwrap();
    check(&at("fourth.png"), (192, 128));
}

/// The model in the box with twice as many channels, as models have them that edit pictures.
fn editing(folder: PathBuf) -> PathBuf {
    copy(&testkit::demo(), &folder);
    let weights = folder.join("unet/diffusion_pytorch_model.safetensors");
    let mut tensors = testkit::load_safetensors(&weights);
    let first = &tensors["conv_in.weight"];
    let [o, i, height, width] = *first.shape() else { panic!("{:?}", first.shape()) };
    let row = i * height * width;
    let values: Vec<f32> = first.to_f32_vec().chunks(row).flat_map(|own| [own, own].concat()).collect();
    tensors.insert("conv_in.weight".to_owned(), HostTensor::from_f32([o, 2 * i, height, width], values));
    std::fs::remove_file(&weights).unwrap();
    let mut outputs = safe_files::Outputs::new();
    tensor_file::write(&outputs.file("the UNet", &weights).unwrap(), &tensors, &mut Unwatched).unwrap();
    let config = folder.join("unet/config.json");
    let mut json: serde_json::Value = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
    json["in_channels"] = (2 * i).into();
    std::fs::write(config, json.to_string()).unwrap();
    folder
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &to) } else { std::fs::write(to, std::fs::read(path).unwrap()).unwrap() }
    }
}

#[test]
fn a_picture_is_edited_by_instruction() {
    let dir = tempfile::tempdir().unwrap();
    half_white(&dir.path().join("photo.png"), 128);
    let model = editing(dir.path().join("edit"));
    edit::draw(&model, &dir.path().join("photo.png"), "make it red", &dir.path().join("out.png")).unwrap();
    check(&dir.path().join("out.png"), (128, 128));
}

#[test]
fn every_other_kind_of_model_draws() {
    let Some(golden) = testkit::golden() else { return };
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let model = |name: &str| {
        let case = case::Case::read(&golden.join(format!("pipelines/{name}.safetensors")));
        (place::checkpoint(&golden, &case, &at(name)), place::control_nets(&golden, &case))
    };
    half_white(&at("photo.png"), 96);
    let (guided, nets) = model("cn1_scale0.6");
    controlnet::draw([&guided, &nets[0]], &at("photo.png"), PROMPT, &at("guided.png")).unwrap();
    let (xl, refiner) = (model("sdxl_no_negative").0, model("sdxl_refiner_from_0.7").0);
    xl_with_refiner::draw([&xl, &refiner], PROMPT, &at("xl.png")).unwrap();
    sd3::draw(&model("tiny-sd3_flow5").0, PROMPT, &at("sd3.png")).unwrap();
    few_steps::draw(&model("tiny-lcm_4").0, None, PROMPT, &at("lcm.png")).unwrap();
    for name in ["guided.png", "xl.png", "sd3.png", "lcm.png"] {
        let picture = std::fs::File::open(at(name)).unwrap();
        let picture = RgbImage::read(std::io::BufReader::new(picture)).unwrap();
        check(&at(name), (picture.width(), picture.height()));
    }
}
