//! parse(print(p)) == p for programs grown from random bytes.

use super::*;
use crate::ir::{Inputs, ValueId};
use host_tensor::{Bytes, element_count};
use proptest::prelude::*;

/// Decisions taken from bytes, all zero when they are used up, so that fewer bytes make smaller programs.
struct Choices<'a>(std::slice::Iter<'a, u8>);

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        self.0.next().copied().unwrap_or(0)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::from(self.byte()) % n
    }

    fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())].clone()
    }

    fn string(&mut self) -> String {
        let pieces = ["a", "é", "\"", "\\", "\n", "`", "state", "int4", " ", "_1", "\u{1}", "x"];
        (0..self.below(4)).map(|_| self.pick(&pieces)).collect()
    }

    fn shape(&mut self) -> Vec<usize> {
        (0..self.below(4)).map(|_| self.below(4)).collect()
    }

    fn tensor_type(&mut self) -> TensorType {
        let dtype = self.pick(&DType::ALL);
        let dims = self.shape().into_iter().map(|n| if n == 3 { Dim::Unknown } else { Dim::Size(n) }).collect();
        TensorType { dtype, shape: dims }
    }

    fn ty(&mut self) -> Type {
        match self.below(6) {
            0 => Type::Strings(self.tensor_type().shape),
            1 => Type::List(Box::new(Type::Tensor(self.tensor_type())), self.pick(&[Dim::Unknown, Dim::Size(2)])),
            2 => Type::Tuple((0..self.below(3)).map(|_| Type::Tensor(self.tensor_type())).collect()),
            3 => Type::Dict(Box::new(Type::string()), Box::new(Type::Tensor(self.tensor_type()))),
            4 => Type::State(self.tensor_type()),
            _ => Type::Tensor(self.tensor_type()),
        }
    }

    fn constant(&mut self, dtype: DType, shape: Vec<usize>) -> Const {
        let n_bytes = element_count(&shape).and_then(|n| dtype.byte_len(n)).unwrap();
        let mut data: Vec<u8> = (0..n_bytes).map(|_| self.byte()).collect();
        if dtype == DType::Bool {
            data.iter_mut().for_each(|b| *b &= 1);
        }
        let tensor = HostTensor::new(dtype, shape, Bytes::from(data)).unwrap();
        // Through f64 and back: one NaN only, and zeros behind the last packed element.
        let canonical =
            if dtype.is_float() { tensor.cast(DType::F64).cast(dtype) } else { tensor.cast(DType::I64).cast(dtype) };
        let any_nan = dtype.is_float() && canonical.to_f32_vec().iter().any(|x| x.is_nan());
        let mut constant = Const::new(if any_nan {
            HostTensor::new(dtype, canonical.shape(), vec![0; n_bytes].into()).unwrap()
        } else {
            canonical
        });
        if self.below(5) == 0 {
            let offset = 64 * self.below(6) as u64;
            constant = located(constant, self.pick(&["@model_path/weights/weight.bin", "a \"b\""]), offset);
        }
        constant
    }

    fn literal(&mut self, depth: usize) -> Literal {
        match self.below(if depth == 0 { 4 } else { 7 }) {
            0 => Literal::string(self.string()),
            1 => {
                let shape = self.shape();
                let values = (0..element_count(&shape).unwrap()).map(|_| self.string().into()).collect();
                Literal::Strings { shape, values }
            }
            2 | 3 => {
                let dtype = self.pick(&DType::ALL);
                let shape = self.shape();
                self.constant(dtype, shape).into()
            }
            4 => Literal::Tuple((0..self.below(3)).map(|_| self.literal(depth - 1)).collect()),
            5 => {
                let item = self.literal(depth - 1);
                Literal::List(item.ty(), vec![item; self.below(3)])
            }
            _ => {
                let (key, value) = (Literal::string(self.string()), self.literal(depth - 1));
                Literal::Dict(key.ty(), value.ty(), vec![(key, value); self.below(3)])
            }
        }
    }

    fn value(&mut self, f: &mut Function, literal: Option<Literal>) -> ValueId {
        let ty = literal.as_ref().map_or_else(|| self.ty(), Literal::ty);
        let name = self.string();
        match f.add_named(&name, ty.clone(), literal.clone()) {
            Some(id) => id,
            None => f.add_named(&f.fresh_name(&name), ty, literal).unwrap(),
        }
    }

    fn operand(&mut self, f: &mut Function, visible: &[ValueId]) -> ValueId {
        if visible.is_empty() || self.below(3) == 0 {
            let literal = self.literal(2);
            return self.value(f, Some(literal));
        }
        self.pick(visible)
    }

    fn op(&mut self, f: &mut Function, visible: &mut Vec<ValueId>, depth: usize) -> Op {
        let kind = self.pick(&["add", "cond", "constexpr_lut_to_dense", "constexpr_cast", "odd kind"]);
        let mut inputs = Inputs::new();
        for param in ["x", "name", "a b", "values"].into_iter().take(self.below(5)) {
            let arg = if param == "values" {
                Arg::Many((0..self.below(3)).map(|_| self.operand(f, visible)).collect())
            } else {
                Arg::One(self.operand(f, visible))
            };
            inputs.insert(param.into(), arg);
        }
        let n_blocks = if kind == "cond" && depth > 0 { self.below(3) } else { 0 };
        let blocks = (0..n_blocks).map(|_| self.block(f, visible, true, depth - 1)).collect();
        let outputs: Vec<ValueId> = (0..self.below(3)).map(|_| self.value(f, None)).collect();
        visible.extend(&outputs);
        Op { kind: kind.into(), name: self.string().into(), inputs, outputs, blocks, origin: None }
    }

    fn block(&mut self, f: &mut Function, outside: &[ValueId], has_inputs: bool, depth: usize) -> Block {
        let mut visible = outside.to_vec();
        let inputs: Vec<ValueId> =
            if has_inputs { (0..self.below(3)).map(|_| self.value(f, None)).collect() } else { vec![] };
        visible.extend(&inputs);
        let ops = (0..self.below(4)).map(|_| self.op(f, &mut visible, depth)).collect();
        let outputs = (0..self.below(3)).map(|_| self.operand(f, &visible)).collect();
        Block { inputs, ops, outputs }
    }

    fn program(&mut self) -> Program {
        let mut program = Program::default();
        for _ in 0..=self.below(2) {
            let mut f = Function::new(self.string(), self.pick(&Opset::ALL));
            f.inputs = (0..self.below(3)).map(|_| self.value(&mut f, None)).collect();
            let inputs = f.inputs.clone();
            f.body = self.block(&mut f, &inputs, false, 2);
            f.attributes = (0..self.below(2)).map(|_| (self.string(), self.literal(3))).collect();
            program.functions.insert(f.name.clone(), f);
        }
        program.attributes = (0..self.below(3)).map(|_| (self.string(), self.literal(3))).collect::<BTreeMap<_, _>>();
        program
    }
}

proptest! {
    #[test]
    fn parsing_inverts_printing(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        short in any::<Option<bool>>(),
        blob_threshold in prop_oneof![Just(0), Just(10), Just(usize::MAX)],
    ) {
        let program = Choices(bytes.iter()).program();
        let dialect = short.map(|short| if short { Dialect::Short } else { Dialect::Verbose });
        let printed = print(&program, &PrintOptions { dialect, blob_threshold });
        match parse(&printed.text, &printed.blobs) {
            Ok(again) => prop_assert!(again == program, "{}", printed.text),
            Err(e) => prop_assert!(false, "{e}\n{}", printed.text),
        }
    }
}
