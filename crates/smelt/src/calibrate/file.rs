//! The file: safetensors, whose tensors are the denoiser's inputs with samples as their first axis, and whose metadata says
//! what made them.

use std::collections::BTreeMap;

use host_tensor::{DType, HostTensor};
use safe_files::OutputFile;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::CalibrationInput;
use super::record::Sample;
use crate::error::{Context, Result, refusal, refuse};
use crate::request::Request;
use crate::tensor_file;
use crate::watch::{Watch, write_file};

/// Key of the metadata, whose value is an [`About`] as JSON.
pub(super) const KEY: &str = "smelt.calibration";
/// The form of the file.
pub(super) const VERSION: u32 = 1;
/// Where tensors begin, from the end of the length: a multiple of this.
const ALIGNMENT: usize = 8;

/// What made the samples.
#[derive(Debug, Serialize)]
pub(super) struct About<'a> {
    /// Of this form.
    pub(super) version: u32,
    pub(super) software: &'static str,
    pub(super) model: &'a str,
    pub(super) family: &'static str,
    /// The denoiser's role.
    pub(super) denoiser: &'static str,
    pub(super) prompts: &'a [String],
    /// Pictures of each prompt.
    pub(super) count: usize,
    pub(super) scheduler: &'a str,
    /// Of each picture; some schedulers take more than one for a step.
    pub(super) evaluations: usize,
    pub(super) width: usize,
    pub(super) height: usize,
    /// How pictures are drawn: negative prompt, seed of the first, steps, guidance and all else; its prompt is empty.
    pub(super) request: Request,
    /// What each sample is of, in the order of the tensors.
    pub(super) samples: Vec<Of>,
}

/// What a sample is of.
#[derive(Debug, Serialize)]
pub(super) struct Of {
    /// Place in the list of prompts.
    pub(super) prompt: usize,
    pub(super) seed: u64,
    pub(super) evaluation: usize,
    /// Whose text it has: `prompt` or `negative`.
    pub(super) text: &'static str,
}

/// What was written.
pub(super) struct Written {
    pub(super) inputs: Vec<CalibrationInput>,
    pub(super) n_bytes: u64,
}

/// Writes samples, whole or not at all.
pub(super) fn write(
    output: &OutputFile,
    about: &About<'_>,
    samples: &[Sample],
    watch: &mut dyn Watch,
) -> Result<Written> {
    let stacks = stacks(samples)?;
    let (header, n_data) = header(&stacks, about)?;
    write_file(output, watch, |out| {
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        for stack in stacks.values() {
            stack.iter().try_for_each(|tensor| out.write_all(tensor.bytes()))?;
        }
        Ok(())
    })?;
    let input = |(name, stack): (&&str, &Vec<&HostTensor>)| {
        let (dtype, shape) = (stack[0].dtype().name(), stacked_shape(stack));
        CalibrationInput { name: (*name).to_owned(), dtype, shape }
    };
    Ok(Written { inputs: stacks.iter().map(input).collect(), n_bytes: (8 + header.len() + n_data) as u64 })
}

/// Each input's tensors of all samples, which are of one type and shape.
fn stacks(samples: &[Sample]) -> Result<BTreeMap<&str, Vec<&HostTensor>>> {
    let Some(first) = samples.first() else {
        refuse!("the denoiser was not run, so that there is nothing to calibrate with");
    };
    let mut stacks = BTreeMap::new();
    for (name, model) in &first.inputs {
        let is_like = |tensor: &&HostTensor| (tensor.dtype(), tensor.shape()) == (model.dtype(), model.shape());
        let fits = |sample: &Sample| {
            sample.inputs.len() == first.inputs.len() && sample.inputs.get(name).filter(is_like).is_some()
        };
        if let Some(other) = samples.iter().position(|sample| !fits(sample)) {
            refuse!(
                "sample {other} has other inputs than the first, or {name} of another shape than {:?}",
                model.shape()
            );
        }
        stacks.insert(name.as_str(), samples.iter().filter_map(|sample| sample.inputs.get(name)).collect());
    }
    Ok(stacks)
}

fn stacked_shape(stack: &[&HostTensor]) -> Vec<usize> {
    let own = stack.first().map_or(&[][..], |tensor| tensor.shape());
    std::iter::once(stack.len()).chain(own.iter().copied()).collect()
}

/// The header with its padding, and how many bytes follow it.
fn header(stacks: &BTreeMap<&str, Vec<&HostTensor>>, about: &About<'_>) -> Result<(Vec<u8>, usize)> {
    let mut entries = Map::from_iter([("__metadata__".to_owned(), json!({ KEY: serde_json::to_string(about)? }))]);
    let mut end = 0;
    for (name, stack) in stacks {
        let begin = end;
        end += stack.iter().map(|tensor| tensor.bytes().len()).sum::<usize>();
        let dtype = dtype_of(stack[0].dtype()).with_context(|| (*name).to_owned())?;
        let entry = json!({ "dtype": dtype, "shape": stacked_shape(stack), "data_offsets": [begin, end] });
        entries.insert((*name).to_owned(), entry);
    }
    let mut header = serde_json::to_vec(&entries)?;
    header.resize(header.len().next_multiple_of(ALIGNMENT), b' ');
    Ok((header, end))
}

/// The name that safetensors files have for a type.
fn dtype_of(dtype: DType) -> Result<Value> {
    let stored = tensor_file::stored(dtype);
    Ok(serde_json::to_value(stored.ok_or_else(|| refusal!("safetensors files cannot hold elements of {dtype}"))?)?)
}
