//! Whether programs for Apple's systems would find what they need in a folder of models, and why not.

mod metadata;
mod rules;
mod usable;

use std::path::Path;

use sd_spec::{Family, Role};
use serde::Serialize;

pub use metadata::Reading;
use rules::{Item, Layout, Need, PROGRAMS, Program, Want};
use usable::Unusable;

/// What a program makes of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProgramFacts {
    /// What the program is called.
    pub program: &'static str,
    /// Whether it finds all that it needs.
    pub finds_all: bool,
    /// What it needs and does not find.
    pub missing: Vec<MissingFile>,
    /// Why it would not take what is there.
    pub faults: Vec<String>,
    /// What it could do beside with more files.
    pub left_out: Vec<LeftOut>,
    /// What it reads of the models' metadata; null for a program that reads none.
    pub reads: Option<Reading>,
    /// What whoever uses it should know.
    pub notes: Vec<String>,
}

/// Something that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MissingFile {
    /// Its name.
    pub file: String,
    /// What is there in its place, which the program does not take.
    pub instead: Option<String>,
}

/// Something that a program could do with more files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// What it could do.
    pub what: &'static str,
    /// The files that it lacks.
    pub missing: Vec<MissingFile>,
}

impl ProgramFacts {
    /// What each of the programs would make of a folder with models of a family.
    pub(super) fn of_folder(dir: &Path, family: Family) -> Vec<Self> {
        let mut unusable = Unusable::default();
        PROGRAMS.iter().filter_map(|program| Self::of(program, dir, family, &mut unusable)).collect()
    }

    fn of(program: &Program, dir: &Path, family: Family, unusable: &mut Unusable) -> Option<Self> {
        let layout = program.layouts.iter().find(|layout| layout.families.contains(&family))?;
        let Layout { needs, wants, .. } = layout;
        let missing: Vec<MissingFile> = needs.iter().flat_map(|Need(any_of)| missing(dir, any_of)).collect();
        let left_out = wants.iter().filter_map(|want| left_out(dir, want)).collect();
        let (mut faults, mut reads) = (unusable.of(dir, layout), None);
        let mut notes: Vec<String> = layout.note.iter().chain(&program.note).map(|note| (*note).to_owned()).collect();
        let denoisers = program.reads_metadata_of.iter().map(|item| dir.join(compiled(*item)).join(METADATA));
        if let Some(denoiser) = denoisers.into_iter().find(|file| file.exists()) {
            match Reading::of(&denoiser, &dir.join(compiled(Item::Model(Role::VaeEncoder))).join(METADATA)) {
                Ok(mut reading) => {
                    faults.extend(misread(&reading, family));
                    notes.append(&mut reading.notes);
                    reads = Some(reading);
                }
                Err(fault) => faults.push(fault),
            }
        } else if let Some(first) = program.reads_metadata_of.first().filter(|_| missing.is_empty()) {
            let names: Vec<String> = program.reads_metadata_of.iter().map(|item| compiled(*item)).collect();
            let (file, names) = (format!("{}/{METADATA}", compiled(*first)), names.join(", "));
            faults.push(format!("there is no {file}, nor one in another of {names}"));
        }
        if has(dir, Item::Any(Role::ControlNet)) {
            notes.extend(program.controlnets_note.map(str::to_owned));
        }
        let is_whole = |sets: &[&[Item]]| sets.iter().any(|set| set.iter().all(|item| has(dir, *item)));
        if missing.is_empty() && is_whole(rules::GUIDED) && !is_whole(rules::UNGUIDED) {
            notes.extend(program.only_guided_note.map(str::to_owned));
        }
        notes.extend(rules::CUT.iter().filter_map(|role| both_forms(dir, *role)));
        let finds_all = missing.is_empty() && faults.is_empty();
        Some(Self { program: program.name, finds_all, missing, faults, left_out, reads, notes })
    }
}

/// Says of a denoiser that is there in one part and in several which of them counts.
fn both_forms(dir: &Path, role: Role) -> Option<String> {
    let chunks = [Item::Chunk(role, 1), Item::Chunk(role, 2)];
    let (whole, chunks) = (Item::Model(role), chunks.into_iter().filter(|item| has(dir, *item)).collect::<Vec<_>>());
    if chunks.is_empty() || !has(dir, whole) {
        return None;
    }
    let names: Vec<String> = chunks.into_iter().map(compiled).collect();
    let (names, whole) = (names.join(", "), compiled(whole));
    Some(format!(
        "there is {whole}, and {names} too: Apple's Swift package takes the chunks; remove what is not wanted"
    ))
}

/// What a compiled model says of itself.
const METADATA: &str = "metadata.json";
/// What names of compiled models end with, and what those of packages do.
const COMPILED: &str = "mlmodelc";
const PACKAGE: &str = "mlpackage";

fn compiled(item: Item) -> String {
    format!("{}.{COMPILED}", item.name())
}

/// Whether something is in a folder.
fn has(dir: &Path, item: Item) -> bool {
    match item {
        Item::Model(_) | Item::Chunk(..) => dir.join(compiled(item)).is_dir(),
        Item::File(name) => dir.join(name).is_file(),
        Item::Any(_) => holds(&dir.join(item.name()), COMPILED),
    }
}

/// Whether a folder holds something whose name ends so.
fn holds(folder: &Path, extension: &str) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| path.extension().is_some_and(|own| own == extension))
}

/// What is not there, and what is in its place.
fn missing_file(dir: &Path, item: Item) -> MissingFile {
    let (name, package) = (item.name(), format!("{}.{PACKAGE}", item.name()));
    match item {
        Item::Model(_) | Item::Chunk(..) => {
            let instead = dir.join(&package).is_dir().then_some(package);
            MissingFile { file: compiled(item), instead }
        }
        Item::Any(_) => {
            let instead = holds(&dir.join(&name), PACKAGE).then(|| format!("{name}/*.{PACKAGE}"));
            MissingFile { file: format!("{name}/*.{COMPILED}"), instead }
        }
        Item::File(name) => MissingFile { file: name.to_owned(), instead: None },
    }
}

/// What is missing of the set of which most is there; of several, of the first.
fn missing(dir: &Path, any_of: &[&[Item]]) -> Vec<MissingFile> {
    let of_set = |set: &[Item]| -> Vec<Item> { set.iter().copied().filter(|item| !has(dir, *item)).collect() };
    let is_begun = |set: &[Item]| {
        let is_there = |item: &Item| missing_file(dir, *item).instead.is_some() || has(dir, *item);
        set.iter().any(is_there)
    };
    if any_of.iter().any(|set| of_set(set).is_empty()) {
        return Vec::new();
    }
    let begun = any_of.iter().find(|set| is_begun(set));
    let set = begun.or(any_of.first()).copied().unwrap_or_default();
    of_set(set).into_iter().map(|item| missing_file(dir, item)).collect()
}

fn left_out(dir: &Path, want: &Want) -> Option<LeftOut> {
    let missing = missing(dir, want.any_of);
    let n_items = |set: &&[Item]| set.len() == missing.len();
    let is_begun = missing.iter().any(|file| file.instead.is_some()) || !want.any_of.iter().any(n_items);
    let is_told = !missing.is_empty() && (is_begun || !want.is_seldom);
    is_told.then_some(LeftOut { what: want.what, missing })
}

/// Whether the program that reads this takes a model for one of another family.
fn misread(reading: &Reading, family: Family) -> Option<String> {
    let own = match family {
        Family::Sdxl | Family::SdxlRefiner => "XL",
        Family::Sd3 => "3",
        _ => "1.x or 2.x",
    };
    (reading.family != own)
        .then(|| format!("it takes the model for Stable Diffusion {}, which is {own}", reading.family))
}

#[cfg(test)]
mod tests;
