//! A run: passes over bands, and what is whole.

use super::{
    Bands,
    emit::{self, Emitted, Input},
    feature_map::{FeatureMap, Form},
    layout::Layout,
    moments::ChannelMoments,
    nodes::{Rule, height},
    schedule::{Act, Pass},
};
use crate::{
    EngineError,
    cpu::{
        Cpu,
        body::Body,
        run::{Floats, Ports},
    },
};
use host_tensor::{HostTensor, Stop};
use mil::ValueId;
use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

/// Rows of a band at least: fewer are mostly what bands beside them compute too.
const LEAST_ROWS: usize = 8;

/// What is there.
enum Kept {
    Map(FeatureMap),
    Tensor(HostTensor),
}

/// A run of bands.
pub(super) struct Passing<'a> {
    bands: &'a Bands,
    body: Body<'a>,
    stop: &'a Stop,
    there: HashMap<ValueId, Kept>,
    /// Factors and summands of each normalisation whose statistics are known.
    affine: HashMap<usize, [Vec<f32>; 2]>,
    returned: BTreeMap<String, HostTensor>,
}

impl<'a> Passing<'a> {
    /// A run that has not begun.
    pub(super) fn new(
        bands: &'a Bands,
        inputs: &BTreeMap<String, HostTensor>,
        stop: &'a Stop,
    ) -> Result<Self, EngineError> {
        let body = bands.body();
        let mut there = HashMap::new();
        let given = bands.reference.given(inputs)?;
        for ((tensor, feature), &id) in given.into_iter().zip(bands.inputs()).zip(&body.function.inputs) {
            let kept = match (height(&body, id), picture(&body, id)) {
                (Some(_), Some(shape)) => Kept::Map(of_planes(&tensor.to_f32_vec(), shape)?),
                _ => Kept::Tensor(tensor.cast(feature.ty.dtype)),
            };
            there.insert(id, kept);
        }
        Ok(Self { bands, body, stop, there, affine: HashMap::new(), returned: BTreeMap::new() })
    }

    /// Runs everything.
    pub(super) fn run(mut self) -> Result<BTreeMap<String, HostTensor>, EngineError> {
        let bands = self.bands;
        for act in &bands.schedule.acts {
            match act {
                Act::Pass(pass) => self.pass(pass)?,
                Act::Whole { node, frees } => self.whole(*node, frees)?,
            }
        }
        Ok(self.returned)
    }

    fn pass(&mut self, pass: &Pass) -> Result<(), EngineError> {
        let Some(shape) = picture(&self.body, pass.of) else { return Ok(()) };
        let [_, channels, height, width] = shape;
        let form = self.bands.schedule.form;
        let mut taken = Taken {
            shape,
            map: pass.keeps.then(|| FeatureMap::new(form, height, width * channels)),
            moments: (!pass.norms.is_empty()).then(|| ChannelMoments::new(channels)),
            planes: pass.returns.then(|| vec![0.0; channels * height * width]),
        };
        let n_rows = self.band_rows(pass.of, shape);
        let mut planned: Option<(Vec<usize>, Vec<Input>, Cpu)> = None;
        for start in (0..height).step_by(n_rows) {
            let layout = self.layout(pass.of, start..(start + n_rows).min(height));
            let key = layout.key();
            if planned.as_ref().is_none_or(|(of, ..)| *of != key) {
                // The memory of the plan before goes first.
                drop(planned.take());
                let Emitted { function, inputs } = emit::band((&self.body, &self.bands.nodes), &layout)?;
                planned = Some((key, inputs, self.bands.plan(&function)?));
            }
            let Some((_, inputs, cpu)) = &planned else { continue };
            let mut ports = BandPorts { passing: self, inputs, layout: &layout, taken: &mut taken, failed: None };
            cpu.run_ports(&mut ports, self.stop)?;
            ports.failed.map_or(Ok(()), Err)?;
            self.forget_before(&pass.frees, &layout);
        }
        drop(planned);
        pass.frees.iter().for_each(|id| {
            self.there.remove(id);
        });
        self.settle(pass, taken);
        Ok(())
    }

    fn settle(&mut self, pass: &Pass, taken: Taken) {
        if let Some(map) = taken.map {
            self.there.insert(pass.of, Kept::Map(map));
        }
        if let Some(moments) = taken.moments {
            for &at in &pass.norms {
                if let Rule::Norm(norm) = &self.bands.nodes[at].rule {
                    self.affine.insert(at, moments.affine(norm));
                }
            }
        }
        if let Some(planes) = taken.planes {
            let tensor = HostTensor::from_f32(taken.shape, planes);
            let outputs = self.bands.outputs().iter().zip(&self.body.function.body.outputs);
            for (feature, _) in outputs.filter(|(_, id)| **id == pass.of) {
                self.returned.insert(feature.name.clone(), tensor.cast(feature.ty.dtype));
            }
        }
    }

    fn layout(&self, of: ValueId, rows: Range<usize>) -> Layout {
        Layout::new((&self.body, &self.bands.nodes), &|id| self.there.contains_key(&id), (of, rows))
    }

    /// How many rows a band has: as many as its features fit into the workspace.
    fn band_rows(&self, of: ValueId, [_, _, height, _]: [usize; 4]) -> usize {
        let all = self.layout(of, 0..height);
        let floats = all.rows.iter().filter_map(|(&id, rows)| {
            let [_, channels, _, width] = picture(&self.body, id)?;
            Some(rows.len().saturating_mul(channels * width))
        });
        let bytes_per_row = (floats.fold(0usize, usize::saturating_add).saturating_mul(4) / height).max(1);
        let rows = self.bands.workspace / bytes_per_row / LEAST_ROWS * LEAST_ROWS;
        rows.clamp(LEAST_ROWS, height.next_multiple_of(LEAST_ROWS))
    }

    /// Gives back rows that no later band reads.
    fn forget_before(&mut self, frees: &[ValueId], layout: &Layout) {
        for (id, rows) in &layout.inputs {
            if let (Some(Kept::Map(map)), Some(rows), true) = (self.there.get_mut(id), rows, frees.contains(id)) {
                map.forget_before(rows.start);
            }
        }
    }

    fn whole(&mut self, node: usize, frees: &[ValueId]) -> Result<(), EngineError> {
        let emitted = emit::whole(&self.body, &self.bands.nodes[node])?;
        let cpu = self.bands.plan(&emitted.function)?;
        let makes = &self.bands.nodes[node].makes;
        let form = self.bands.schedule.form;
        let mut ports = WholePorts {
            body: &self.body,
            there: &mut self.there,
            inputs: &emitted.inputs,
            frees,
            makes,
            form,
            made: Vec::new(),
            failed: None,
        };
        cpu.run_ports(&mut ports, self.stop)?;
        let (made, failed) = (ports.made, ports.failed);
        failed.map_or(Ok(()), Err)?;
        frees.iter().for_each(|id| {
            self.there.remove(id);
        });
        self.there.extend(made);
        Ok(())
    }
}

fn picture(body: &Body<'_>, id: ValueId) -> Option<[usize; 4]> {
    body.floats(id)?.try_into().ok()
}

/// A picture that was given as planes.
fn of_planes(planes: &[f32], [_, channels, height, width]: [usize; 4]) -> Result<FeatureMap, EngineError> {
    let mut map = FeatureMap::new(Form::Single, height, width * channels);
    map.write(0..height, &|row, to| {
        for (at, v) in to.iter_mut().enumerate() {
            let (x, channel) = (at / channels, at % channels);
            *v = planes[(channel * height + row) * width + x];
        }
    })?;
    Ok(map)
}

/// What becomes of the rows of a pass.
struct Taken {
    shape: [usize; 4],
    map: Option<FeatureMap>,
    moments: Option<ChannelMoments>,
    planes: Option<Vec<f32>>,
}

impl Taken {
    fn take(&mut self, rows: &Range<usize>, floats: &Floats<'_>) -> Result<(), EngineError> {
        let [_, channels, height, width] = self.shape;
        let row_floats = channels * width;
        let row = |at: usize, to: &mut [f32]| floats.read_row(at - rows.start, to);
        if let Some(moments) = &mut self.moments {
            moments.add(rows.clone(), row_floats, &row);
        }
        if let Some(planes) = &mut self.planes {
            let mut values = vec![0.0; row_floats];
            for at in rows.clone() {
                row(at, &mut values);
                for (i, &v) in values.iter().enumerate() {
                    planes[(i % channels * height + at) * width + i / channels] = v;
                }
            }
        }
        self.map.as_mut().map_or(Ok(()), |map| map.write(rows.clone(), &row))
    }
}

/// What is given as a tensor, where an input is one.
fn tensor_of(there: &HashMap<ValueId, Kept>, input: Option<&Input>) -> Option<HostTensor> {
    match input {
        Some(Input::Tensor(id)) => match there.get(id) {
            Some(Kept::Tensor(tensor)) => Some(tensor.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// The ports of a band.
struct BandPorts<'p, 'a> {
    passing: &'p Passing<'a>,
    inputs: &'p [Input],
    layout: &'p Layout,
    taken: &'p mut Taken,
    failed: Option<EngineError>,
}

impl Ports for BandPorts<'_, '_> {
    fn tensor(&mut self, input: usize) -> Option<HostTensor> {
        tensor_of(&self.passing.there, self.inputs.get(input))
    }

    fn fill(&mut self, input: usize, to: &mut [f32]) {
        let affine = |node: &usize, which: usize| self.passing.affine.get(node).map(|affine| &affine[which]);
        match self.inputs.get(input) {
            Some(Input::Rows(id)) => {
                let rows = self.layout.rows.get(id);
                if let (Some(Kept::Map(map)), Some(rows)) = (self.passing.there.get(id), rows) {
                    map.read(rows.clone(), to);
                }
            }
            Some(Input::Factors(node)) => affine(node, 0).into_iter().for_each(|values| to.copy_from_slice(values)),
            Some(Input::Summands(node)) => affine(node, 1).into_iter().for_each(|values| to.copy_from_slice(values)),
            Some(Input::Tensor(_)) | None => {}
        }
    }

    fn take(&mut self, _: usize, floats: &Floats<'_>) {
        self.failed = self.taken.take(&self.layout.result.1, floats).err();
    }

    fn take_tensor(&mut self, _: usize, tensor: HostTensor) {
        let values = tensor.to_f32_vec();
        let row_floats = values.len() / self.layout.result.1.len().max(1);
        let floats = Floats::of(&values, &[1, self.layout.result.1.len(), 1, row_floats]);
        self.failed = self.taken.take(&self.layout.result.1, &floats).err();
    }
}

/// The ports of what is whole.
struct WholePorts<'p, 'f> {
    body: &'p Body<'f>,
    there: &'p mut HashMap<ValueId, Kept>,
    inputs: &'p [Input],
    frees: &'p [ValueId],
    makes: &'p [ValueId],
    form: Form,
    made: Vec<(ValueId, Kept)>,
    failed: Option<EngineError>,
}

impl WholePorts<'_, '_> {
    fn keep(&mut self, output: usize, floats: &Floats<'_>) {
        let Some(&id) = self.makes.get(output) else { return };
        let kept = match (height(self.body, id), picture(self.body, id)) {
            (Some(height), Some([_, channels, _, width])) => {
                let mut map = FeatureMap::new(self.form, height, width * channels);
                self.failed = self.failed.take().or(map.write(0..height, &|row, to| floats.read_row(row, to)).err());
                Kept::Map(map)
            }
            _ => Kept::Tensor(HostTensor::from_f32(floats.shape(), floats.to_vec())),
        };
        self.made.push((id, kept));
    }
}

impl Ports for WholePorts<'_, '_> {
    fn tensor(&mut self, input: usize) -> Option<HostTensor> {
        tensor_of(self.there, self.inputs.get(input))
    }

    fn fill(&mut self, input: usize, to: &mut [f32]) {
        let Some(Input::Rows(id)) = self.inputs.get(input) else { return };
        let (Some(rows), Some(Kept::Map(map))) = (height(self.body, *id), self.there.get(id)) else { return };
        map.read(0..rows, to);
        if self.frees.contains(id) {
            self.there.remove(id);
        }
    }

    fn take(&mut self, output: usize, floats: &Floats<'_>) {
        self.keep(output, floats);
    }

    fn take_tensor(&mut self, output: usize, tensor: HostTensor) {
        let Some(&id) = self.makes.get(output) else { return };
        match height(self.body, id) {
            None => self.made.push((id, Kept::Tensor(tensor))),
            Some(_) => {
                let values = tensor.to_f32_vec();
                self.keep(output, &Floats::of(&values, tensor.shape()));
            }
        }
    }
}
