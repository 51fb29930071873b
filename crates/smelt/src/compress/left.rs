//! Weights that stay as they are, and why.

use mil_compress::{Config, Kept, Plan};

use crate::error::Result;
use crate::units::count;
use crate::watch::{Watch, warn};

/// What a user may do when no weight was selected.
pub(super) fn why_nothing(config: &Config, plans: &[Plan]) -> String {
    if let Some((name, reason)) = plans.iter().flat_map(Plan::left).find(|(_, reason)| is_notable(reason)) {
        return format!("{name}, among others: {reason}");
    }
    if !config.only.is_empty() || !config.skip.is_empty() {
        return "--only and --skip leave none".into();
    }
    format!(
        "none has two dimensions, more than {} elements and a reader other than gather (--min-elements, --config)",
        config.min_elements
    )
}

/// Says which weights could not be compressed as asked; a few of them, when they are many.
pub(super) fn tell(kept: &[Kept], watch: &mut dyn Watch) -> Result<()> {
    const TOLD: usize = 3;
    let notable: Vec<&Kept> = kept.iter().filter(|k| is_notable(&k.reason)).collect();
    for kept in notable.iter().take(TOLD) {
        warn(watch, &format!("{} stays as it is: {}", kept.name, kept.reason))?;
    }
    if notable.len() > TOLD {
        let n = count(notable.len() - TOLD, "other weight");
        warn(watch, &format!("so with {n}; --report tells each"))?;
    }
    Ok(())
}

/// False for reasons that are the user's own choice.
fn is_notable(reason: &str) -> bool {
    !(reason.contains("left alone") || reason.contains("asked for"))
}
