//! A second, larger pass as it is typed.

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use smelt::{Enlarge, Hires, HiresSize};

/// A second, larger pass.
#[derive(Debug, Args)]
pub(crate) struct HiresArgs {
    /// Draw a second, larger pass: enlarge what was drawn, so many times (2, 1.5) or to a size, and denoise it again there.
    /// A checkpoint draws at any size, packages at those that they have.
    #[arg(long, value_name = "FACTOR|WIDTHxHEIGHT")]
    hires: Option<HiresSize>,
    /// How what was drawn is enlarged; default: latent.
    #[arg(long, value_name = "HOW", requires = "hires", value_parser = ways())]
    hires_by: Option<Enlarge>,
    /// How much of it may change: the share of the steps that are taken again, above 0 to 1; default: 0.7.
    #[arg(long, value_name = "X", requires = "hires", allow_hyphen_values = true)]
    hires_strength: Option<f64>,
    /// Denoising steps of the second pass, of which its strength takes a share; default: as many as the first has.
    #[arg(long, value_name = "N", requires = "hires")]
    hires_steps: Option<usize>,
}

impl HiresArgs {
    /// What is typed, or what was asked for before.
    pub(crate) fn over(&self, before: Option<Hires>) -> Option<Hires> {
        let Some(size) = self.hires else { return before };
        let usual = before.unwrap_or(Hires::new(size));
        Some(Hires {
            size,
            by: self.hires_by.unwrap_or(usual.by),
            strength: self.hires_strength.unwrap_or(usual.strength),
            steps: self.hires_steps.or(usual.steps),
        })
    }
}

fn ways() -> impl TypedValueParser<Value = Enlarge> {
    let value = |(name, summary): (&'static str, &'static str)| PossibleValue::new(name).help(summary);
    PossibleValuesParser::new(Enlarge::all().map(value)).try_map(|name| name.parse::<Enlarge>())
}
