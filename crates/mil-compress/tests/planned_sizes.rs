//! Sizes of packages that are not there yet, against those of the packages that are written then.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ops::ControlFlow;
use std::path::Path;

use mil::{HostTensor, validate};
use mil_compress::{Config, Named, Plan, Scheme, Store, compress};
use mlpackage::{Existing, Package, PackageWriter, SealedPackage, planned_after};

/// Keeps tensors in a package.
enum Packaged {
    Open(PackageWriter),
    Sealed(SealedPackage),
    Taken,
}

impl Store for Packaged {
    type Error = mlpackage::Error;

    fn put(&mut self, tensor: HostTensor) -> Result<(), mlpackage::Error> {
        let Self::Open(writer) = self else { panic!("nothing is put after it is sealed") };
        writer.store(&tensor)
    }

    fn take(&mut self) -> Result<Vec<HostTensor>, mlpackage::Error> {
        let Self::Open(writer) = std::mem::replace(self, Self::Taken) else { panic!("it is sealed once") };
        let (sealed, tensors) = writer.seal()?;
        *self = Self::Sealed(sealed);
        Ok(tensors)
    }
}

/// Bytes of all files below a path.
fn bytes_of(path: &Path) -> u64 {
    if path.is_file() {
        return std::fs::metadata(path).unwrap().len();
    }
    std::fs::read_dir(path).unwrap().map(|entry| bytes_of(&entry.unwrap().path())).sum()
}

/// Plans weights by each of these schemes in turn, and compares what is written with what was planned.
fn check(package: &Path, schemes: &[&str]) {
    let package = Package::open(package).unwrap();
    let (program, description) = (package.model().program().unwrap(), &package.model().description);
    let config = Config { raise_opset: true, ..Config::palettes(8) };
    let all = Plan::new(program, &config).unwrap();
    let scheme = |i: usize| schemes[i % schemes.len()].parse::<Named>().unwrap().scheme();
    let suits = |i: usize| if all.tensors(program, i, &scheme(i)).is_some() { scheme(i) } else { Scheme::Keep };
    let chosen: Vec<Scheme> = (0..all.len()).map(suits).collect();
    let plan = all.with_schemes(program, &config, &chosen).unwrap();
    let (outline, stored) = plan.outline(program).unwrap();
    let planned = planned_after(validate(&outline).unwrap(), description, &stored).unwrap();

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.mlpackage");
    let mut store = Packaged::Open(PackageWriter::create(&path, Existing::Refuse).unwrap());
    let go_on = &mut |_: mil_compress::Progress| ControlFlow::Continue(());
    let (compressed, _) = compress(program, &plan, &mut store, false, go_on).unwrap();
    let Packaged::Sealed(sealed) = store else { panic!("it is sealed") };
    let go_on = &mut |_: mlpackage::Progress| ControlFlow::Continue(());
    let written = sealed.finish(validate(&compressed).unwrap(), description, go_on).unwrap();
    let there = bytes_of(&path);
    assert!(
        planned >= there && planned - there <= there / 100,
        "{planned} and {there}: {schemes:?}, of which {written:?}"
    );
    // Zero points are equal where weights have as many channels, and lie once.
    let is_exact = !schemes.contains(&"int8");
    assert!(planned == there || !is_exact, "{planned} and {there}: {schemes:?}, of which {written:?}");
}

#[test]
fn sizes_of_packages_are_known_to_the_byte() {
    let Some(golden) = testkit::golden() else { return };
    for folder in ["original", "split_einsum"] {
        let unet = golden.join("packages/tiny-sd15").join(folder);
        let found = std::fs::read_dir(unet).unwrap().map(|entry| entry.unwrap().path());
        for package in found.filter(|path| path.extension().is_some_and(|e| e == "mlpackage")) {
            for schemes in
                [&["4"][..], &["keep", "2"], &["keep", "6", "8", "keep", "int8"], &["4g16", "1", "keep", "4s"]]
            {
                check(&package, schemes);
            }
        }
    }
}
