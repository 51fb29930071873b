//! A training as a file, which goes on where it stopped: safetensors with every number that a step changes.

use std::collections::HashMap;
use std::path::Path;

use safe_files::OutputFile;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::adam::Adam;
use crate::data::floats;
use crate::error::FinetuneError;
use crate::recipe::Recipe;
use crate::tuner::{Slot, Tuner};

/// Key of the metadata, whose value is an [`About`] as JSON.
const KEY: &str = "smelt.finetune";
/// Most bytes of such a file.
const MOST_BYTES: u64 = 1 << 36;

/// What the numbers are of.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct About {
    recipe: Recipe,
    n_done: usize,
    /// The network's parameters, by key.
    keys: Vec<String>,
}

impl Tuner {
    /// Writes the training, whole or not at all.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, file: &OutputFile) -> Result<(), FinetuneError> {
        let keys = self.bindings.iter().map(|binding| binding.key.clone()).collect();
        let about = About { recipe: self.recipe.clone(), n_done: self.n_done, keys };
        let fault = |reason: String| FinetuneError::File { path: file.path().to_owned(), reason };
        let about = serde_json::to_string(&about).map_err(|e| fault(e.to_string()))?;
        let mut stored: Vec<(String, Dtype, Vec<u8>)> = Vec::new();
        for (idx, slot) in self.slots.iter().enumerate() {
            let mut put = |what: &str, bytes: Vec<u8>, dtype| stored.push((format!("{idx}.{what}"), dtype, bytes));
            for (what, numbers) in numbers(slot) {
                put(what, bytes_of(numbers), Dtype::F32);
            }
            if let Slot::Palettized(weight) = slot {
                put("places", weight.places.clone(), Dtype::U8);
            }
        }
        let mut views = Vec::new();
        for (name, dtype, bytes) in &stored {
            let size = if *dtype == Dtype::F32 { 4 } else { 1 };
            let view = TensorView::new(*dtype, vec![bytes.len() / size], bytes).map_err(|e| fault(e.to_string()))?;
            views.push((name.clone(), view));
        }
        let metadata = HashMap::from([(KEY.to_owned(), about)]);
        let bytes = safetensors::serialize(views, Some(metadata)).map_err(|e| fault(e.to_string()))?;
        Ok(file.write(|out| out.write_all(&bytes))?)
    }

    /// Goes on from what [`Tuner::save`] wrote of the same network and recipe.
    ///
    /// # Errors
    /// When the file is damaged, or of another training.
    pub fn resume(&mut self, path: &Path) -> Result<(), FinetuneError> {
        let (recipe, n_done, slots) = self.read(path)?;
        if recipe != self.recipe {
            return Err(of_another(path));
        }
        (self.slots, self.n_done) = (slots, n_done);
        Ok(())
    }

    /// Begins with the weights and palettes of another training of the same network, with palettes of the same kind; steps
    /// are counted anew.
    ///
    /// # Errors
    /// When the file is damaged, or of another network or kind.
    pub fn begin_with(&mut self, path: &Path) -> Result<(), FinetuneError> {
        let (recipe, _, slots) = self.read(path)?;
        let kind = |recipe: &Recipe| (recipe.n_bits, recipe.group_size, recipe.min_elements, recipe.skip.clone());
        if kind(&recipe) != kind(&self.recipe) {
            return Err(of_another(path));
        }
        self.slots = slots.into_iter().map(Slot::anew).collect();
        Ok(())
    }

    /// A training of the same network: its recipe, its steps, and what is trained.
    fn read(&self, path: &Path) -> Result<(Recipe, usize, Vec<Slot>), FinetuneError> {
        let fault = |reason: String| FinetuneError::File { path: path.to_owned(), reason };
        let bytes = safe_files::read(path, MOST_BYTES).map_err(|e| fault(e.to_string()))?;
        let damaged = |e: safetensors::SafeTensorError| fault(format!("it holds no training: {e}"));
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(damaged)?;
        let about = metadata.metadata().as_ref().and_then(|map| map.get(KEY));
        let about: About = about
            .and_then(|json| serde_json::from_str(json).ok())
            .ok_or_else(|| fault("it holds no training of this version".into()))?;
        if !about.keys.iter().eq(self.bindings.iter().map(|binding| &binding.key)) {
            return Err(of_another(path));
        }
        let tensors = SafeTensors::deserialize(&bytes).map_err(damaged)?;
        let mut slots = self.slots.clone();
        for (idx, slot) in slots.iter_mut().enumerate() {
            let read = |what: &str| tensors.tensor(&format!("{idx}.{what}")).map_err(damaged);
            for (what, numbers) in numbers_mut(slot) {
                let found = floats(read(what)?.data());
                if found.len() != numbers.len() {
                    return Err(of_another(path));
                }
                *numbers = found;
            }
            if let Slot::Palettized(weight) = slot {
                weight.places = read("places")?.data().to_vec();
                let (n_entries, n_places) = (1 << weight.n_bits, weight.places.len());
                let is_whole = n_places == 0 || n_places == weight.elements.len();
                if !is_whole || weight.places.iter().any(|&place| usize::from(place) >= n_entries) {
                    return Err(fault("it is damaged: entries are given out that are not there".into()));
                }
            }
        }
        Ok((about.recipe, about.n_done, slots))
    }
}

fn of_another(path: &Path) -> FinetuneError {
    let reason = "it is of another training; give the same options, or another place for this one".to_owned();
    FinetuneError::File { path: path.to_owned(), reason }
}

impl Slot {
    /// The same numbers, of which no step has been taken.
    fn anew(self) -> Self {
        match self {
            Self::Plain { numbers, .. } => Self::Plain { adam: Adam::new(numbers.len()), numbers },
            Self::Palettized(mut weight) => {
                weight.by_element = Adam::new(weight.elements.len());
                weight.by_entry = Adam::new(weight.entries.len());
                weight.places.clear();
                Self::Palettized(weight)
            }
        }
    }
}

/// What a step changes, by name.
fn numbers(slot: &Slot) -> Vec<(&'static str, &Vec<f32>)> {
    match slot {
        Slot::Plain { numbers, adam: Adam { means, squares } } => {
            vec![("numbers", numbers), ("means", means), ("squares", squares)]
        }
        Slot::Palettized(weight) => vec![
            ("elements", &weight.elements),
            ("entries", &weight.entries),
            ("element_means", &weight.by_element.means),
            ("element_squares", &weight.by_element.squares),
            ("entry_means", &weight.by_entry.means),
            ("entry_squares", &weight.by_entry.squares),
        ],
    }
}

fn numbers_mut(slot: &mut Slot) -> Vec<(&'static str, &mut Vec<f32>)> {
    match slot {
        Slot::Plain { numbers, adam: Adam { means, squares } } => {
            vec![("numbers", numbers), ("means", means), ("squares", squares)]
        }
        Slot::Palettized(weight) => vec![
            ("elements", &mut weight.elements),
            ("entries", &mut weight.entries),
            ("element_means", &mut weight.by_element.means),
            ("element_squares", &mut weight.by_element.squares),
            ("entry_means", &mut weight.by_entry.means),
            ("entry_squares", &mut weight.by_entry.squares),
        ],
    }
}

fn bytes_of(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}
