//! run(pass(p)) ≈ run(p): passes are exact up to re-association, on random programs full of what they look for.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Growing, text};
use host_tensor::{DType, HostTensor, Stop};
use mil::{Bound, Function, FunctionBuilder, OpError, Opset, Program, Type, ValueId, pass, validate};
use mil_engine::reference::{Options, Reference};
use std::collections::BTreeMap;
use testkit::Rng;

const N_PROGRAMS: u64 = 300;

impl Growing<'_, '_> {
    /// `v`, or sometimes another value of its shape, which makes a pattern a near miss.
    fn nearly(&mut self, v: ValueId) -> ValueId {
        let shape = self.shape(v);
        let others: Vec<ValueId> = self.pool.iter().copied().filter(|&o| self.shape(o) == shape).collect();
        if others.is_empty() || self.rng.below(4) > 0 { v } else { *self.rng.pick(&others) }
    }

    /// A constant of its own, often equal to others of its shape.
    fn constant(&mut self, shape: &[usize]) -> Bound {
        let n = shape.iter().product();
        let values = if self.rng.below(3) == 0 { vec![0.5; n] } else { self.rng.normals(n) };
        let literal = HostTensor::from_f32(shape.to_vec(), values).into();
        self.emitter.function_mut().add_constant("c", literal).into()
    }

    fn step(&mut self) -> Result<ValueId, OpError> {
        let x = self.pick();
        let shape = self.shape(x);
        let rank = shape.len();
        match self.rng.below(16) {
            0 => {
                let kind = *self.rng.pick(&["sigmoid", "tanh", "relu", "square", "silu", "identity"]);
                self.op(kind, vec![("x", x.into())])
            }
            1 => {
                let kind = *self.rng.pick(&["add", "sub", "mul"]);
                let y = self.pick();
                self.op(kind, vec![("x", x.into()), ("y", y.into())])
            }
            2 => self.with_constant(x, &shape),
            3 => {
                let mut perm: Vec<i32> = (0..rank as i32).collect();
                for i in (1..rank).rev() {
                    perm.swap(i, self.rng.below(i + 1));
                }
                self.op("transpose", vec![("x", x.into()), ("perm", perm.into())])
            }
            4 => {
                let to = self.other_shape(&shape);
                self.op("reshape", vec![("x", x.into()), ("shape", to.into())])
            }
            5 => {
                let (inner, transposed) = (*shape.last().unwrap(), self.rng.below(2) == 0);
                let y = self.constant(&if transposed { [3, inner] } else { [inner, 3] });
                self.op("matmul", vec![("x", x.into()), ("y", y), ("transpose_y", transposed.into())])
            }
            6 => {
                let y = self.pick();
                let flags = [self.rng.below(2) == 0, self.rng.below(2) == 0];
                let flags = [("transpose_x", flags[0].into()), ("transpose_y", flags[1].into())];
                self.op("matmul", [vec![("x", x.into()), ("y", y.into())], flags.to_vec()].concat())
            }
            7 => {
                let axis = self.rng.below(rank) as i32;
                self.op("softmax", vec![("x", x.into()), ("axis", axis.into())])
            }
            8 => self.normalisation(x, &shape),
            9 => {
                let s = self.op("sigmoid", vec![("x", x.into())])?;
                let x = self.nearly(x);
                self.op("mul", vec![("x", s.into()), ("y", x.into())])
            }
            10 => self.halves(x, &shape),
            11 => {
                let axes = vec![self.rng.below(rank) as i32];
                let m = self.op(
                    "reduce_max",
                    vec![("x", x.into()), ("axes", axes.clone().into()), ("keep_dims", true.into())],
                )?;
                self.op("squeeze", vec![("x", m.into()), ("axes", axes.into())])
            }
            12 => {
                let a = self.op("real_div", vec![("x", x.into()), ("y", std::f32::consts::SQRT_2.into())])?;
                let e = self.op("erf", vec![("x", a.into())])?;
                let p = self.op("add", vec![("x", e.into()), ("y", 1f32.into())])?;
                let x = self.nearly(x);
                let h = self.op("mul", vec![("x", x.into()), ("y", p.into())])?;
                self.op("mul", vec![("x", h.into()), ("y", 0.5f32.into())])
            }
            13 => {
                let c = self.constant(&[shape[0], 2]);
                let turned = self.op("transpose", vec![("x", c), ("perm", vec![1, 0].into())])?;
                self.op("matmul", vec![("x", turned.into()), ("y", x.into())])
            }
            14 if rank >= 3 => {
                let image = [shape[0] as i32, shape[1] as i32, 1, -1];
                let x = self.op("reshape", vec![("x", x.into()), ("shape", image.to_vec().into())])?;
                let (gamma, beta) = (self.constant(&[1, shape[1], 1, 1]), self.constant(&[shape[1], 1, 1]));
                let m = self.op("mul", vec![("x", x.into()), ("y", gamma)])?;
                self.op("add", vec![("x", beta), ("y", m.into())])
            }
            _ => {
                let axis = self.rng.below(rank) as i32;
                let y = self.pick();
                let args = vec![("values", vec![x, y].into()), ("axis", axis.into()), ("interleave", false.into())];
                self.op("concat", args)
            }
        }
    }

    /// A constant of one of the shapes that passes look for, or nearly.
    fn with_constant(&mut self, x: ValueId, shape: &[usize]) -> Result<ValueId, OpError> {
        let last = *shape.last().unwrap();
        let y: Bound = match self.rng.below(7) {
            0 => 0f32.into(),
            1 => 1f32.into(),
            2 => self.constant(&[last]),
            3 => self.constant(&[1, last]),
            4 => self.constant(&[last, 1]),
            5 if shape.len() == 4 => self.constant(&[1, shape[1], 1, 1]),
            _ => self.constant(shape),
        };
        let kind = *self.rng.pick(&["add", "add", "sub", "mul", "mul"]);
        self.op(kind, vec![("x", x.into()), ("y", y)])
    }

    /// Spelt-out normalisation over the last axis, sometimes of groups, sometimes with an affine map.
    fn normalisation(&mut self, x: ValueId, shape: &[usize]) -> Result<ValueId, OpError> {
        let groups = if shape.len() == 4 && shape[1].is_multiple_of(2) && self.rng.below(2) == 0 { 2 } else { 0 };
        let mut v = x;
        if groups > 0 {
            let to = vec![shape[0] as i32, groups, -1];
            v = self.op("reshape", vec![("x", x.into()), ("shape", to.into())])?;
        }
        let axes = vec![self.shape(v).len() as i32 - 1];
        let mean = |v: ValueId| vec![("x", v.into()), ("axes", axes.clone().into()), ("keep_dims", true.into())];
        let m = self.op("reduce_mean", mean(v))?;
        let m = self.nearly(m);
        let s = self.op("sub", vec![("x", v.into()), ("y", m.into())])?;
        let root = self.nearly(s);
        let q = self.op("square", vec![("x", root.into())])?;
        let q = self.op("reduce_mean", mean(q))?;
        let e = self.op("add", vec![("x", q.into()), ("y", 0.1f32.into())])?;
        let d = self.op("sqrt", vec![("x", e.into())])?;
        let n = self.op("real_div", vec![("x", s.into()), ("y", d.into())])?;
        if groups > 0 {
            let back: Vec<i32> = shape.iter().map(|&d| d as i32).collect();
            return self.op("reshape", vec![("x", n.into()), ("shape", back.into())]);
        }
        let last = *shape.last().unwrap();
        let affine: &[usize] = if self.rng.below(3) == 0 { &[last, 1] } else { &[last] };
        let (gamma, beta) = (self.constant(affine), self.constant(&[last]));
        let g = self.op("mul", vec![("x", n.into()), ("y", gamma)])?;
        self.op("add", vec![("x", g.into()), ("y", beta)])
    }

    /// Two slices along one axis that mostly meet.
    fn halves(&mut self, x: ValueId, shape: &[usize]) -> Result<ValueId, OpError> {
        let axis = self.rng.below(shape.len());
        let middle = (shape[axis] / 2).max(1);
        let end: Vec<i32> = shape.iter().map(|&d| d as i32).collect();
        let (mut first_end, mut begin) = (end.clone(), vec![0; shape.len()]);
        first_end[axis] = middle as i32;
        let a = vec![("x", x.into()), ("begin", begin.clone().into()), ("end", first_end.into())];
        self.op("slice_by_index", a)?;
        begin[axis] = (middle - self.rng.below(2)) as i32;
        self.op("slice_by_index", vec![("x", x.into()), ("begin", begin.into()), ("end", end.into())])
    }

    /// The same elements in another shape: an axis split, two joined, or one of size one added.
    fn other_shape(&mut self, shape: &[usize]) -> Vec<i32> {
        let axis = self.rng.below(shape.len());
        let how = self.rng.below(4);
        if let Some(to) = Self::split_or_joined(shape, axis, how) {
            return to;
        }
        let mut to: Vec<i32> = shape.iter().map(|&d| d as i32).collect();
        match how {
            2 if shape.len() < 5 => to.insert(axis, 1),
            _ => {}
        }
        to
    }
}

/// A valid program with one input `x` [1, 4, 6] and one or two results, or nothing when chance made none.
fn grow(rng: &mut Rng) -> Option<Program> {
    let mut builder = FunctionBuilder::new("main", Opset::CoreML6);
    let x = builder.input("x", Type::tensor(DType::F32, &[1, 4, 6]));
    let mut growing = Growing { rng, emitter: builder.emitter(), pool: vec![x] };
    for _ in 0..14 {
        // What does not fit together is not added; what is empty, a scalar, or large is not used again.
        let _ = growing.step();
        growing.keep_up_to(4096);
    }
    let candidates: Vec<ValueId> = growing.pool[1..].to_vec();
    let last = *candidates.last()?;
    let other = *growing.rng.pick(&candidates);
    let ops = growing.emitter.into_ops();
    let outputs = if other == last { vec![last] } else { vec![last, other] };
    let program = builder.finish_program(ops, &outputs);
    // The results must depend on x, or a pass makes the program invalid by saying so.
    let mut live = program.clone();
    pass::eliminate_dead_code(live.functions.get_mut("main")?).ok()?;
    (validate(&program).is_ok() && validate(&live).is_ok()).then_some(program)
}

fn run(program: &Program, x: &HostTensor) -> BTreeMap<String, HostTensor> {
    let valid = validate(program).unwrap_or_else(|e| panic!("{e}\n{}", text(program)));
    let engine = Reference::compile(valid, Options::default()).unwrap();
    engine.run(&BTreeMap::from([("x".to_owned(), x.clone())]), &Stop::never()).unwrap()
}

/// A program with what it computes from `x`.
struct Case {
    program: Program,
    x: HostTensor,
    results: BTreeMap<String, HostTensor>,
}

impl Case {
    /// The same names, shapes and numbers before and after `rewrite`; returns how often it rewrote.
    fn check(&self, name: &str, rewrite: impl Fn(&mut Function) -> Result<usize, pass::PassError>) -> usize {
        let mut after = self.program.clone();
        let n = rewrite(after.functions.get_mut("main").unwrap())
            .unwrap_or_else(|e| panic!("{name}: {e}\n{}", text(&self.program)));
        let results = if n == 0 { BTreeMap::new() } else { run(&after, &self.x) };
        for (output, got) in results {
            let want = &self.results[&output];
            let (want_values, got_values) = (want.to_f32_vec(), got.to_f32_vec());
            let largest = want_values.iter().fold(1f32, |m, v| m.max(v.abs()));
            let near = |(a, b): (&f32, &f32)| a == b || (a - b).abs() <= 1e-4 * largest || (a.is_nan() && b.is_nan());
            assert!(
                want.shape() == got.shape() && want_values.iter().zip(&got_values).all(near),
                "{name} changes {output}:\n{}\n{}\n{want_values:?}\n{got_values:?}",
                text(&self.program),
                text(&after),
            );
        }
        n
    }
}

#[test]
fn passes_do_not_change_what_a_program_computes() {
    use pass::AttentionLayout::{Original, SplitEinsum, SplitEinsumV2};
    let mut rewrites: BTreeMap<&str, usize> = BTreeMap::new();
    let mut n_programs = 0;
    for seed in 0..N_PROGRAMS {
        let mut rng = Rng::new(seed);
        let Some(program) = grow(&mut rng) else { continue };
        n_programs += 1;
        let x = HostTensor::from_f32([1, 4, 6], rng.normals(24));
        let case = Case { results: run(&program, &x), program, x };
        for &(name, pass) in pass::TIDY {
            *rewrites.entry(name).or_default() += case.check(name, pass);
        }
        case.check("tidy", pass::tidy);
        let layout = *rng.pick(&[Original, SplitEinsum, SplitEinsumV2]);
        let moved = |f: &mut Function| Ok(pass::tidy(f)? + pass::channels_first(f, layout)? + pass::tidy(f)?);
        *rewrites.entry("channels_first").or_default() += case.check("channels_first", moved);
    }
    assert!(n_programs > N_PROGRAMS / 2, "only {n_programs} programs");
    // Programs that no pass cares for would show nothing.
    let idle: Vec<_> = rewrites.iter().filter(|(_, n)| **n == 0).collect();
    assert!(idle.is_empty(), "never rewrote: {idle:?}");
}

/// Half precision rounds, so only the border is compared.
#[test]
fn half_precision_keeps_the_border() {
    for seed in 0..N_PROGRAMS {
        let mut rng = Rng::new(seed);
        let Some(program) = grow(&mut rng) else { continue };
        let mut after = program.clone();
        let main = after.functions.get_mut("main").unwrap();
        pass::to_f16(main).unwrap_or_else(|e| panic!("{e}\n{}", text(&program)));
        pass::tidy(main).unwrap();
        assert!(validate(&after).is_ok(), "{}", text(&after));
        let border = |p: &Program| {
            let main = p.main().unwrap();
            let values = main.inputs.iter().chain(&main.body.outputs);
            values.map(|&v| (main.name_of(v).to_owned(), main.ty(v).clone())).collect::<Vec<_>>()
        };
        assert_eq!(border(&program), border(&after));
    }
}
