//! Packages that Apple's converter wrote: they open, say what the golden summaries say, and survive being written.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use mlpackage::{Description, Existing, Package, write};
use testkit::Summary;

/// Package, and the summary that describes it, if there is one.
const PACKAGES: [(&str, &str); 17] = [
    ("tiny-sd15/controlnet/ControlNet_tiny-controlnet", "tiny-sd15.controlnet.ControlNet_tiny-controlnet"),
    ("tiny-sd15/controlnet/Stable_Diffusion_version_tiny-sd15_control-unet", "tiny-sd15.controlnet.control-unet"),
    ("tiny-sd15/ios18_q4/Stable_Diffusion_version_tiny-sd15_unet", "tiny-sd15.ios18_q4.unet"),
    ("tiny-sd15/macos14/Stable_Diffusion_version_tiny-sd15_text_encoder", "tiny-sd15.macos14.text_encoder"),
    ("tiny-sd15/original/Stable_Diffusion_version_tiny-sd15_unet", "tiny-sd15.original.unet"),
    ("tiny-sd15/q2/Stable_Diffusion_version_tiny-sd15_unet", "tiny-sd15.q2.unet"),
    ("tiny-sd15/q4/Stable_Diffusion_version_tiny-sd15_unet", "tiny-sd15.q4.unet"),
    ("tiny-sd15/q6/Stable_Diffusion_version_tiny-sd15_unet", "tiny-sd15.q6.unet"),
    ("tiny-sd15/q6_then_chunk/Stable_Diffusion_version_tiny-sd15_unet_chunk1", ""),
    ("tiny-sd15/q6_then_chunk/Stable_Diffusion_version_tiny-sd15_unet_chunk2", ""),
    (
        "tiny-sd15/split_einsum/Stable_Diffusion_version_tiny-sd15_safety_checker",
        "tiny-sd15.split_einsum.safety_checker",
    ),
    ("tiny-sd15/split_einsum/Stable_Diffusion_version_tiny-sd15_text_encoder", "tiny-sd15.split_einsum.text_encoder"),
    ("tiny-sd15/split_einsum/Stable_Diffusion_version_tiny-sd15_unet", "tiny-sd15.split_einsum.unet"),
    ("tiny-sd15/split_einsum/Stable_Diffusion_version_tiny-sd15_vae_decoder", "tiny-sd15.split_einsum.vae_decoder"),
    ("tiny-sd15/split_einsum/Stable_Diffusion_version_tiny-sd15_vae_encoder", "tiny-sd15.split_einsum.vae_encoder"),
    ("tiny-sd21/split_einsum/Stable_Diffusion_version_tiny-sd21_unet", "tiny-sd21.split_einsum.unet"),
    ("tiny-sdxl/split_einsum/Stable_Diffusion_version_tiny-sdxl_vae_decoder", "tiny-sdxl.split_einsum.vae_decoder"),
];

fn path_of(golden: &Path, package: &str) -> PathBuf {
    golden.join("packages").join(format!("{package}.mlpackage"))
}

#[test]
fn apples_packages_say_what_the_summaries_say() {
    let Some(golden) = testkit::golden() else { return };
    for (package, summary) in PACKAGES {
        let opened = Package::open(path_of(&golden, package)).unwrap_or_else(|e| panic!("{package}: {e}"));
        if summary.is_empty() {
            continue;
        }
        let summary = Summary::read(&golden, summary);
        let model = opened.model();
        assert_eq!(model.specification_version as u64, summary.specification_version, "{package}");
        let main = model.program().and_then(|p| p.main()).unwrap();
        assert_eq!(main.opset.name(), summary.opset);
        let mut kinds = Vec::new();
        main.body.for_each_op(&mut |op| kinds.push((op.kind.to_string(), main.name_of(op.output()).to_owned())));
        let theirs: Vec<_> = summary
            .ops
            .iter()
            .filter(|op| op.kind != "const")
            .map(|op| (op.kind.clone(), op.outputs[0].name.clone()))
            .collect();
        assert_eq!(kinds, theirs, "{package}");
        let interface = model.description.main().unwrap();
        let names = |features: &[mlpackage::Feature]| features.iter().map(|f| f.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&interface.inputs), summary.inputs.iter().map(|f| f.name.clone()).collect::<Vec<_>>());
        assert_eq!(names(&interface.outputs), summary.outputs.iter().map(|f| f.name.clone()).collect::<Vec<_>>());
        let user = summary.json["metadata"]["userDefined"].as_object().unwrap();
        assert_eq!(model.description.metadata.user_defined.len(), user.len(), "{package}");
        // A summary and its package may come from runs on different days.
        for (key, value) in user.iter().filter(|(key, _)| !key.ends_with("conversion_date")) {
            assert_eq!(model.description.metadata.user_defined.get(key).map(String::as_str), value.as_str());
        }
        let [file] = opened.weight_files().values().collect::<Vec<_>>()[..] else { panic!("{package}") };
        assert_eq!(file.n_bytes(), summary.json["weight_bin_bytes"].as_u64().unwrap());
        assert_eq!(file.offsets().filter(Result::is_ok).count(), file.count() as usize);
    }
}

#[test]
fn apples_packages_survive_being_written_and_read() {
    let Some(golden) = testkit::golden() else { return };
    let dir = tempfile::tempdir().unwrap();
    for (i, (package, _)) in PACKAGES.into_iter().enumerate() {
        let model = Package::open(path_of(&golden, package)).unwrap().into_model();
        let program = model.program().unwrap();
        let valid = mil::validate(program).unwrap_or_else(|e| panic!("{package}: {e}"));
        let [a, b] = ["a", "b"].map(|name| dir.path().join(format!("{i}{name}.mlpackage")));
        let mut reports = Vec::new();
        let written = write(&a, valid, &model.description, Existing::Refuse, &mut |p| reports.push(p)).unwrap();
        let last = reports.last().unwrap();
        assert_eq!(last.written_bytes, last.total_bytes);
        assert!(written.weight_bytes > last.total_bytes && written.n_blobs > 0);
        let again = Package::open(&a).unwrap();
        assert_eq!(again.model_bytes(), written.model_bytes);
        assert!(*again.model() == model, "{package}");
        // And a second time: the same bytes.
        write(&b, valid, &model.description, Existing::Refuse, &mut |_| {}).unwrap();
        for file in ["Manifest.json", "Data/com.apple.CoreML/model.mlmodel", "Data/com.apple.CoreML/weights/weight.bin"]
        {
            assert!(std::fs::read(a.join(file)).unwrap() == std::fs::read(b.join(file)).unwrap(), "{package}: {file}");
        }
    }
}

#[test]
fn the_description_that_follows_from_a_program_is_apples_without_the_words() {
    let Some(golden) = testkit::golden() else { return };
    for (package, _) in PACKAGES {
        let model = Package::open(path_of(&golden, package)).unwrap().into_model();
        let mut apples = model.description.clone();
        for interface in &mut apples.functions {
            for feature in interface.inputs.iter_mut().chain(&mut interface.outputs) {
                feature.description.clear();
            }
        }
        let mut ours = Description::of(model.program().unwrap());
        ours.metadata.clone_from(&apples.metadata);
        for (ours, apples) in ours.functions.iter_mut().zip(&apples.functions) {
            // Apple leaves out the shapes of outputs with unknown dimensions, as we do, and orders features freely.
            let order = |f: &mlpackage::Feature| apples.outputs.iter().position(|g| g.name == f.name);
            ours.outputs.sort_by_key(order);
        }
        assert_eq!(ours, apples, "{package}");
    }
}
