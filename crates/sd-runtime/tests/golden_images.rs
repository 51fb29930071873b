//! Pictures read, resized and masked against Pillow and diffusers (golden `images/`).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::PathBuf;

use host_tensor::HostTensor;
use sd_runtime::image::{Filter, Fit, GreyImage, Mask, Region, RgbImage, Size};
use serde_json::Value;

struct Golden {
    folder: PathBuf,
    cases: Value,
    expected: BTreeMap<String, HostTensor>,
}

impl Golden {
    fn read() -> Option<Self> {
        let folder = testkit::golden()?.join("images");
        let text = std::fs::read_to_string(folder.join("images.json")).unwrap();
        let expected = testkit::load_safetensors(folder.join("expected.safetensors"));
        Some(Self { folder, cases: serde_json::from_str(&text).unwrap(), expected })
    }

    fn cases(&self, kind: &str) -> &[Value] {
        self.cases[kind].as_array().unwrap()
    }

    fn picture(&self, name: &str) -> RgbImage {
        RgbImage::read(Cursor::new(std::fs::read(self.folder.join(name)).unwrap())).unwrap()
    }

    fn bytes(&self, key: &str) -> &[u8] {
        self.expected[key].bytes()
    }

    #[track_caller]
    fn check(&self, key: &str, got: &[u8]) {
        self.check_within(key, got, 0);
    }

    #[track_caller]
    fn check_within(&self, key: &str, got: &[u8], tolerance: u8) {
        let want = self.bytes(key);
        assert_eq!(got.len(), want.len(), "{key}");
        let worst = got.iter().zip(want).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        let n = got.iter().zip(want).filter(|(a, b)| a != b).count();
        assert!(worst <= tolerance, "{key}: {n} of {} values differ, by up to {worst}", want.len());
    }
}

fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case[key].as_str().unwrap()
}

fn filter(name: &str) -> Filter {
    match name {
        "nearest" => Filter::Nearest,
        "box" => Filter::Box,
        "bilinear" => Filter::Bilinear,
        "hamming" => Filter::Hamming,
        "bicubic" => Filter::Bicubic,
        "lanczos" => Filter::Lanczos,
        other => panic!("no filter {other}"),
    }
}

fn numbers(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect()
}

fn size(case: &Value) -> Option<Size> {
    let side = |key: &str| case[key].as_u64().map(|n| n as usize);
    Some(Size { width: side("width")?, height: side("height")? })
}

#[test]
fn files_are_read_as_diffusers_reads_them() {
    let Some(golden) = Golden::read() else { return };
    for (name, case) in golden.cases["decode"].as_object().unwrap() {
        let picture = golden.picture(name);
        let key = format!("decode.{name}");
        match name.as_str() {
            // diffusers cuts these values off at 255; the whole range is kept here.
            "grey16.png" => {
                assert!(golden.bytes(&key).iter().all(|v| *v == 255));
                let values: std::collections::BTreeSet<u8> = picture.pixels().iter().copied().collect();
                assert!(values.len() > 100, "{} shades", values.len());
            }
            "mask.png" => golden.check(&key, picture.to_grey().pixels()),
            // Two values of 5760 where decoders interpolate colours differently; all others are within the tolerance.
            "rgb.jpg" => golden.check_within(&key, picture.pixels(), 5),
            _ => golden.check_within(&key, picture.pixels(), case["tol_u8"].as_u64().unwrap_or(0) as u8),
        }
        if let Some(size) = case["rgb_size"].as_array() {
            assert_eq!(
                [size[0].as_u64(), size[1].as_u64()],
                [picture.width(), picture.height()].map(|n| Some(n as u64))
            );
        }
    }
}

#[test]
fn pictures_are_resized_as_pillow_resizes_them() {
    let Some(golden) = Golden::read() else { return };
    for case in golden.cases("resize") {
        let size = numbers(&case["size"]);
        let size = Size { width: size[0], height: size[1] };
        let resized = golden.picture(text(case, "src")).resize(size, filter(text(case, "filter")));
        golden.check(text(case, "key"), resized.pixels());
    }
}

#[test]
fn pictures_fit_as_diffusers_fits_them() {
    let Some(golden) = Golden::read() else { return };
    for case in golden.cases("vae") {
        let picture = golden.picture(text(case, "src"));
        let fit = match text(case, "resize_mode") {
            "default" => Fit::Stretch,
            "fill" => Fit::Fill,
            _ => Fit::Crop,
        };
        let size = size(case).unwrap_or_else(|| picture.size().cut_to_multiple(8));
        let fitted = picture.fit(size, fit, filter(text(case, "resample")));
        golden.check(text(case, "key"), fitted.pixels());
    }
}

#[test]
fn masks_are_made_as_diffusers_makes_them() {
    let Some(golden) = Golden::read() else { return };
    let bytes = |plane: Vec<f32>| plane.into_iter().map(|x| x as u8).collect::<Vec<_>>();
    for case in golden.cases("mask") {
        let key = text(case, "key");
        let mask = Mask::from_picture(&golden.picture(text(case, "src")), size(case).unwrap());
        golden.check(key, &bytes(mask.to_plane()));
        golden.check(&format!("{key}.latent"), &bytes(mask.to_latent_plane(8)));
    }
    golden.check("mask.grey_of_rgb", golden.picture("mask_rgb.png").to_grey().pixels());
}

#[test]
fn blurs_are_pillows() {
    let Some(golden) = Golden::read() else { return };
    for case in golden.cases("blur") {
        let (key, deviation) = (text(case, "key"), case["factor"].as_f64().unwrap() as f32);
        golden.check(key, golden.picture("mask.png").to_grey().blur(deviation).pixels());
        let corner = Region { left: 0, top: 0, right: 32, bottom: 32 };
        golden.check(&format!("{key}.rgb"), golden.picture("big.png").blur(deviation).crop(corner).pixels());
    }
}

#[test]
fn regions_around_masks_are_diffusers() {
    let Some(golden) = Golden::read() else { return };
    for case in golden.cases("crop_region") {
        let (rect, image) = (numbers(&case["mask_box"]), numbers(&case["image"]));
        let image = Size { width: image[0], height: image[1] };
        let inside = |i: usize| {
            let (x, y) = (i % image.width, i / image.width);
            (rect[0]..rect[2]).contains(&x) && (rect[1]..rect[3]).contains(&y)
        };
        let pixels = (0..image.n_pixels()).map(|i| if inside(i) { 255 } else { 0 }).collect();
        let mask = GreyImage::new(image, pixels).unwrap();
        let region = mask.crop_region(size(case).unwrap(), case["pad"].as_u64().unwrap() as usize).unwrap();
        let got = [region.left, region.top, region.right, region.bottom];
        assert_eq!(got.to_vec(), numbers(&case["region"]), "{case}");
    }
}

#[test]
fn planes_become_bytes_as_in_diffusers() {
    let Some(golden) = Golden::read() else { return };
    let values = golden.expected["post.in"].to_f32_vec();
    let planes = [values.as_slice(); 3].concat();
    let picture = RgbImage::from_planes(values.len(), 1, &planes).unwrap();
    golden.check("post.u8", &picture.pixels().iter().copied().step_by(3).collect::<Vec<_>>());
}
