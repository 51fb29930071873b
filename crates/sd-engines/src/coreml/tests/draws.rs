//! A whole picture by way of this engine: packages, compiled models, padded arrays, models that live for their stage.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use mlpackage::{Existing, Package};
use sd_convert::{Checkpoint, Options, Precision, Role, convert};
use sd_runtime::pipeline::{DiffusionPipeline, GenerateOptions, PipelineConfig};
use sd_runtime::{Engine, EngineError, LoadWith, Part, Residency, Stop};
use testkit::demo;

use super::fake::Fake;
use crate::coreml::{CoreMlOptions, Driven};
use crate::{CpuOptions, MilEngine};

const ROLES: [Role; 3] = [Role::TextEncoder, Role::UNet, Role::VaeDecoder];

fn package(dir: &Path, role: Role) -> PathBuf {
    dir.join(format!("{}.mlpackage", role.spec().package.apple))
}

/// The bytes of a picture that engines draw which are loaded so, and again.
fn draw(residency: Residency, mut load: impl FnMut(Role) -> Box<dyn Engine> + Send + 'static) -> [Vec<u8>; 2] {
    let load = move |part: Part| -> Result<Box<dyn Engine>, EngineError> { Ok(load(part.role)) };
    let config = PipelineConfig::from_dir(&demo()).unwrap();
    let loader = Box::new(LoadWith::new(ROLES, load));
    let mut pipeline = DiffusionPipeline::with_loader(loader, residency, config).unwrap();
    let options =
        GenerateOptions { steps: 2, seed: 3_u32.into(), guidance_scale: 4.0, ..GenerateOptions::new("a red heart") };
    [(); 2].map(|()| {
        let run = pipeline.generate(&options, &Stop::never(), &mut |_| ControlFlow::Continue(())).unwrap();
        run.images[0].image.pixels().to_vec()
    })
}

#[test]
fn a_picture_is_that_of_the_engine_for_this_cpu_and_each_model_is_compiled_once() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint::open(demo()).unwrap();
    let float32 = Options { precision: Some(Precision::Float32), ..Options::default() };
    for role in ROLES {
        let path = package(dir.path(), role);
        convert(&checkpoint, role, &float32).unwrap().write(&path, Existing::Refuse, &mut |_| {}).unwrap();
    }
    let place = dir.path().to_owned();
    let ours = draw(Residency::Kept, move |role| {
        Box::new(MilEngine::open(package(&place, role), CpuOptions::default()).unwrap())
    });
    let fake = Fake::default();
    for residency in [Residency::Kept, Residency::PerStage] {
        let (place, runtime) = (dir.path().to_owned(), fake.clone());
        let cache = Some(place.join("cache"));
        let theirs = draw(residency, move |role| {
            let path = package(&place, role);
            let options = CoreMlOptions { cache: cache.clone(), ..CoreMlOptions::default() };
            let opened = Package::open(&path).unwrap();
            Box::new(Driven::open(runtime.clone(), &path, opened.model(), options).unwrap())
        });
        assert!(theirs == ours, "{residency:?}: the pictures differ");
    }
    let counts = fake.counts();
    assert_eq!((counts.compiled, counts.alive), (ROLES.len(), 0));
    assert!(counts.loads > 2 * ROLES.len(), "stages load their models anew");
}
