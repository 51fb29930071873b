//! What mixed bits gain on the model in the box: over one width for all weights, over the assignment that Apple's mixed-bit
//! analysis makes, and with calibrated codes. One JSON object on standard output.
//!
//! `cargo bench -p smelt-benches --bench quality -- FOLDER`; `cargo xtask bench quality` does it and keeps the result.

mod ground;
mod reference;

use std::{collections::BTreeMap, path::Path};

use ground::{Ground, Pictures};
use mil_compress::Config;
use reference::Reference;
use smelt::{CalibratedBy, Choosing, Compression, Goal};

type Error = Box<dyn std::error::Error>;
type Result<T> = std::result::Result<T, Error>;

#[allow(clippy::print_stdout, reason = "the result is the output")]
fn main() -> Result<()> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let [folder] = &arguments[..] else {
        // `cargo bench` without arguments runs every suite; this one has nowhere to write then.
        println!("quality: needs FOLDER; nothing measured");
        return Ok(());
    };
    println!("{}", serde_json::to_string(&measure(Path::new(folder))?)?);
    Ok(())
}

/// Pictures of every way to store the UNet, by name.
fn measure(folder: &Path) -> Result<BTreeMap<&'static str, Pictures>> {
    let ground = Ground::new(folder)?;
    let reference = Reference::measure(&ground)?.below(4.0)?;
    // As many bytes as the reference's has; the half bit is for rounding.
    let as_reference = (reference.bytes as f64 * 8.0 + 0.5) / ground.n_elements()? as f64;
    let its_widths = |choosing: Choosing| -> Result<Choosing> {
        let schemes = reference::WIDTHS.iter().map(|width| Ok(width.parse()?)).collect::<Result<_>>()?;
        Ok(Choosing { schemes, ..choosing })
    };
    let uniform = |bits: u8| Compression::new(Config::palettes(bits));
    let of = |choosing: Choosing| Compression { choosing: Some(choosing), ..Compression::new(Config::default()) };
    let mean = |bits: f64| Choosing {
        goal: Goal::MeanBits(bits),
        schemes: Vec::new(),
        analysis: Some(ground.analysis.clone()),
    };
    let calibrated = |compression: Compression| {
        let by = CalibratedBy { file: ground.samples.clone(), samples: None };
        Compression { calibration: Some(by), ..compression }
    };
    let ways = [
        ("uniform_4", uniform(4)),
        ("uniform_4_calibrated", calibrated(uniform(4))),
        ("mean_4_by_weights", of(Choosing { analysis: None, ..mean(4.0) })),
        ("mean_4", of(mean(4.0))),
        ("mean_4_calibrated", calibrated(of(mean(4.0)))),
        ("reference", Compression::new(reference.config)),
        ("mean_at_reference", of(mean(as_reference))),
        ("its_widths_at_reference", of(its_widths(mean(as_reference))?)),
        ("uniform_2", uniform(2)),
        ("mean_2_5", of(mean(2.5))),
    ];
    ways.into_iter().map(|(name, way)| Ok((name, ground.pictures(name, way)?))).collect()
}
