//! ControlNets from packages in half precision, against recorded runs of diffusers in single.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and prints its figures")]

#[allow(dead_code, reason = "shared with the test that draws every recorded run")]
#[path = "golden_pipelines/ask.rs"]
mod ask;
#[allow(dead_code, reason = "shared with the test that draws every recorded run")]
#[path = "golden_pipelines/case.rs"]
mod case;
#[path = "golden_pipelines/place.rs"]
mod place;

use std::path::{Path, PathBuf};

use case::Case;
use smelt::random::RandomSource;
use smelt::{Conversion, PipelineOptions, Role, Sizes, Source, Stop, Unwatched};

/// Least peak signal-to-noise ratio of latents that packages in half precision give, in dB.
const DECIBELS: f64 = 35.0;

/// A recorded run, its checkpoint, and packages of it.
struct Made {
    case: Case,
    checkpoint: PathBuf,
    nets: Vec<PathBuf>,
    packages: PathBuf,
}

impl Made {
    /// Converts text encoder, UNet for ControlNets, decoder and the ControlNets.
    fn new(golden: &Path, name: &str, dir: &Path) -> Self {
        let case = Case::read(&golden.join(format!("pipelines/{name}.safetensors")));
        let (checkpoint, nets) = (place::checkpoint(golden, &case, dir), place::control_nets(golden, &case));
        let conversion = Conversion {
            roles: vec![Role::TextEncoder, Role::ControlledUNet, Role::VaeDecoder],
            sizes: Sizes { size: vec!["64x64".parse().unwrap()], ..Sizes::default() },
            controlnets: nets.iter().map(Source::from).collect(),
            ..Conversion::default()
        };
        let packages = dir.join("packages");
        smelt::open(&checkpoint).unwrap().convert(&packages, &conversion, &mut Unwatched).unwrap();
        Self { case, checkpoint, nets, packages }
    }

    /// Latents with these ControlNets.
    fn draw(&self, options: &PipelineOptions) -> Vec<f32> {
        let (_, request) = ask::ask(&self.case, 0).unwrap();
        let mut pipeline = smelt::open(&self.packages).unwrap().pipeline(options).unwrap();
        let mut source: Box<dyn RandomSource> = Box::new(self.case.source(0));
        let drawing = pipeline.draw_from(&mut source, &request, &Stop::never(), &mut Unwatched).unwrap();
        drawing.pictures[0].latents.to_f32_vec()
    }

    /// The ControlNets by the names of their packages.
    fn by_name(&self) -> PipelineOptions {
        let name = |path: &PathBuf| Source::from(Path::new(path.file_name().unwrap()));
        PipelineOptions { controlnets: self.nets.iter().map(name).collect(), ..PipelineOptions::default() }
    }

    fn decibels(&self, latents: &[f32]) -> f64 {
        testkit::psnr(&self.case.tensor("out.latents").unwrap().to_f32_vec(), latents)
    }
}

#[test]
fn packages_in_half_precision_draw_what_diffusers_draws() {
    let Some(golden) = testkit::golden() else { return };
    for name in ["cn1_scale0.6", "cn1_window", "cn2"] {
        let dir = tempfile::tempdir().unwrap();
        let made = Made::new(&golden, name, dir.path());
        let latents = made.draw(&made.by_name());
        let decibels = made.decibels(&latents);
        println!("{name}: {decibels:.1} dB");
        assert!(decibels >= DECIBELS, "{name}: {decibels:.1} dB");
        let low = PipelineOptions { low_memory: true, ..made.by_name() };
        assert!(made.draw(&low) == latents, "{name}: --low-memory draws another picture");
    }
}

#[test]
fn a_controlnet_is_a_name_a_package_or_a_checkpoint() {
    let Some(golden) = testkit::golden() else { return };
    let dir = tempfile::tempdir().unwrap();
    let made = Made::new(&golden, "cn1_scale0.6", dir.path());
    let by_name = made.draw(&made.by_name());
    let package = made.packages.join("ControlNet_tiny-controlnet.mlpackage");
    for path in [&package, &made.nets[0]] {
        let options = PipelineOptions { controlnets: vec![path.into()], ..PipelineOptions::default() };
        assert!(made.draw(&options) == by_name, "{} draws another picture", path.display());
    }
    // A folder with a UNet for ControlNets and no other draws without them too; what is asked for is refused by name.
    let opened = smelt::open(&made.packages).unwrap();
    let mut plain = opened.pipeline(&PipelineOptions::default()).unwrap();
    let request = smelt::Request { steps: 1, ..smelt::Request::new("a fox") };
    assert_eq!(plain.draw(&request, &mut Unwatched).unwrap().pictures.len(), 1);
    let wanted =
        |options: &PipelineOptions, opened: &smelt::Opened| opened.pipeline(options).map(drop).unwrap_err().chain();
    let named =
        |name: &str| PipelineOptions { controlnets: vec![Source::from(Path::new(name))], ..PipelineOptions::default() };
    let error = wanted(&named("depth"), &opened);
    assert!(error.contains("--controlnet depth") && error.contains("are tiny-controlnet"), "{error}");
    let other = place::checkpoint(
        &golden,
        &Case::read(&golden.join("pipelines/sd21_zsnr_rescale.safetensors")),
        &dir.path().join("other"),
    );
    let nets = made.nets.iter().map(Source::from).collect();
    let options = PipelineOptions { controlnets: nets, ..PipelineOptions::default() };
    let error = wanted(&options, &smelt::open(&other).unwrap());
    assert!(error.contains("was made for another model") && error.contains("text 64 wide"), "{error}");
    let to = dir.path().join("plain");
    let roles = vec![Role::TextEncoder, Role::UNet, Role::VaeDecoder];
    let conversion = Conversion { roles, ..Conversion::default() };
    smelt::open(&made.checkpoint).unwrap().convert(&to, &conversion, &mut Unwatched).unwrap();
    let error = wanted(&options, &smelt::open(&to).unwrap());
    assert!(
        error.contains("holds no …_control-unet.mlpackage") && error.contains("--component control-unet"),
        "{error}"
    );
}
