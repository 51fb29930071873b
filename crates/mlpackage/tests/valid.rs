//! Packages that Apple's converter wrote hold valid programs.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use mlpackage::Package;
use std::path::{Path, PathBuf};

#[test]
fn every_golden_package_holds_valid_programs() {
    let Some(golden) = testkit::golden() else { return };
    let packages = packages_below(&golden.join("packages"));
    assert!(!packages.is_empty(), "no packages in {}", golden.display());
    for path in packages {
        let package = Package::open(&path).unwrap();
        for program in package.model().programs() {
            if let Err(faults) = mil::validate(program) {
                panic!("{}:\n{faults}", path.display());
            }
        }
    }
}

fn packages_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "mlpackage") {
            found.push(path);
        } else if path.is_dir() {
            found.extend(packages_below(&path));
        }
    }
    found
}
