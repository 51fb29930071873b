//! Packages that Apple's converter wrote: they open, say what the golden summaries say, and survive being written.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use mlpackage::{Description, Existing, Package, write};
use testkit::Summary;

/// A package of the golden data.
struct Golden {
    path: PathBuf,
    /// The name of the summary that describes it, if there is one.
    summary: Option<String>,
}

/// Every golden package, in the order of their names.
fn packages(golden: &Path) -> Vec<Golden> {
    let mut found = Vec::new();
    let mut folders = vec![golden.join("packages")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "mlpackage") {
                found.push(Golden { summary: summary_of(golden, &path), path });
            } else if path.is_dir() {
                folders.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "no packages in {}", golden.display());
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Summaries are named CHECKPOINT.VARIANT.MODEL, as packages lie in folders and are named for what they hold.
fn summary_of(golden: &Path, package: &Path) -> Option<String> {
    let part = |up: usize| package.ancestors().nth(up)?.file_name()?.to_str();
    let (checkpoint, variant, stem) = (part(2)?, part(1)?, package.file_stem()?.to_str()?);
    let model = stem.strip_prefix(&format!("Stable_Diffusion_version_{checkpoint}_")).unwrap_or(stem);
    let name = format!("{checkpoint}.{variant}.{model}");
    golden.join("summaries").join(format!("{name}.json.gz")).is_file().then_some(name)
}

#[test]
fn apples_packages_say_what_the_summaries_say() {
    let Some(golden) = testkit::golden() else { return };
    let mut n_summaries = 0;
    for Golden { path, summary } in packages(&golden) {
        let package = path.display();
        let opened = Package::open(&path).unwrap_or_else(|e| panic!("{package}: {e}"));
        let Some(summary) = summary else { continue };
        n_summaries += 1;
        let summary = Summary::read(&golden, &summary);
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
    assert!(n_summaries > 0, "no summary in {} belongs to a package", golden.display());
}

#[test]
fn apples_packages_survive_being_written_and_read() {
    let Some(golden) = testkit::golden() else { return };
    let dir = tempfile::tempdir().unwrap();
    for (i, Golden { path, .. }) in packages(&golden).into_iter().enumerate() {
        let package = path.display();
        let model = Package::open(&path).unwrap().into_model();
        let program = model.program().unwrap();
        let valid = mil::validate(program).unwrap_or_else(|e| panic!("{package}: {e}"));
        let [a, b] = ["a", "b"].map(|name| dir.path().join(format!("{i}{name}.mlpackage")));
        let mut reports = Vec::new();
        let written = write(&a, valid, &model.description, Existing::Refuse, &mut |p| reports.push(p)).unwrap();
        assert_eq!(mlpackage::planned(valid, &model.description).unwrap(), written, "{package}");
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
    for Golden { path, .. } in packages(&golden) {
        let package = path.display();
        let model = Package::open(&path).unwrap().into_model();
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
