//! How programs grow: one random operation after another.

use crate::common::Growing;
use host_tensor::{DType, HostTensor};
use mil::{Bound, Emitter, FunctionBuilder, OpError, Opset, Program, Type, ValueId, validate};
use testkit::Rng;

impl Growing<'_, '_> {
    /// A value of rank 4, if there is one.
    fn picture(&mut self) -> Option<ValueId> {
        let all: Vec<ValueId> = self.pool.iter().copied().filter(|&v| self.shape(v).len() == 4).collect();
        (!all.is_empty()).then(|| *self.rng.pick(&all))
    }

    /// Half or single precision, small enough that sums of many stay near one.
    fn weight(&mut self, shape: &[usize]) -> Bound {
        let n: usize = shape.iter().product();
        let fan = (n / shape[0].max(1)).max(1) as f32;
        let values: Vec<f32> = self.rng.normals(n).into_iter().map(|v| v / fan.sqrt()).collect();
        let tensor = HostTensor::from_f32(shape.to_vec(), values);
        let tensor = if self.rng.below(2) == 0 { tensor.cast(DType::F16).cast(DType::F32) } else { tensor };
        self.emitter.function_mut().add_constant("w", tensor.into()).into()
    }

    fn step(&mut self) -> Result<ValueId, OpError> {
        let x = self.pick();
        let shape = self.shape(x);
        let rank = shape.len();
        match self.rng.below(17) {
            0..=2 => self.conv(),
            3 => {
                let n = 1 + self.rng.below(40);
                let w = self.weight(&[n, shape[rank - 1]]);
                let mut args = vec![("x", x.into()), ("weight", w)];
                if self.rng.below(2) == 0 {
                    args.push(("bias", self.weight(&[n])));
                }
                self.op("linear", args)
            }
            4 => {
                let kind = *self.rng.pick(&["silu", "relu", "sigmoid", "tanh", "square", "exp", "identity", "erf"]);
                self.op(kind, vec![("x", x.into())])
            }
            5 => match *self.rng.pick(&["EXACT", "TANH_APPROXIMATION", "SIGMOID_APPROXIMATION", "leaky_relu"]) {
                "leaky_relu" => self.op("leaky_relu", vec![("x", x.into()), ("alpha", 0.2f32.into())]),
                mode => self.op("gelu", vec![("x", x.into()), ("mode", mode.into())]),
            },
            6 | 7 => {
                let kind = *self.rng.pick(&["add", "add", "sub", "mul", "maximum", "minimum"]);
                let y: Bound = match self.rng.below(4) {
                    0 => 0.5f32.into(),
                    1 => self.weight(&[shape[rank - 1]]),
                    _ => {
                        let alike: Vec<ValueId> =
                            self.pool.iter().copied().filter(|&v| self.shape(v) == shape).collect();
                        if self.rng.below(3) == 0 { self.pick().into() } else { (*self.rng.pick(&alike)).into() }
                    }
                };
                self.op(kind, vec![("x", x.into()), ("y", y)])
            }
            8 => {
                let mut perm: Vec<i32> = (0..rank as i32).collect();
                (1..rank).rev().for_each(|i| perm.swap(i, self.rng.below(i + 1)));
                self.op("transpose", vec![("x", x.into()), ("perm", perm.into())])
            }
            9 => self.reshape(x, &shape),
            10 => {
                let axis = self.rng.below(rank);
                let parts = if shape[axis].is_multiple_of(2) { 2 } else { 1 };
                self.op("split", vec![("x", x.into()), ("num_splits", parts.into()), ("axis", (axis as i32).into())])
            }
            11 => {
                let alike =
                    |s: &[usize], axis: usize| s.len() == rank && (0..rank).all(|d| d == axis || s[d] == shape[d]);
                let axis = self.rng.below(rank);
                let others: Vec<ValueId> = self.pool.iter().copied().filter(|&v| alike(&self.shape(v), axis)).collect();
                let y = *self.rng.pick(&others);
                let values = if self.rng.below(2) == 0 { vec![x, y] } else { vec![y, x, y] };
                let args =
                    vec![("values", values.into()), ("axis", (axis as i32).into()), ("interleave", false.into())];
                self.op("concat", args)
            }
            12 => self.layer_norm(x, &shape),
            13 => self.group_norm(),
            14 => self.attention(x, &shape),
            15 => {
                let Some(x) = self.picture() else { return Err(OpError::new("no picture")) };
                let f = (1 + self.rng.below(2)) as f32;
                let args =
                    vec![("x", x.into()), ("scale_factor_height", f.into()), ("scale_factor_width", 2f32.into())];
                self.op("upsample_nearest_neighbor", args)
            }
            _ => {
                let axis = self.rng.below(rank);
                let (mut begin, mut end): (Vec<i32>, Vec<i32>) =
                    (vec![0; rank], shape.iter().map(|&d| d as i32).collect());
                begin[axis] = self.rng.below(shape[axis]) as i32;
                end[axis] = begin[axis] + 1 + self.rng.below(shape[axis] - begin[axis] as usize) as i32;
                let stride: Vec<i32> = (0..rank).map(|_| 1 + (self.rng.below(4) == 0) as i32).collect();
                let args =
                    vec![("x", x.into()), ("begin", begin.into()), ("end", end.into()), ("stride", stride.into())];
                self.op("slice_by_index", args)
            }
        }
    }

    fn conv(&mut self) -> Result<ValueId, OpError> {
        let Some(mut x) = self.picture() else { return Err(OpError::new("no picture")) };
        let c = self.shape(x)[1];
        let k = *self.rng.pick(&[1usize, 1, 3, 3, 3, 2]);
        let n = *self.rng.pick(&[1usize, 3, 16, 17, 33, 40]);
        if self.rng.below(6) == 0 {
            x = self.op(
                "pad",
                vec![
                    ("x", x.into()),
                    ("pad", [0, 0, 0, 0, 0, 1, 0, 1].into()),
                    ("mode", "constant".into()),
                    ("constant_val", 0f32.into()),
                ],
            )?;
        }
        let w = self.weight(&[n, c, k, k]);
        let stride = 1 + (self.rng.below(5) == 0) as i32;
        let dilation = 1 + (self.rng.below(8) == 0) as i32;
        let pad: Vec<i32> = (0..4).map(|_| if k == 1 { 0 } else { self.rng.below(3) as i32 }).collect();
        let pad = if self.rng.below(2) == 0 { vec![(k / 2) as i32; 4] } else { pad };
        let kind = *self.rng.pick(&["custom", "custom", "valid", "same"]);
        let mut args = vec![
            ("x", x.into()),
            ("weight", w),
            ("pad_type", kind.into()),
            ("pad", pad.into()),
            ("strides", [stride, stride].into()),
            ("dilations", [dilation, dilation].into()),
            ("groups", 1.into()),
        ];
        if self.rng.below(3) > 0 {
            args.push(("bias", self.weight(&[n])));
        }
        let mut v = self.op("conv", args)?;
        // What is done while results are stored, in the order of residual blocks or nearly.
        if self.rng.below(4) == 0 {
            v = self.op("mul", vec![("x", v.into()), ("y", 0.7f32.into())])?;
        }
        let shape = self.shape(v);
        if self.rng.below(4) == 0 {
            let batch = *self.rng.pick(&[1, shape[0]]);
            let y = self.weight(&[batch, n, 1, 1]);
            v = self.op("add", vec![("x", v.into()), ("y", y)])?;
        }
        if self.rng.below(3) == 0 {
            let alike: Vec<ValueId> = self.pool.iter().copied().filter(|&o| self.shape(o) == shape).collect();
            let y = *self.rng.pick(&alike);
            v = self.op("add", vec![("x", y.into()), ("y", v.into())])?;
        }
        match self.rng.below(6) {
            0 => self.op("silu", vec![("x", v.into())]),
            1 => {
                let a = self.op("mul", vec![("x", v.into()), ("y", 1.702f32.into())])?;
                let s = self.op("sigmoid", vec![("x", a.into())])?;
                self.op("mul", vec![("x", v.into()), ("y", s.into())])
            }
            2 if n.is_multiple_of(2) => {
                let halves = self.emitter.op_multi(
                    "split",
                    "v",
                    vec![("x", v.into()), ("num_splits", 2.into()), ("axis", 1.into())],
                )?;
                let gate = self.rng.below(2);
                let g = self.emitter.op("gelu", "v", [("x", halves[gate].into()), ("mode", "EXACT".into())])?;
                self.op("mul", vec![("x", g.into()), ("y", halves[1 - gate].into())])
            }
            _ => Ok(v),
        }
    }

    fn reshape(&mut self, x: ValueId, shape: &[usize]) -> Result<ValueId, OpError> {
        let axis = self.rng.below(shape.len());
        let how = self.rng.below(4);
        if let Some(to) = Self::split_or_joined(shape, axis, how) {
            return self.op("reshape", vec![("x", x.into()), ("shape", to.into())]);
        }
        let mut to: Vec<i32> = shape.iter().map(|&d| d as i32).collect();
        match how {
            2 if shape.len() == 4 => to = vec![to[0], to[1], 1, to[2] * to[3]],
            _ if shape.len() < 4 => to.insert(axis, 1),
            _ => {}
        }
        self.op("reshape", vec![("x", x.into()), ("shape", to.into())])
    }

    fn layer_norm(&mut self, x: ValueId, shape: &[usize]) -> Result<ValueId, OpError> {
        let axis = self.rng.below(shape.len());
        let (gamma, beta) = (self.weight(&[shape[axis]]), self.weight(&[shape[axis]]));
        let mut args = vec![("x", x.into()), ("axes", [axis as i32].into()), ("epsilon", 0.1f32.into())];
        if self.rng.below(3) > 0 {
            args.extend([("gamma", gamma), ("beta", beta)]);
        }
        self.op("layer_norm", args)
    }

    fn group_norm(&mut self) -> Result<ValueId, OpError> {
        let Some(x) = self.picture() else { return Err(OpError::new("no picture")) };
        let shape = self.shape(x);
        let [n, c, h, w] = shape[..] else { unreachable!() };
        let groups = if c.is_multiple_of(4) { 4 } else { 1 };
        let to = [n, groups, c / groups, h, w].map(|d| d as i32);
        let g = self.emitter.op("reshape", "v", [("x", x.into()), ("shape", to.into())])?;
        let mean = |e: &mut Emitter<'_>, v: ValueId| {
            e.op("reduce_mean", "v", [("x", v.into()), ("axes", [2, 3, 4].into()), ("keep_dims", true.into())])
        };
        let m = mean(&mut self.emitter, g)?;
        let s = self.emitter.op("sub", "v", [("x", g.into()), ("y", m.into())])?;
        let q = self.emitter.op("square", "v", [("x", s.into())])?;
        let q = mean(&mut self.emitter, q)?;
        let e = self.emitter.op("add", "v", [("x", q.into()), ("y", 0.1f32.into())])?;
        let d = self.emitter.op("sqrt", "v", [("x", e.into())])?;
        let y = self.emitter.op("real_div", "v", [("x", s.into()), ("y", d.into())])?;
        if self.rng.below(8) == 0 {
            // A near miss: the centred values have another reader.
            self.pool.push(s);
        }
        let back: Vec<i32> = shape.iter().map(|&d| d as i32).collect();
        let mut v = self.op("reshape", vec![("x", y.into()), ("shape", back.into())])?;
        if self.rng.below(3) > 0 {
            let ones: Bound = HostTensor::from_f32([c], vec![1.0; c]).into_literal();
            let zeros: Bound = HostTensor::from_f32([c], vec![0.0; c]).into_literal();
            let (gamma, beta) = (self.weight(&[c]), self.weight(&[c]));
            let args = vec![
                ("x", v.into()),
                ("mean", zeros),
                ("variance", ones),
                ("gamma", gamma),
                ("beta", beta),
                ("epsilon", 1e-5f32.into()),
            ];
            v = self.op("batch_norm", args)?;
        }
        if self.rng.below(2) == 0 { self.op("silu", vec![("x", v.into())]) } else { Ok(v) }
    }

    /// Self-attention of a tensor's last two dimensions, or of Apple's layout.
    fn attention(&mut self, x: ValueId, shape: &[usize]) -> Result<ValueId, OpError> {
        let rank = shape.len();
        if rank < 2 {
            return Err(OpError::new("too few dimensions"));
        }
        let scale = 1.0 / (shape[rank - 1] as f32).sqrt();
        if rank == 4 && shape[2] == 1 && self.rng.below(4) > 0 {
            let k = self.op("transpose", vec![("x", x.into()), ("perm", [0, 3, 2, 1].into())])?;
            let values = vec![k, x].into();
            let s = self.op("einsum", vec![("values", values), ("equation", "bkhc,bchq->bkhq".into())])?;
            let s = self.op("mul", vec![("x", s.into()), ("y", (1.0 / (shape[1] as f32).sqrt()).into())])?;
            let w = self.op("softmax", vec![("x", s.into()), ("axis", 1.into())])?;
            let values = vec![x, w].into();
            return self.op("einsum", vec![("values", values), ("equation", "bchk,bkhq->bchq".into())]);
        }
        let q = self.op("mul", vec![("x", x.into()), ("y", scale.into())])?;
        let (x_turned, y_turned) = if self.rng.below(3) == 0 { (true, false) } else { (false, true) };
        let flags = vec![("transpose_x", x_turned.into()), ("transpose_y", y_turned.into())];
        let mut s = self.op("matmul", [vec![("x", q.into()), ("y", x.into())], flags].concat())?;
        if self.rng.below(3) == 0 {
            let n = self.shape(s)[rank - 1];
            let mask = self.weight(&[n, n]);
            s = self.op("add", vec![("x", s.into()), ("y", mask)])?;
        }
        let axis = if self.rng.below(4) == 0 { -2 } else { -1 };
        let w = self.op("softmax", vec![("x", s.into()), ("axis", axis.into())])?;
        let flags = vec![("transpose_x", (axis == -2).into()), ("transpose_y", x_turned.into())];
        self.op("matmul", [vec![("x", w.into()), ("y", x.into())], flags].concat())
    }
}

/// Literals as arguments.
trait IntoLiteral {
    fn into_literal(self) -> Bound;
}

impl IntoLiteral for HostTensor {
    fn into_literal(self) -> Bound {
        Bound::Literal(self.into())
    }
}

/// A valid program with pictures of one shape as inputs and one or two results, or nothing when chance made none.
pub(crate) fn grow(rng: &mut Rng, names: &[&str]) -> Option<(Program, Vec<usize>)> {
    let mut builder = FunctionBuilder::new("main", Opset::CoreML8);
    let shape = vec![
        1 + rng.below(2),
        *rng.pick(&[1, 3, 4, 8, 12, 20, 33]),
        *rng.pick(&[1, 2, 5, 8, 13]),
        *rng.pick(&[1, 3, 4, 9, 16]),
    ];
    let pool: Vec<ValueId> = names.iter().map(|name| builder.input(name, Type::tensor(DType::F32, &shape))).collect();
    let mut growing = Growing { rng, emitter: builder.emitter(), pool };
    for _ in 0..9 {
        let _ = growing.step();
        growing.keep_up_to(20_000);
    }
    let candidates: Vec<ValueId> = growing.pool.get(names.len()..)?.to_vec();
    let last = *candidates.last()?;
    let other = *growing.rng.pick(&candidates);
    let ops = growing.emitter.into_ops();
    let outputs = if other == last { vec![last] } else { vec![last, other] };
    let program = builder.finish_program(ops, &outputs);
    validate(&program).is_ok().then_some((program, shape))
}
