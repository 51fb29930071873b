//! One run of a function.

use super::{
    call::{Call, Slot},
    constants::Constants,
    control_flow,
    engine::Reference,
    kernels::{Effect, Kernel},
    options::Rounding,
    plan::{Action, Plan, Step, declared_operands, shape_agrees},
    state::States,
    value::{Data, Tensor, round_all, wrap_int},
    watch::{Census, NonFinite, Watch},
};
use crate::{EngineError, OpFault, OpSite};
use host_tensor::Stop;
use mil::{Literal, Type, ValueId};

/// The values of one run.
pub(crate) struct Run<'a> {
    pub(super) engine: &'a Reference,
    states: &'a mut States,
    constants: &'a Constants,
    values: Vec<Option<Tensor>>,
    watch: Option<Watch>,
    stop: &'a Stop,
}

impl<'a> Run<'a> {
    /// A run that has not begun.
    pub(crate) fn new(engine: &'a Reference, constants: &'a Constants, states: &'a mut States, stop: &'a Stop) -> Self {
        Self { engine, states, constants, values: vec![None; engine.function.values().len()], watch: None, stop }
    }

    /// The same, watched for values that are not finite.
    pub(super) fn watched(self) -> Self {
        Self { watch: Some(Watch::new(self.values.len())), ..self }
    }

    /// The first operation with such values, when the run was watched.
    pub(super) fn into_non_finite(self) -> Option<NonFinite> {
        self.watch?.into_first()
    }

    /// Runs the whole function; `arguments` are its inputs without states.
    pub(super) fn function(&mut self, arguments: Vec<Tensor>) -> Result<Vec<Tensor>, EngineError> {
        self.begin(arguments);
        self.block(&self.engine.plan)?;
        self.engine.plan.outputs.iter().map(|&id| self.get(id)).collect()
    }

    /// Sets the function's inputs without states.
    pub(crate) fn begin(&mut self, arguments: Vec<Tensor>) {
        let function = &self.engine.function;
        let tensors = function.inputs.iter().filter(|&&id| !matches!(function.ty(id), Type::State(_)));
        for (&id, tensor) in tensors.zip(arguments) {
            self.set(id, tensor);
        }
    }

    /// Executes one operation of the function's body, whose operands are set.
    pub(crate) fn execute(&mut self, op: usize) -> Result<(), EngineError> {
        let engine = self.engine;
        self.step(&engine.plan.steps[op])
    }

    /// Executes the operations that decode a value from constants.
    pub(crate) fn decode(&mut self, id: ValueId) -> Result<(), EngineError> {
        let engine = self.engine;
        if engine.function.literal(id).is_some() {
            return Ok(());
        }
        let decodes = |op: &mil::Op| op.is_constexpr() && op.outputs.contains(&id);
        let Some(at) = engine.function.body.ops.iter().position(decodes) else {
            return Err(EngineError::Undefined { name: engine.function.name_of(id).to_string() });
        };
        for operand in engine.function.body.ops[at].operands() {
            self.decode(operand)?;
        }
        self.execute(at)
    }

    /// Forgets a value.
    pub(crate) fn forget(&mut self, id: ValueId) {
        self.values[id.index()] = None;
    }

    /// The error of an operation of the function's body.
    pub(crate) fn fault_of(&self, op: usize, fault: OpFault) -> EngineError {
        self.fault(&self.engine.plan.steps[op], fault)
    }

    /// Runs the operations of a block, whose inputs are set.
    pub(super) fn block(&mut self, plan: &'a Plan) -> Result<(), EngineError> {
        plan.steps.iter().try_for_each(|step| self.step(step))
    }

    /// Gives a value to a name.
    pub(crate) fn set(&mut self, id: ValueId, tensor: Tensor) {
        if let Some(watch) = &mut self.watch {
            watch.note(id, &tensor);
        }
        self.values[id.index()] = Some(tensor);
    }

    /// The tensor of a value, constants included.
    pub(crate) fn get(&self, id: ValueId) -> Result<Tensor, EngineError> {
        let value = self.engine.function.value(id);
        let undefined = || EngineError::Undefined { name: value.name.to_string() };
        match (&self.values[id.index()], &value.literal) {
            (Some(t), _) => Ok(t.clone()),
            (None, Some(Literal::Tensor(c))) => {
                self.constants.read(id, c, self.engine.options.max_elements).map_err(|_| undefined())
            }
            _ => Err(undefined()),
        }
    }

    /// The error of a step whose operands are as declared.
    pub(super) fn fault(&self, step: &Step, fault: OpFault) -> EngineError {
        self.fault_at(step, declared_operands(&self.engine.function, &step.op), fault)
    }

    fn fault_at(&self, step: &Step, operands: String, fault: OpFault) -> EngineError {
        EngineError::Op { site: Box::new(site(step, operands)), fault }
    }

    /// An error when the run is to stop.
    fn check_stop(&self) -> Result<(), EngineError> {
        if self.stop.is_set() { Err(EngineError::Stopped) } else { Ok(()) }
    }

    fn step(&mut self, step: &'a Step) -> Result<(), EngineError> {
        self.check_stop()?;
        match step.action {
            Action::Kernel(kernel) if self.is_kept(kernel, step) => self.recall(step),
            Action::Kernel(kernel) => self.evaluate(kernel, step)?,
            Action::Cond => control_flow::cond(self, step)?,
            Action::While => control_flow::while_loop(self, step)?,
            Action::ReadState => self.read_state(step)?,
            Action::WriteState => self.write_state(step)?,
        }
        for id in &step.dying {
            self.values[id.index()] = None;
        }
        if self.engine.kept.is_none() {
            step.dying_constants.iter().for_each(|&id| self.constants.forget(id));
        }
        Ok(())
    }

    /// True when an earlier run has decoded this weight already.
    fn is_kept(&self, kernel: &Kernel, step: &Step) -> bool {
        kernel.effect == Effect::Decodes
            && self.engine.kept.is_some()
            && step.op.outputs.iter().all(|&id| self.constants.get(id).is_some())
    }

    fn recall(&mut self, step: &Step) {
        for &id in &step.op.outputs {
            self.values[id.index()] = self.constants.get(id);
        }
    }

    fn evaluate(&mut self, kernel: &Kernel, step: &'a Step) -> Result<(), EngineError> {
        let mut call = self.call(step)?;
        let mut before: Vec<Census> = Vec::new();
        let computed = (kernel.eval)(&mut call);
        // A kernel that saw the request has left out a part of its results.
        self.check_stop()?;
        let evaluated = computed.and_then(|results| {
            if self.watch.is_some() {
                before = results.iter().map(Census::of).collect();
            }
            self.settle(kernel, step, results)
        });
        let results = match evaluated {
            Ok(results) => results,
            Err(fault) => return Err(self.fault_at(step, call.describe(), fault)),
        };
        if let Some(watch) = &mut self.watch {
            for ((&id, census), tensor) in step.op.outputs.iter().zip(before).zip(&results) {
                let how = (step, kernel.effect);
                watch.judge(&self.engine.function, how, (id, census), tensor, || site(step, call.describe()));
            }
        }
        for (&id, tensor) in step.op.outputs.iter().zip(results) {
            if kernel.effect == Effect::Decodes && self.engine.kept.is_some() {
                self.constants.keep(id, &tensor);
                self.forget_sources(step);
            }
            self.set(id, tensor);
        }
        Ok(())
    }

    /// Frees what a kept weight was decoded from.
    fn forget_sources(&self, step: &Step) {
        let literals = step.op.operands().filter(|&id| self.engine.function.literal(id).is_some());
        literals.for_each(|id| self.constants.forget(id));
    }

    /// Collects a step's operands; values that die here leave the run, so that the kernel may overwrite them.
    fn call(&mut self, step: &'a Step) -> Result<Call<'a>, EngineError> {
        let function = &self.engine.function;
        let mut slots = Vec::with_capacity(step.op.inputs.len());
        for (param, arg) in &step.op.inputs {
            let mut bound = Vec::with_capacity(arg.values().len());
            for &id in arg.values() {
                let value = function.value(id);
                bound.push(match &value.literal {
                    Some(_) => Slot::constant(value, id),
                    None => Slot::computed(value, id, self.get(id)?),
                });
            }
            slots.push((param.as_ref(), bound));
        }
        for id in &step.dying {
            self.values[id.index()] = None;
        }
        let spec = mil::ops::lookup(&step.op.kind, function.opset);
        let limit = self.engine.options.max_elements;
        Ok(Call { spec, slots, constants: self.constants, limit, stop: self.stop })
    }

    /// Brings results to their declared types, and checks that they are of them.
    fn settle(&self, kernel: &Kernel, step: &Step, mut results: Vec<Tensor>) -> Result<Vec<Tensor>, OpFault> {
        if results.len() != step.op.outputs.len() {
            let (declared, actual) =
                (format!("{} results", step.op.outputs.len()), format!("one of {}", results.len()));
            return Err(OpFault::Result { position: results.len(), declared, actual });
        }
        for (position, (&id, tensor)) in step.op.outputs.iter().zip(&mut results).enumerate() {
            let declared = self.engine.function.ty(id);
            let ty = declared.as_tensor().filter(|ty| shape_agrees(tensor.shape(), ty));
            let kind = ty.map(|ty| kind_of(ty.dtype));
            let (Some(ty), true) = (ty, kind == Some(tensor.kind())) else {
                let actual = format!("{}{:?}", tensor.kind(), tensor.shape());
                return Err(OpFault::Result { position, declared: declared.to_string(), actual });
            };
            let rounds = self.engine.options.rounding == Rounding::Declared || kernel.effect == Effect::Decodes;
            if kernel.effect == Effect::Moves {
                continue;
            }
            match tensor.data() {
                Data::Float(_) if rounds && ty.dtype.bits() < 32 => round_all(ty.dtype, tensor.floats_mut()?),
                Data::Int(_) if ty.dtype.bits() < 64 => {
                    tensor.ints_mut()?.iter_mut().for_each(|v| *v = wrap_int(ty.dtype, *v));
                }
                _ => {}
            }
        }
        Ok(results)
    }
}

impl Run<'_> {
    /// `read_state(input)`: the state's tensor.
    fn read_state(&mut self, step: &Step) -> Result<(), EngineError> {
        let engine = self.engine;
        let name = &engine.function.value(self.bound(step, "input")?).name;
        let missing = || OpFault::Missing { param: name.to_string() };
        let tensor = self.states.get(name).ok_or_else(|| self.fault(step, missing()))?;
        step.op.outputs.iter().for_each(|&id| self.set(id, tensor.clone()));
        Ok(())
    }

    /// `write_state(input, data)`: replaces the state's tensor.
    fn write_state(&mut self, step: &Step) -> Result<(), EngineError> {
        let engine = self.engine;
        let state = engine.function.value(self.bound(step, "input")?);
        let mut tensor = self.get(self.bound(step, "data")?)?;
        let Type::State(ty) = &state.ty else {
            let actual = state.ty.to_string();
            return Err(self.fault(step, OpFault::Kind { param: "input".into(), expected: "a state", actual }));
        };
        if !shape_agrees(tensor.shape(), ty) {
            let actual = format!("{}{:?}", tensor.kind(), tensor.shape());
            return Err(self.fault(step, OpFault::Result { position: 0, declared: ty.to_string(), actual }));
        }
        if self.engine.options.rounding == Rounding::Declared {
            let rounded = tensor.floats_mut().map(|v| round_all(ty.dtype, v));
            rounded.map_err(|fault| self.fault(step, fault))?;
        }
        self.states.set(state.name.clone(), tensor);
        Ok(())
    }

    fn bound(&self, step: &Step, param: &str) -> Result<ValueId, EngineError> {
        step.op.input(param).ok_or_else(|| self.fault(step, OpFault::Missing { param: param.into() }))
    }
}

fn site(step: &Step, operands: String) -> OpSite {
    let name = step.op.origin.as_ref().unwrap_or(&step.op.name).to_string();
    OpSite { index: step.index, name, kind: step.op.kind.to_string(), operands }
}

/// How tensors of a declared type are held.
const fn kind_of(dtype: mil::DType) -> &'static str {
    match dtype {
        mil::DType::Bool => "bool",
        d if d.is_float() => "float",
        _ => "int",
    }
}
