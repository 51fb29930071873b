//! Calibration data read back: inputs of real runs, cut into batches as a package takes them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use host_tensor::HostTensor;
use sd_runtime::{Feature, Signature, Tensors};
use serde::Deserialize;

use super::file::{KEY, VERSION};
use crate::error::{Context, Result, refuse};
use crate::tensor_file;
use crate::units::count;

/// Samples of a model's inputs: what `smelt calibrate` writes, or any safetensors file with samples as the first axis.
#[derive(Debug, Clone)]
pub struct CalibrationData {
    /// Where it was read.
    pub path: PathBuf,
    /// What made the samples; nothing is known of files that others wrote.
    pub about: Option<CalibrationAbout>,
    /// Each input's samples, which are its first axis.
    pub inputs: BTreeMap<String, HostTensor>,
    n_samples: usize,
}

/// What made the samples of a file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct CalibrationAbout {
    /// Form of the file: 1.
    pub version: u32,
    /// Who wrote it.
    pub software: String,
    /// Name of the model.
    pub model: String,
    /// Its family.
    pub family: String,
    /// The denoiser's role.
    pub denoiser: String,
    /// What pictures show.
    pub prompts: Vec<String>,
    /// The scheduler.
    pub scheduler: String,
    /// Evaluations of the denoiser for each picture.
    pub evaluations: usize,
    /// Width of the pictures, in pixels.
    pub width: usize,
    /// Height of the pictures, in pixels.
    pub height: usize,
}

/// What a package is given in one run.
#[derive(Debug, Clone)]
pub struct CalibrationBatch {
    /// Its inputs, under its names and in its types.
    pub inputs: Tensors,
    /// How many of the batch are samples. The last batch is filled up with samples that were there before, so that only
    /// its first ones count.
    pub n_samples: usize,
}

/// The samples of a file, in batches that a package takes.
#[derive(Debug, Clone)]
pub struct CalibrationBatches<'d> {
    data: &'d CalibrationData,
    features: Vec<Feature>,
    batch: usize,
    next: usize,
}

impl CalibrationData {
    /// Reads a file.
    ///
    /// # Errors
    /// For files that are no safetensors, have no samples, or inputs of which one has more of them than another.
    pub fn read(path: &Path) -> Result<Self> {
        let (inputs, metadata) = tensor_file::read_with_metadata(path)?;
        let is = || format!("{} holds no calibration data", path.display());
        let about: Option<CalibrationAbout> =
            metadata.get(KEY).map(|text| serde_json::from_str(text)).transpose().with_context(is)?;
        if let Some(about) = about.as_ref().filter(|about| about.version != VERSION) {
            let version = about.version;
            refuse!("{} has form {version} of calibration data; this Smelt reads form {VERSION}", path.display());
        }
        let n_samples = n_samples(&inputs).with_context(is)?;
        Ok(Self { path: path.to_owned(), about, inputs, n_samples })
    }

    /// How many samples there are.
    #[must_use]
    pub fn n_samples(&self) -> usize {
        self.n_samples
    }

    /// So many of the samples, spread evenly over them; all where there are no more.
    #[must_use]
    pub fn evenly(self, n: usize) -> Self {
        if n >= self.n_samples || n == 0 {
            return self;
        }
        let chosen: Vec<usize> = (0..n).map(|i| (2 * i + 1) * self.n_samples / (2 * n)).collect();
        let inputs = self.inputs.iter().filter_map(|(name, tensor)| {
            let n_bytes = tensor.bytes().len() / self.n_samples;
            let bytes: Vec<u8> =
                chosen.iter().flat_map(|&i| &tensor.bytes()[i * n_bytes..(i + 1) * n_bytes]).copied().collect();
            let shape = [&[n], &tensor.shape()[1..]].concat();
            Some((name.clone(), HostTensor::new(tensor.dtype(), shape, bytes.into()).ok()?))
        });
        Self { inputs: inputs.collect(), n_samples: n, ..self }
    }

    /// The samples as a model takes them: all of them once, in order, as many at a time as its inputs have rows.
    ///
    /// # Errors
    /// With every input that only one of the two has, or that has another shape.
    pub fn batches(&self, wanted: &Signature) -> Result<CalibrationBatches<'_>> {
        let mut faults = Vec::new();
        let mut batches = BTreeSet::new();
        for feature in &wanted.inputs {
            match self.inputs.get(&feature.name) {
                None => faults.push(format!("the model takes {}, of which there are no samples", feature.name)),
                Some(samples) => match batch_of(feature, samples) {
                    Some(batch) => drop(batches.insert(batch)),
                    None => faults.push(format!(
                        "samples of {} have shape {:?}, and the model takes {}, samples first",
                        feature.name,
                        &samples.shape()[1..],
                        feature.shape
                    )),
                },
            }
        }
        let unknown = self.inputs.keys().filter(|name| wanted.input(name).is_none());
        faults.extend(unknown.map(|name| format!("the model takes no {name}")));
        if batches.len() > 1 {
            faults.push(format!("the model's inputs differ in their number of samples: {batches:?}"));
        }
        match (faults.is_empty(), batches.first()) {
            (true, Some(&batch)) => {
                Ok(CalibrationBatches { data: self, features: wanted.inputs.clone(), batch, next: 0 })
            }
            (true, None) => refuse!("a model without inputs cannot be calibrated"),
            (false, _) => refuse!("{} is not of this model: {}", self.path.display(), faults.join("; ")),
        }
    }
}

/// The number of samples, which all inputs have.
fn n_samples(inputs: &BTreeMap<String, HostTensor>) -> Result<usize> {
    let Some((first, tensor)) = inputs.first_key_value() else { refuse!("it has no tensors") };
    let Some(&n) = tensor.shape().first() else { refuse!("{first} is a scalar, and samples are a first axis") };
    for (name, tensor) in inputs {
        if tensor.shape().first() != Some(&n) {
            refuse!("{name} has shape {:?}, and {first} has {}", tensor.shape(), count(n, "sample"));
        }
    }
    if n == 0 {
        refuse!("it has no samples");
    }
    Ok(n)
}

/// How many samples a model takes at once, when the samples' shape is that of one of its own.
fn batch_of(feature: &Feature, samples: &HostTensor) -> Option<usize> {
    let (&batch, own) = feature.shape.dims()?.split_first()?;
    (batch > 0 && own == &samples.shape()[1..]).then_some(batch)
}

impl CalibrationBatches<'_> {
    /// How many samples the model takes at once.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Samples from `first` on, in the model's type; those behind the last are the first ones again.
    fn rows(&self, feature: &Feature, first: usize) -> Result<HostTensor> {
        let samples = &self.data.inputs[&feature.name];
        let n_bytes = samples.bytes().len() / self.data.n_samples;
        let row = |idx: usize| {
            let idx = idx % self.data.n_samples;
            &samples.bytes()[idx * n_bytes..(idx + 1) * n_bytes]
        };
        let bytes: Vec<u8> = (first..first + self.batch).flat_map(row).copied().collect();
        let shape = [&[self.batch], &samples.shape()[1..]].concat();
        Ok(HostTensor::new(samples.dtype(), shape, bytes.into())?.cast(feature.dtype))
    }
}

impl Iterator for CalibrationBatches<'_> {
    type Item = Result<CalibrationBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let first = self.next;
        let n_samples = self.batch.min(self.data.n_samples.checked_sub(first).filter(|n| *n > 0)?);
        self.next += n_samples;
        let input = |feature: &Feature| Ok((feature.name.clone(), self.rows(feature, first)?));
        let inputs = self.features.iter().map(input).collect::<Result<Tensors>>();
        Some(inputs.map(|inputs| CalibrationBatch { inputs, n_samples }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::Unwatched;
    use host_tensor::DType;

    fn written(tensors: &[(&str, HostTensor)]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.safetensors");
        let tensors = tensors.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone())).collect();
        let output = safe_files::Outputs::new().file("-o", &path).unwrap();
        tensor_file::write(&output, &tensors, &mut Unwatched).unwrap();
        (dir, path)
    }

    fn floats(shape: &[usize]) -> HostTensor {
        HostTensor::from_f32(shape, (0..shape.iter().product::<usize>()).map(|i| i as f32).collect())
    }

    fn takes(inputs: &[(&str, DType, &[usize])]) -> Signature {
        let features = inputs.iter().map(|(name, dtype, shape)| Feature::new(*name, *dtype, *shape));
        Signature { inputs: features.collect(), outputs: Vec::new() }
    }

    #[test]
    fn every_sample_is_in_one_batch_in_the_models_type_and_the_last_is_filled_up() {
        let (_dir, path) = written(&[("x", floats(&[3, 2])), ("t", floats(&[3]))]);
        let data = CalibrationData::read(&path).unwrap();
        assert_eq!((data.n_samples(), &data.about), (3, &None));
        let of = |batch: usize| takes(&[("x", DType::F16, &[batch, 2]), ("t", DType::F32, &[batch])]);
        let batches: Vec<_> = data.batches(&of(2)).unwrap().map(std::result::Result::unwrap).collect();
        assert_eq!(batches.iter().map(|b| b.n_samples).collect::<Vec<_>>(), [2, 1]);
        assert_eq!((batches[1].inputs["x"].dtype(), batches[1].inputs["x"].shape()), (DType::F16, &[2, 2][..]));
        assert_eq!(batches[0].inputs["x"].to_f32_vec(), [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(batches[1].inputs["x"].to_f32_vec(), [4.0, 5.0, 0.0, 1.0]);
        assert_eq!(batches[1].inputs["t"].to_f32_vec(), [2.0, 0.0]);
        assert_eq!(data.batches(&of(1)).unwrap().count(), 3);
        let wide: Vec<_> = data.batches(&of(5)).unwrap().map(std::result::Result::unwrap).collect();
        assert_eq!((wide.len(), wide[0].n_samples), (1, 3));
        assert_eq!(wide[0].inputs["t"].to_f32_vec(), [0.0, 1.0, 2.0, 0.0, 1.0]);
    }

    #[test]
    fn samples_are_chosen_evenly() {
        let (_dir, path) = written(&[("x", floats(&[6, 1])), ("t", floats(&[6]))]);
        let chosen = |n| CalibrationData::read(&path).unwrap().evenly(n);
        assert_eq!((chosen(2).n_samples(), chosen(2).inputs["x"].to_f32_vec()), (2, vec![1.0, 4.0]));
        assert_eq!(chosen(3).inputs["t"].to_f32_vec(), [1.0, 3.0, 5.0]);
        assert_eq!(chosen(7).n_samples(), 6);
    }

    #[test]
    fn inputs_that_do_not_fit_are_all_named() {
        let (_dir, path) = written(&[("x", floats(&[3, 2])), ("z", floats(&[3]))]);
        let data = CalibrationData::read(&path).unwrap();
        let other = takes(&[("x", DType::F32, &[2, 4]), ("t", DType::F32, &[2])]);
        let error = data.batches(&other).unwrap_err().chain();
        for fact in ["x have shape [2], and the model takes [2, 4]", "takes t, of which", "takes no z"] {
            assert!(error.contains(fact), "{error}");
        }
        let uneven = takes(&[("x", DType::F32, &[2, 2]), ("z", DType::F32, &[1])]);
        assert!(data.batches(&uneven).unwrap_err().chain().contains("differ in their number of samples: {1, 2}"));
    }

    #[test]
    fn files_without_samples_are_refused() {
        let check = |tensors: &[(&str, HostTensor)], fact: &str| {
            let (_dir, path) = written(tensors);
            let error = CalibrationData::read(&path).unwrap_err().chain();
            assert!(error.contains("x.safetensors holds no calibration data") && error.contains(fact), "{error}");
        };
        check(&[], "it has no tensors");
        check(&[("x", floats(&[]))], "x is a scalar");
        check(&[("x", floats(&[0, 2]))], "it has no samples");
        check(&[("x", floats(&[2, 2])), ("y", floats(&[3]))], "y has shape [3], and x has 2 samples");
    }
}
