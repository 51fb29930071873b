//! A picture that another is to be drawn like: what is given beside its settings, and what is said of them.

use anyhow::Result;
use smelt::{Like, LikeGiven, Opened, Sizes};

use crate::cli::GenerateArgs;
use crate::command::metadata::spelt;
use crate::file;
use crate::report::Report;

/// Reads its settings, if there is one.
pub(super) fn read(args: &GenerateArgs) -> Result<Option<Like>> {
    let Some(path) = &args.like.like else { return Ok(None) };
    let mut like = Like::read(path)?;
    like.give(&LikeGiven {
        image: args.start.image.is_some(),
        mask: args.start.mask.is_some(),
        controlnets: args.control.controlnets.len(),
        refiner: args.xl.refiner.is_some(),
        taesd: args.taesd.is_some(),
        vae: args.opening.vae.is_some(),
        loras: args.opening.loras.asked().to_vec(),
        lora_folder: args.opening.loras.folder().cloned(),
        embeddings: args.opening.embeddings.names(),
        noise: args.noise.is_some(),
    })?;
    Ok(Some(like))
}

/// Fits them to the model, and says what is not taken over.
pub(super) fn settle(like: &mut Like, opened: &Opened, report: &Report) -> Result<()> {
    like.settle(opened)?;
    like.faults.iter().for_each(|fault| report.warn(spelt(fault, " ")));
    if !like.not_taken.is_empty() {
        let left: Vec<String> = like.not_taken.iter().map(told).collect();
        report.warn(format_args!("of the settings of {} this is not taken over: {}", like.tool, left.join("; ")));
    }
    Ok(())
}

/// Says whether it was drawn with another model.
pub(super) fn compare(like: &Like, opened: &Opened, name: &str, report: &Report) -> Result<()> {
    if let Some(warning) = like.model_warning(opened, name, file::cache_folder().as_deref())? {
        report.warn(spelt(&warning, " "));
    }
    Ok(())
}

/// The size that was typed, or the picture's.
pub(super) fn sizes(args: &GenerateArgs, like: Option<&Like>) -> Sizes {
    let typed = Sizes::from(&args.size);
    like.filter(|_| !typed.is_given()).map_or(typed, Like::sizes)
}

/// A setting, short.
fn told(entry: &smelt::metadata::Unknown) -> String {
    const MOST: usize = 60;
    let mut value: String = spelt(&entry.value, " ").chars().take(MOST + 1).collect();
    if value.chars().count() > MOST {
        value = value.chars().take(MOST - 1).chain(['…']).collect();
    }
    let why = entry.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    let key = spelt(&entry.key, " ");
    if value.is_empty() { format!("{key}{why}") } else { format!("{key}: {value}{why}") }
}
