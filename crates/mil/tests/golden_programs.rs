//! Every program that Apple's converter wrote is rebuilt from its summary and must be valid.
//!
//! Validation infers each operation's result types and compares them with those that Apple declared, so this
//! holds inference against coremltools over all of them.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use host_tensor::{Bytes, DType, HostTensor};
use mil::{Arg, Block, Const, Dim, Function, Inputs, Literal, Op, Opset, Program, TensorType, Type, ValueId, validate};
use serde_json::Value as Json;
use std::{borrow::Cow, collections::HashMap, path::Path};
use testkit::Summary;

#[test]
fn every_program_of_apples_converter_is_valid() {
    let Some(golden) = testkit::golden() else { return };
    let mut n_programs = 0;
    let mut faults = String::new();
    for name in summary_names(&golden) {
        let summary = Summary::read(&golden, &name).json;
        let Some(functions) = summary["mil"]["functions"].as_object() else { continue };
        for (key, json) in functions {
            let program = Program::single(Rebuild::function(key, json));
            n_programs += 1;
            if let Err(e) = validate(&program) {
                faults += &format!("{name}: {} faults, first {}\n", e.len(), e.iter().next().unwrap());
            }
        }
    }
    assert!(faults.is_empty(), "{faults}");
    assert!(n_programs > 0, "no programs in {}", golden.display());
}

#[test]
fn a_wrong_declaration_in_apples_unet_is_found() {
    let Some(golden) = testkit::golden() else { return };
    let summary = Summary::read(&golden, "tiny-sd15.split_einsum.unet").json;
    let mut function = Rebuild::function("main", &summary["mil"]["functions"]["main"]);
    let victim = function.body.ops.iter().find(|op| op.kind == "einsum").unwrap().output();
    let Type::Tensor(mut ty) = function.ty(victim).clone() else { panic!("an einsum yields a tensor") };
    ty.shape.swap(1, 2);
    function.set_ty(victim, Type::Tensor(ty));
    let program = Program::single(function);
    let faults = validate(&program).unwrap_err();
    assert!(faults.iter().any(|f| f.message.starts_with("einsum yields ")), "{faults}");
}

fn summary_names(golden: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(golden.join("summaries"))
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".json.gz").map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// A function on its way from a summary to the representation; weights are zeros.
struct Rebuild<'j> {
    function: Function,
    ids: HashMap<String, ValueId>,
    weights: HashMap<u64, &'j Json>,
    zeros: Bytes,
}

impl<'j> Rebuild<'j> {
    fn function(name: &str, json: &'j Json) -> Function {
        let weights: HashMap<u64, &Json> =
            array(&json["weights"]).iter().map(|w| (w["offset"].as_u64().unwrap(), w)).collect();
        let largest = weights.values().map(|w| w["nbytes"].as_u64().unwrap()).max().unwrap_or(0);
        let opset = Opset::from_name(json["opset"].as_str().unwrap()).unwrap();
        let mut this = Self {
            function: Function::new(name, opset),
            ids: HashMap::new(),
            weights,
            zeros: Bytes::from(vec![0; usize::try_from(largest).unwrap()]),
        };
        for input in array(&json["inputs"]) {
            let id = this.define(input, None);
            this.function.inputs.push(id);
        }
        let ops = array(&json["ops"]).iter().filter_map(|op| this.op(op)).collect();
        let outputs = array(&json["block_outputs"]).iter().map(|o| this.ids[o.as_str().unwrap()]).collect();
        this.function.body = Block { inputs: Vec::new(), ops, outputs };
        this.function
    }

    fn define(&mut self, feature: &Json, literal: Option<Literal>) -> ValueId {
        let name = feature["name"].as_str().unwrap();
        let ty = match feature["dtype"].as_str().unwrap() {
            "string" => Type::string(),
            dtype => Type::Tensor(TensorType { dtype: dtype_of(dtype), shape: dims(&feature["shape"]) }),
        };
        let id = self.function.add_named(name, ty, literal).unwrap();
        self.ids.insert(name.to_owned(), id);
        id
    }

    /// The operation, or nothing for a constant.
    fn op(&mut self, json: &Json) -> Option<Op> {
        let kind = json["type"].as_str().unwrap();
        let (attributes, outputs) = (&json["attributes"], array(&json["outputs"]));
        if kind == "const" {
            let literal = self.literal(&attributes["val"]);
            self.define(&outputs[0], Some(literal));
            return None;
        }
        let name = attributes["name"].as_str().unwrap();
        let mut inputs = Inputs::new();
        for (param, value) in attributes.as_object().unwrap().iter().filter(|(p, _)| *p != "name") {
            inputs.insert(Cow::Owned(param.clone()), Arg::One(self.inline(name, param, value)));
        }
        for (param, values) in json["inputs"].as_object().into_iter().flatten() {
            let ids: Vec<ValueId> = array(values)
                .iter()
                .map(|v| match v.as_str() {
                    Some(v) => self.ids[v],
                    None => self.inline(name, param, v),
                })
                .collect();
            let arg = if let [one] = ids[..] { Arg::One(one) } else { Arg::Many(ids) };
            inputs.insert(Cow::Owned(param.clone()), arg);
        }
        Some(Op {
            kind: Cow::Owned(kind.to_owned()),
            name: name.into(),
            inputs,
            outputs: outputs.iter().map(|o| self.define(o, None)).collect(),
            blocks: Vec::new(),
            origin: None,
        })
    }

    fn inline(&mut self, op: &str, param: &str, value: &Json) -> ValueId {
        let literal = self.literal(value);
        self.function.add_constant(&format!("{op}_{param}"), literal)
    }

    fn literal(&self, json: &Json) -> Literal {
        if let Some(offset) = json["weight"].as_u64() {
            let weight = self.weights[&offset];
            let (dtype, shape) = (dtype_of(weight["dtype"].as_str().unwrap()), sizes(&weight["shape"]));
            let n_bytes = dtype.byte_len(shape.iter().product()).unwrap();
            return Literal::Tensor(Const::new(HostTensor::new(dtype, shape, self.zeros.slice(..n_bytes)).unwrap()));
        }
        if let Some(s) = json["value"].as_str() {
            return Literal::string(s);
        }
        let (dtype, shape) = (dtype_of(json["dtype"].as_str().unwrap()), sizes(&json["shape"]));
        let mut values = Vec::new();
        flatten(&json["value"], &mut values);
        // Single precision holds every number that these small literals need.
        #[expect(clippy::cast_possible_truncation, reason = "see above")]
        let values: Vec<f32> = values.into_iter().map(|v| v as f32).collect();
        Literal::Tensor(Const::new(HostTensor::from_f32(shape, values).cast(dtype)))
    }
}

fn flatten(json: &Json, into: &mut Vec<f64>) {
    match json {
        Json::Array(items) => items.iter().for_each(|i| flatten(i, into)),
        Json::Bool(b) => into.push(f64::from(u8::from(*b))),
        // JSON has no infinities; the summaries spell them.
        Json::String(s) => into.push(s.parse().unwrap()),
        number => into.push(number.as_f64().unwrap_or(f64::NAN)),
    }
}

fn array(json: &Json) -> &[Json] {
    json.as_array().map_or(&[], Vec::as_slice)
}

fn sizes(json: &Json) -> Vec<usize> {
    array(json).iter().map(|d| usize::try_from(d.as_u64().unwrap()).unwrap()).collect()
}

/// Dimensions, in which a negative number stands for an unknown one.
fn dims(json: &Json) -> Vec<Dim> {
    let dim = |d: &Json| usize::try_from(d.as_i64().unwrap()).map_or(Dim::Unknown, Dim::Size);
    array(json).iter().map(dim).collect()
}

/// The element type under NumPy's name, as the summaries spell it.
fn dtype_of(name: &str) -> DType {
    match name {
        "float16" => DType::F16,
        "float32" => DType::F32,
        other => DType::from_name(other).unwrap_or_else(|| panic!("element type {other}")),
    }
}
