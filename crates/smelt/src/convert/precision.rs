//! In which precision a component is converted, and what the user should know of its numbers.
//!
//! An autoencoder that leaves half precision is converted in full precision unless half was asked for by name. That is
//! decided once for all packages of a component, so that packages for several sizes can share their weights.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use sd_convert::half::Found;
use sd_convert::{Converted, Exceptional, HalfCheck, OnOverflow, Options, Precision, Role, Target};

use super::items::Item;
use super::options::Conversion;
use crate::error::Result;
use crate::half_precision::{Overflow, cure};
use crate::open::Opened;
use crate::units::count;
use crate::watch::{self, Watch};

/// Tensors that a warning names; the others are counted.
const NAMED_TENSORS: usize = 5;

/// What is known from the packages that were made before.
pub(super) struct Makers {
    /// What was typed.
    asked: Option<Precision>,
    checked: BTreeMap<(Role, String), Precision>,
}

/// A converted component, and what was found on the way.
pub(super) struct Made {
    pub(super) converted: Converted,
    precision: Precision,
    asked: Option<Precision>,
    check: Option<HalfCheck>,
    is_known_to_leave_half: bool,
    /// Whether this is the component's first package, which warnings are about.
    is_first: bool,
}

impl Makers {
    pub(super) fn new(asked: Option<Precision>) -> Self {
        Self { asked, checked: BTreeMap::new() }
    }

    /// Converts an item; nothing is written.
    pub(super) fn make(&mut self, item: &Item, options: &Options) -> Result<Made> {
        let mut options = item.options(options);
        let network = (item.role, item.version.clone());
        let known = self.checked.get(&network).copied();
        options.precision = known.or(self.asked);
        let on_overflow = match (known, self.asked) {
            (Some(_), _) => OnOverflow::Ignore,
            (None, Some(_)) => OnOverflow::Tell,
            (None, None) => OnOverflow::UseFloat32,
        };
        let made = sd_convert::convert_checked(&item.checkpoint, item.role, &options, &item.shapes, on_overflow)?;
        self.checked.insert(network, made.precision);
        let Found { converted, precision, check, is_known_to_leave_half, .. } = made;
        let (asked, is_first) = (self.asked, known.is_none());
        Ok(Made { converted, precision, asked, check, is_known_to_leave_half, is_first })
    }
}

impl Made {
    pub(super) const fn precision(&self) -> &'static str {
        match self.precision {
            Precision::Float16 => "float16",
            Precision::Float32 => "float32",
        }
    }

    pub(super) fn check_time(&self) -> Duration {
        self.check.as_ref().map_or(Duration::ZERO, |check| check.elapsed)
    }

    pub(super) fn overflow(&self) -> Option<Overflow> {
        Some(Overflow::from(self.check.as_ref()?.overflow.as_ref()?))
    }

    /// Says what is wrong with the component's numbers, once for all its packages.
    pub(super) fn warn(&self, from: &Opened, to: &Path, asked: &Conversion, watch: &mut dyn Watch) -> Result<()> {
        if !self.is_first {
            return Ok(());
        }
        let role = self.converted.role;
        if let Some(Overflow { text: first, .. }) = self.overflow() {
            let words = match self.precision {
                Precision::Float32 => format!(
                    "the {role} leaves half precision, so it is converted in float32: {first} \
                     (--precision float16 converts it in half precision all the same)"
                ),
                Precision::Float16 => format!(
                    "the {role} leaves half precision, and on a device that computes in it, pictures will be \
                     black or noise: {first}; --precision float16 was asked for, so it is converted in float16; \
                     in float32: {}",
                    cure(from.source(), to, role, &typed(from, asked))
                ),
            };
            watch::warn(watch, &words)?;
        }
        if self.is_known_to_leave_half {
            let known = format!(
                "the {role} of Stable Diffusion XL is known to leave half precision unless its config.json says \
                 force_upcast false"
            );
            let words = match self.precision {
                Precision::Float32 => format!("{known}, so it is converted in float32"),
                Precision::Float16 => format!(
                    "{known}, and pictures may be black or noise; --precision float16 was asked for, so it is converted \
                     in float16; in float32: {}",
                    cure(from.source(), to, role, &typed(from, asked))
                ),
            };
            watch::warn(watch, &words)?;
        }
        let of_tensors = tensor_warnings(role, &self.converted.exceptional, self.asked);
        of_tensors.iter().try_for_each(|warning| watch::warn(watch, warning))
    }
}

/// What was typed besides, and makes the same package.
fn typed(from: &Opened, conversion: &Conversion) -> Vec<String> {
    let mut words = conversion.sizes.typed();
    words.extend(from.opening().typed());
    match conversion.target {
        Target::MacOs13 => {}
        Target::MacOs14 => words.extend(["--target".to_owned(), "macOS14".to_owned()]),
        Target::MacOs15 => words.extend(["--target".to_owned(), "macOS15".to_owned()]),
    }
    if let Some(version) = &conversion.model_version {
        words.extend(["--model-version".to_owned(), version.clone()]);
    }
    words
}

/// What the user should know of a component's weights.
pub(crate) fn tensor_warnings(role: Role, tensors: &[Exceptional], asked: Option<Precision>) -> Vec<String> {
    let (broken, large): (Vec<_>, Vec<_>) =
        tensors.iter().partition(|t| t.exceptions.nans > 0 || t.exceptions.infinities > 0);
    let mut warnings = Vec::new();
    if !broken.is_empty() {
        warnings.push(format!(
            "the {role}'s weights hold values that are not finite, in {}: {}; no precision makes sense of \
             them: the checkpoint is damaged, or its training failed",
            count(broken.len(), "tensor"),
            list(&broken)
        ));
    }
    if !large.is_empty() {
        let again = if asked == Some(Precision::Float16) { " instead of --precision float16" } else { "" };
        warnings.push(format!(
            "the {role}'s weights hold finite values beyond half precision (65504), in {}: {}; the operations \
             that read them stay in float32; if what they give leaves half precision too, convert it in float32: \
             --component {role} --precision float32{again}",
            count(large.len(), "tensor"),
            list(&large)
        ));
    }
    warnings
}

/// The first few by name, and how many more there are.
fn list(tensors: &[&Exceptional]) -> String {
    let named: Vec<String> = tensors.iter().take(NAMED_TENSORS).map(ToString::to_string).collect();
    match tensors.len().saturating_sub(NAMED_TENSORS) {
        0 => named.join("; "),
        more => format!("{}; and {more} more", named.join("; ")),
    }
}
