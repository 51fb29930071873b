//! Recording a module, and the boundary that the caller declares for it.

use std::cell::RefCell;
use std::collections::BTreeMap;

use burn::backend::capture::{CaptureBackend, TensorId};
use burn::module::Module;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use mil::{Const, DType, Function, Opset};

use crate::error::LowerError;
use crate::lower::lower_graph;
use crate::parameters::parameter_paths;
use crate::recording::{Boundary, InputSpec, Recording};

/// A lowering in preparation: the opset and the inputs of the function to be.
#[derive(Clone, Debug)]
pub struct Lowering {
    name: String,
    opset: Opset,
    inputs: Vec<InputSpec>,
}

impl Lowering {
    /// A lowering to a function of this name (`main` in a model with one function).
    #[must_use]
    pub fn new(name: &str, opset: Opset) -> Self {
        Self { name: name.to_owned(), opset, inputs: Vec::new() }
    }

    /// Declares the next input; `dtype` is `fp32` or `int32`.
    ///
    /// Another element type at the boundary is a MIL pass (`mil::pass::declare_input`).
    #[must_use]
    pub fn input(mut self, name: &str, dtype: DType, shape: &[usize]) -> Self {
        self.inputs.push(InputSpec { name: name.to_owned(), dtype, shape: shape.to_vec() });
        self
    }

    /// Builds the module, records `forward`, and lowers what was recorded.
    ///
    /// `init` gets the capture device and makes the module; no parameter costs memory there.
    /// `parameters` gets a parameter's path and returns its value in the *module's* shape, as a view of the
    /// bytes that hold it; it is asked only for parameters that the outputs depend on.
    /// `forward` takes each declared input once and names the outputs.
    ///
    /// # Errors
    /// When the boundary does not fit `forward`, a parameter is missing or has another shape, or an operation
    /// has no MIL form; the error names the operation and the nearest parameter.
    ///
    /// # Panics
    /// When `init` or `forward` panic, as Burn's operations do on shapes that do not fit together.
    pub fn lower<M: Module>(
        self,
        init: impl FnOnce(&Device) -> M,
        parameters: impl FnMut(&str) -> Option<Const>,
        forward: impl FnOnce(&M, &Inputs<'_>) -> Result<Outputs, LowerError>,
    ) -> Result<Function, LowerError> {
        self.check_inputs()?;
        let Self { name, opset, inputs } = self;
        let recording = record(inputs, init, forward)?;
        lower_graph(&name, opset, &recording, parameters)
    }

    fn check_inputs(&self) -> Result<(), LowerError> {
        let mut seen = Vec::new();
        for input in &self.inputs {
            check_name(&input.name, &mut seen)?;
            if host_tensor::element_count(&input.shape).is_none_or(|n| n == 0 || n > MAX_INPUT_ELEMENTS) {
                return Err(LowerError::InputShape { name: input.name.clone(), shape: input.shape.clone() });
            }
            if !matches!(input.dtype, DType::F32 | DType::I32) {
                return Err(LowerError::InputKind {
                    name: input.name.clone(),
                    declared: input.dtype.name().to_owned(),
                    taken: "fp32 or int32".to_owned(),
                });
            }
        }
        Ok(())
    }
}

/// The capture device wants a zero buffer of each input's shape; this is 1 GiB of f32.
const MAX_INPUT_ELEMENTS: usize = 1 << 28;

fn check_name<'a>(name: &'a str, seen: &mut Vec<&'a str>) -> Result<(), LowerError> {
    let refuse = |reason| Err(LowerError::Name { name: name.to_owned(), reason });
    if !mil::is_identifier(name) {
        return refuse("it is no MIL identifier");
    }
    if seen.contains(&name) {
        return refuse("it stands twice");
    }
    seen.push(name);
    Ok(())
}

fn record<M: Module>(
    specs: Vec<InputSpec>,
    init: impl FnOnce(&Device) -> M,
    forward: impl FnOnce(&M, &Inputs<'_>) -> Result<Outputs, LowerError>,
) -> Result<Recording, LowerError> {
    let device = Device::capture();
    let mut result = None;
    let graph = device
        .capture_scope(|scope| {
            let module = init(&device);
            let inputs = Inputs { device: &device, specs: &specs, taken: RefCell::default() };
            let outputs = forward(&module, &inputs);
            let parameters = parameter_paths(&module);
            let taken = inputs.taken.into_inner();
            let input_ids: Vec<TensorId> = taken.values().map(|(id, _)| *id).collect();
            let mut boundary: Vec<TensorId> = Vec::new();
            for output in outputs.iter().flat_map(|outputs| &outputs.named) {
                if !boundary.contains(&output.id) {
                    boundary.push(output.id);
                }
            }
            let completed = scope.complete(input_ids, boundary);
            result = Some(outputs.map(|outputs| (parameters, taken, outputs)));
            completed
        })
        .map_err(|error| LowerError::Capture { reason: error.to_string() });
    // What `forward` says comes first: a recording that it gave up on cannot be complete.
    let (parameters, taken, Outputs { named: outputs, .. }) =
        result.ok_or_else(|| LowerError::Capture { reason: "the scope was not entered".to_owned() })??;
    let graph = graph?;
    let inputs = specs
        .into_iter()
        .enumerate()
        .map(|(index, spec)| match taken.get(&index) {
            Some((id, 1)) => Ok((spec, *id)),
            other => Err(LowerError::InputUse { name: spec.name, times: other.map_or(0, |(_, times)| *times) }),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut seen = Vec::new();
    for output in &outputs {
        check_name(&output.name, &mut seen)?;
    }
    Ok(Recording { graph, parameters, inputs, outputs })
}

/// The declared inputs as tensors of the capture device, for `forward` to take.
#[derive(Debug)]
pub struct Inputs<'a> {
    device: &'a Device,
    specs: &'a [InputSpec],
    /// By index in `specs`: the id given out last, and how often one was.
    taken: RefCell<BTreeMap<usize, (TensorId, usize)>>,
}

impl Inputs<'_> {
    /// The float input of this name.
    ///
    /// # Errors
    /// When there is none, or it is declared with another rank or as integers.
    pub fn float<const D: usize>(&self, name: &str) -> Result<Tensor<D>, LowerError> {
        let (index, shape) = self.find::<D>(name, DType::F32)?;
        let data = TensorData::new(vec![0f32; shape.iter().product()], shape);
        let tensor = Tensor::<D>::from_data(data, self.device);
        self.note(index, tensor.clone().try_into_primitive::<CaptureBackend>().map_err(not_captured)?.id());
        Ok(tensor)
    }

    /// The integer input of this name.
    ///
    /// # Errors
    /// When there is none, or it is declared with another rank or as floats.
    pub fn int<const D: usize>(&self, name: &str) -> Result<Tensor<D, Int>, LowerError> {
        let (index, shape) = self.find::<D>(name, DType::I32)?;
        let data = TensorData::new(vec![0i64; shape.iter().product()], shape);
        let tensor = Tensor::<D, Int>::from_data(data, self.device);
        self.note(index, tensor.clone().try_into_primitive::<CaptureBackend>().map_err(not_captured)?.id());
        Ok(tensor)
    }

    /// The capture device, for tensors that `forward` makes itself; they become constants.
    pub fn device(&self) -> &Device {
        self.device
    }

    fn find<const D: usize>(&self, name: &str, dtype: DType) -> Result<(usize, [usize; D]), LowerError> {
        let Some(index) = self.specs.iter().position(|spec| spec.name == name) else {
            let declared: Vec<&str> = self.specs.iter().map(|spec| spec.name.as_str()).collect();
            return Err(LowerError::UnknownInput { name: name.to_owned(), declared: declared.join(", ") });
        };
        let spec = &self.specs[index];
        match <[usize; D]>::try_from(spec.shape.as_slice()) {
            Ok(shape) if spec.dtype == dtype => Ok((index, shape)),
            _ => Err(LowerError::InputKind {
                name: name.to_owned(),
                declared: format!("{} of rank {}", spec.dtype.name(), spec.shape.len()),
                taken: format!("{} of rank {D}", dtype.name()),
            }),
        }
    }

    fn note(&self, index: usize, id: TensorId) {
        let mut taken = self.taken.borrow_mut();
        let entry = taken.entry(index).or_insert((id, 0));
        *entry = (id, entry.1 + 1);
    }
}

/// The named results of `forward`, in order.
#[derive(Debug, Default)]
pub struct Outputs {
    named: Vec<Boundary>,
    /// The tensors themselves: Burn wants outputs that are alive when the graph is completed.
    alive: Vec<Box<dyn std::any::Any>>,
}

impl Outputs {
    /// No outputs yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a float output.
    ///
    /// # Errors
    /// When the tensor is not on the capture device.
    pub fn float<const D: usize>(self, name: &str, tensor: Tensor<D>) -> Result<Self, LowerError> {
        let primitive = tensor.try_into_primitive::<CaptureBackend>().map_err(not_captured)?;
        Ok(self.add(name, primitive.id(), Box::new(primitive)))
    }

    /// Adds an integer output.
    ///
    /// # Errors
    /// When the tensor is not on the capture device.
    pub fn int<const D: usize>(self, name: &str, tensor: Tensor<D, Int>) -> Result<Self, LowerError> {
        let primitive = tensor.try_into_primitive::<CaptureBackend>().map_err(not_captured)?;
        Ok(self.add(name, primitive.id(), Box::new(primitive)))
    }

    /// Adds a boolean output.
    ///
    /// # Errors
    /// When the tensor is not on the capture device.
    pub fn bool<const D: usize>(self, name: &str, tensor: Tensor<D, Bool>) -> Result<Self, LowerError> {
        let primitive = tensor.try_into_primitive::<CaptureBackend>().map_err(not_captured)?;
        Ok(self.add(name, primitive.id(), Box::new(primitive)))
    }

    fn add(mut self, name: &str, id: TensorId, tensor: Box<dyn std::any::Any>) -> Self {
        self.named.push(Boundary { name: name.to_owned(), id });
        self.alive.push(tensor);
        self
    }
}

fn not_captured(error: impl std::fmt::Debug) -> LowerError {
    LowerError::Capture { reason: format!("a tensor is not on the capture device: {error:?}") }
}
