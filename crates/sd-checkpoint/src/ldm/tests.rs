//! The rules against tables that were read off diffusers' converters: every key of the real files.

mod known;

use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use sd_models::NetworkConfig;
use sd_spec::Role;
use serde::Deserialize;

use super::names::{How, Names, Origin};
use super::unet;

/// A row of a layout: a tensor of diffusers' and what it is made of.
#[derive(Debug, Deserialize)]
struct Row {
    ldm: String,
    component: String,
    key: String,
    transform: String,
}

#[derive(Debug, Deserialize)]
struct Layout {
    rows: Vec<Row>,
}

fn layout(golden: &Path, family: &str) -> Layout {
    let path = golden.join(format!("single-file/layouts/{family}.json.gz"));
    let mut json = String::new();
    GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut json).unwrap();
    serde_json::from_str(&json).unwrap()
}

fn names_of(role: Role, config: &str) -> Names {
    match NetworkConfig::read(role, config.as_bytes()).unwrap() {
        NetworkConfig::UNet(config) => unet::unet(&config),
        NetworkConfig::ControlNet(config) => unet::control_net(&config),
        other => panic!("no names for {other:?}"),
    }
}

#[test]
fn every_key_of_a_unet_and_a_control_net_has_its_place_in_the_file() {
    let Some(golden) = testkit::golden() else { return };
    for (family, component, prefix, role, config) in [
        ("sd15", "unet", "model.diffusion_model.", Role::UNet, known::SD15_UNET),
        ("sd21", "unet", "model.diffusion_model.", Role::UNet, known::SD21_UNET),
        ("sdxl-base", "unet", "model.diffusion_model.", Role::UNet, known::SDXL_UNET),
        ("sdxl-refiner", "unet", "model.diffusion_model.", Role::UNet, known::REFINER_UNET),
        ("controlnet-sd15", "controlnet", "control_model.", Role::ControlNet, known::SD15_CONTROL_NET),
    ] {
        let names = names_of(role, config);
        let rows = layout(&golden, family).rows;
        let mut n = 0;
        for row in rows.iter().filter(|row| row.component == component) {
            let file = row.ldm.strip_prefix(prefix).unwrap();
            let expected = Some(Origin { key: file.to_owned(), how: How::Same });
            assert_eq!((names.origin(&row.key), &*row.transform), (expected, "same"), "{family}: {}", row.key);
            assert_eq!(names.diffusers(file).as_ref(), Some(&row.key), "{family}");
            n += 1;
        }
        assert!(n > 300, "{family}: {n} rows");
    }
}
