//! Packages that are made of a UNet: in every encoding of weights, in parts, for several sizes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Result;
use mlpackage::Package;

use crate::{python::succeed, smelt};

/// Encodings that iOS 16 has.
const OLD: [(&str, &str); 11] = [
    ("kmeans1", "--bits 1"),
    ("kmeans2", "--bits 2"),
    ("kmeans4", "--bits 4"),
    ("kmeans6", "--bits 6"),
    ("kmeans8", "--bits 8"),
    ("uniform4", "--mode uniform --bits 4"),
    ("int8", "--dtype int8"),
    ("uint8-linear", "--dtype uint8 --mode linear"),
    ("int8-tensor", "--dtype int8 --granularity tensor"),
    ("sparse", "--sparsity 0.5"),
    ("n-of-m", "--n-of-m 2:4"),
];

/// Encodings that only iOS 18 has, and those of iOS 16 in its form.
const NEW: [(&str, &str); 15] = [
    ("kmeans1", "--bits 1"),
    ("kmeans2", "--bits 2"),
    ("kmeans3", "--bits 3"),
    ("kmeans4", "--bits 4"),
    ("kmeans6", "--bits 6"),
    ("kmeans8", "--bits 8"),
    ("groups", "--bits 4 --group-size 16"),
    ("groups-axis1", "--bits 4 --group-size 4 --axis 1 --only conv"),
    ("vectors", "--bits 4 --cluster-dim 2"),
    ("scaled", "--bits 6 --per-channel-scale"),
    ("int8", "--dtype int8"),
    ("int4-blocks", "--dtype int4 --block-size 32"),
    ("uint4-linear", "--dtype uint4 --mode linear"),
    ("sparse-kmeans4", "--sparsity 0.5 --bits 4"),
    ("sparse-int8", "--sparsity 0.5 --dtype int8"),
];

/// True for packages with a function for each of several sizes.
pub(super) fn has_functions(package: &Path) -> Result<bool> {
    let package = Package::open(package)?;
    Ok(package.model().programs().iter().any(|program| program.functions.len() > 1))
}

/// Makes them of a checkpoint's UNet, each in a folder of its own.
pub(super) fn all(binary: &Path, checkpoint: &Path, place: &Path) -> Result<Vec<PathBuf>> {
    let maker = Maker { binary, checkpoint, place };
    let sources = place.join("sources");
    let (old, new) = (maker.convert(&sources.join("13"), "")?, maker.convert(&sources.join("15"), "--target macOS15")?);
    let single = maker.convert(&sources.join("f32"), "--precision float32")?;
    let mut made = Vec::new();
    for (system, source, encodings) in [("13", &old[0], &OLD[..]), ("15", &new[0], &NEW[..])] {
        for (name, options) in encodings {
            made.extend(maker.from(source, "compress", &format!("{name}-{system}"), options)?);
        }
    }
    let few = place.join("kmeans4-13/unet.mlpackage");
    made.extend(maker.from(&few, "compress", "unique", "--mode unique --recompress")?);
    made.extend(maker.from(&single[0], "compress", "half", "--mode half")?);
    made.extend(maker.from(&old[0], "chunk", "parts", "-n 3")?);
    made.extend(maker.from(&few, "chunk", "parts-of-kmeans4", "-n 2")?);
    made.extend(maker.from(&old[0], "chunk", "pipeline", "-n 2 --pipeline")?);
    for (name, options) in
        [("sizes-13", ""), ("sizes-15", "--target macOS15"), ("sizes-kmeans4", "--target macOS15 --quantize-nbits 4")]
    {
        made.extend(maker.convert(&place.join(name), &format!("--latent-size 16x16,24x16,16x24 {options}"))?);
    }
    Ok(made)
}

struct Maker<'a> {
    binary: &'a Path,
    checkpoint: &'a Path,
    place: &'a Path,
}

impl Maker<'_> {
    fn convert(&self, output: &Path, options: &str) -> Result<Vec<PathBuf>> {
        fs::create_dir_all(output)?;
        let mut command = smelt::convert(self.binary, self.checkpoint, output);
        succeed(command.args(["--component", "unet"]).args(options.split_whitespace()).stdout(Stdio::null()))?;
        super::packages_in(output)
    }

    /// What a command makes of one package.
    fn from(&self, package: &Path, command: &str, name: &str, options: &str) -> Result<Vec<PathBuf>> {
        let folder = self.place.join(name);
        fs::create_dir_all(&folder)?;
        let output = if command == "compress" { folder.join("unet.mlpackage") } else { folder.clone() };
        let mut process = Command::new(self.binary);
        process.arg(command).arg(package).arg("-o").arg(output).args(options.split_whitespace());
        succeed(process.stdout(Stdio::null()))?;
        super::packages_in(&folder)
    }
}
