//! Autoencoders in small, in bands and as a whole.

use super::{feature_map::Form, schedule::Act, *};
use crate::reference;
use mil::{Bound, Const, DType, Emitter, FunctionBuilder, Opset, Program, Type, ValueId, validate};
use testkit::Rng;

type Built = Result<ValueId, mil::OpError>;

/// The halves of an autoencoder.
#[derive(Clone, Copy)]
enum Half {
    Decoder,
    Encoder,
}

/// Layers with random weights.
struct Net<'r, 'f> {
    rng: &'r mut Rng,
    e: Emitter<'f>,
    dtype: DType,
}

impl Net<'_, '_> {
    fn channels(&self, x: ValueId) -> usize {
        self.shape(x)[1]
    }

    fn shape(&self, x: ValueId) -> Vec<usize> {
        self.e.function().ty(x).as_tensor().unwrap().static_shape().unwrap()
    }

    fn numbers(&mut self, shape: &[usize], spread: f32) -> Bound {
        let n: usize = shape.iter().product();
        let values: Vec<f32> = self.rng.normals(n).iter().map(|v| v * spread).collect();
        let tensor = HostTensor::from_f32(shape.to_vec(), values).cast(self.dtype);
        Const::new(tensor).into()
    }

    fn conv(&mut self, x: ValueId, to: usize, kernel: usize, stride: usize, pad: [i32; 4]) -> Built {
        let from = self.channels(x);
        let spread = 1.0 / ((from * kernel * kernel) as f32).sqrt();
        let weight = self.numbers(&[to, from, kernel, kernel], spread);
        let bias = self.numbers(&[to], 0.1);
        let stride = stride as i32;
        let args = [
            ("x", x.into()),
            ("weight", weight),
            ("bias", bias),
            ("strides", [stride, stride].into()),
            ("pad_type", "custom".into()),
            ("pad", pad.into()),
            ("dilations", [1, 1].into()),
            ("groups", 1.into()),
        ];
        self.e.op("conv", "conv", args)
    }

    /// Group normalisation as converters spell it, with factors, summands and a silu.
    fn norm(&mut self, x: ValueId, groups: usize) -> Built {
        let shape = self.shape(x);
        let ints = |v: &[usize]| v.iter().map(|&n| n as i32).collect::<Vec<i32>>();
        let grouped = ints(&[1, groups, shape[1] / groups, shape[2], shape[3]]);
        let float = |v: f32| -> Bound { Const::new(HostTensor::from_f32([], vec![v]).cast(self.dtype)).into() };
        let epsilon = float(1e-5);
        let axes: Bound = [2, 3, 4].into();
        let g = self.e.op("reshape", "g", [("x", x.into()), ("shape", grouped.into())])?;
        let mean = |e: &mut Emitter<'_>, x: ValueId, axes: Bound| {
            e.op("reduce_mean", "mean", [("x", x.into()), ("axes", axes), ("keep_dims", true.into())])
        };
        let m = mean(&mut self.e, g, axes.clone())?;
        let s = self.e.op("sub", "s", [("x", g.into()), ("y", m.into())])?;
        let q = self.e.op("square", "q", [("x", s.into())])?;
        let v = mean(&mut self.e, q, axes)?;
        let v = self.e.op("add", "v", [("x", v.into()), ("y", epsilon)])?;
        let v = self.e.op("sqrt", "v", [("x", v.into())])?;
        let n = self.e.op("real_div", "n", [("x", s.into()), ("y", v.into())])?;
        let n = self.e.op("reshape", "n", [("x", n.into()), ("shape", ints(&shape).into())])?;
        let c = shape[1];
        let of = |v: f32| -> Bound { Const::new(HostTensor::from_f32([c], vec![v; c]).cast(self.dtype)).into() };
        let (mean, variance) = (of(0.0), of(1.0));
        let (gamma, beta) = (self.numbers(&[c], 0.7), self.numbers(&[c], 0.2));
        let epsilon: Bound = Const::new(HostTensor::from_f32([], vec![0.0]).cast(self.dtype)).into();
        let args = [
            ("x", n.into()),
            ("mean", mean),
            ("variance", variance),
            ("gamma", gamma),
            ("beta", beta),
            ("epsilon", epsilon),
        ];
        let n = self.e.op("batch_norm", "affine", args)?;
        self.e.op("silu", "activated", [("x", n.into())])
    }

    fn resnet(&mut self, x: ValueId, to: usize) -> Built {
        let h = self.norm(x, 2)?;
        let h = self.conv(h, to, 3, 1, [1; 4])?;
        let h = self.norm(h, 4)?;
        let h = self.conv(h, to, 3, 1, [1; 4])?;
        let x = if self.channels(x) == to { x } else { self.conv(x, to, 1, 1, [0; 4])? };
        self.e.op("add", "sum", [("x", x.into()), ("y", h.into())])
    }

    /// Every pixel sees every other.
    fn attention(&mut self, x: ValueId) -> Built {
        let shape = self.shape(x);
        let n = self.norm(x, 2)?;
        let tokens = [1, 1, shape[1] as i32, (shape[2] * shape[3]) as i32];
        let t = self.e.op("reshape", "t", [("x", n.into()), ("shape", tokens.into())])?;
        let q = self.e.op("transpose", "q", [("x", t.into()), ("perm", [0, 1, 3, 2].into())])?;
        let a = [("query", q.into()), ("key", q.into()), ("value", q.into())];
        let a = self.e.op("scaled_dot_product_attention", "a", a)?;
        let a = self.e.op("transpose", "a", [("x", a.into()), ("perm", [0, 1, 3, 2].into())])?;
        let shape: Vec<i32> = shape.iter().map(|&n| n as i32).collect();
        let a = self.e.op("reshape", "a", [("x", a.into()), ("shape", shape.into())])?;
        self.e.op("add", "seen", [("x", x.into()), ("y", a.into())])
    }

    fn upsample(&mut self, x: ValueId, factor: f32) -> Built {
        let args = [("x", x.into()), ("scale_factor_height", factor.into()), ("scale_factor_width", factor.into())];
        self.e.op("upsample_nearest_neighbor", "larger", args)
    }

    fn decoder(&mut self, z: ValueId) -> Built {
        let x = self.conv(z, 16, 3, 1, [1; 4])?;
        let x = self.resnet(x, 16)?;
        let x = self.attention(x)?;
        let x = self.resnet(x, 8)?;
        let x = self.upsample(x, 2.0)?;
        let x = self.conv(x, 8, 3, 1, [1; 4])?;
        let x = self.resnet(x, 4)?;
        let x = self.upsample(x, 3.0)?;
        let x = self.conv(x, 4, 5, 1, [2; 4])?;
        let x = self.resnet(x, 4)?;
        let x = self.norm(x, 2)?;
        self.conv(x, 3, 3, 1, [1; 4])
    }

    fn encoder(&mut self, x: ValueId) -> Built {
        let x = self.conv(x, 8, 3, 1, [1; 4])?;
        let x = self.resnet(x, 8)?;
        let x = self.conv(x, 8, 3, 2, [0, 1, 0, 1])?;
        let x = self.resnet(x, 16)?;
        let args = [("x", x.into()), ("pad", [0, 0, 0, 0, 0, 1, 0, 1].into()), ("mode", "constant".into())];
        let zero: Bound = Const::new(HostTensor::from_f32([], vec![0.5]).cast(self.dtype)).into();
        let [a, b, c] = args;
        let x = self.e.op("pad", "padded", [a, b, c, ("constant_val", zero)])?;
        let x = self.conv(x, 16, 3, 2, [0; 4])?;
        let x = self.attention(x)?;
        let x = self.norm(x, 4)?;
        self.conv(x, 6, 3, 1, [1; 4])
    }
}

fn program(seed: u64, dtype: DType, shape: &[usize], half: Half) -> Program {
    let mut rng = Rng::new(seed);
    let mut b = FunctionBuilder::new("main", Opset::CoreML8);
    let x = b.input("x", Type::tensor(dtype, shape));
    let mut net_of = Net { rng: &mut rng, e: b.emitter(), dtype };
    let out = match half {
        Half::Decoder => net_of.decoder(x),
        Half::Encoder => net_of.encoder(x),
    };
    let out = out.unwrap();
    let ops = net_of.e.into_ops();
    b.finish_program(ops, &[out])
}

/// The largest difference from the plain run, as a share of its largest value; and the schedule's form and passes.
fn compare(program: &Program, shape: &[usize], seed: u64, room: [usize; 2]) -> (f32, Form, usize) {
    let valid = validate(program).unwrap();
    let values = Rng::new(seed).normals(shape.iter().product());
    let inputs = BTreeMap::from([("x".to_owned(), HostTensor::from_f32(shape.to_vec(), values))]);
    let want = Cpu::compile(valid, Options::default()).unwrap().run(&inputs, &Stop::never()).unwrap();
    let reference = Reference::compile(valid, reference::Options::default()).unwrap();
    let bands = Bands::scheduled(reference, Options::default(), room).unwrap();
    let got = bands.run(&inputs, &Stop::never()).unwrap();
    assert_eq!(want.keys().collect::<Vec<_>>(), got.keys().collect::<Vec<_>>());
    let mut most = 0.0f32;
    for (name, want) in &want {
        assert_eq!((want.shape(), want.dtype()), (got[name].shape(), got[name].dtype()));
        let (a, b) = (want.to_f32_vec(), got[name].to_f32_vec());
        let largest = a.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        most = a.iter().zip(&b).fold(most, |most, (a, b)| most.max((a - b).abs() / largest));
    }
    let n_passes = bands.schedule.acts.iter().filter(|act| matches!(act, Act::Pass(_))).count();
    (most, bands.schedule.form, n_passes)
}

#[test]
fn bands_compute_what_the_whole_is() {
    const ROOMY: usize = 1 << 30;
    let nets: [(&str, Half, [usize; 4]); 4] = [
        ("decoder", Half::Decoder, [1, 4, 9, 7]),
        ("tall decoder", Half::Decoder, [1, 4, 23, 3]),
        ("encoder", Half::Encoder, [1, 3, 36, 20]),
        ("tall encoder", Half::Encoder, [1, 3, 68, 12]),
    ];
    for (name, half, shape) in nets {
        let program = program(7, DType::F32, &shape, half);
        for (seed, workspace) in [(1, 1), (2, 100 << 10), (3, ROOMY)] {
            let (off, form, _) = compare(&program, &shape, seed, [ROOMY, workspace]);
            assert!(off < 2e-5 && form == Form::Single, "{name}, {workspace}: {off:e}, {form:?}");
            let (off, form, _) = compare(&program, &shape, seed, [60 << 10, workspace]);
            assert!(off < 4e-3, "{name}, {workspace}, in half: {off:e}, {form:?}");
            let (off, form, _) = compare(&program, &shape, seed, [0, workspace]);
            assert!(off < 4e-3 && form == Form::Half, "{name}, {workspace}, nothing kept: {off:e}");
        }
    }
}

#[test]
fn programs_in_half_precision_are_computed_in_bands_too() {
    let shape = [1, 4, 11, 6];
    let program = program(9, DType::F16, &shape, Half::Decoder);
    let (off, ..) = compare(&program, &shape, 4, [1 << 30, 10 << 10]);
    assert!(off < 2e-3, "{off:e}");
}

#[test]
fn less_room_means_less_kept() {
    let shape = [1, 4, 64, 64];
    let program = program(3, DType::F32, &shape, Half::Decoder);
    let bytes = |kept: usize| {
        let reference = Reference::compile(validate(&program).unwrap(), reference::Options::default()).unwrap();
        Bands::scheduled(reference, Options::default(), [kept, 1 << 20]).unwrap().schedule.kept_bytes
    };
    let (much, some, little) = (bytes(1 << 30), bytes(2 << 20), bytes(1 << 20));
    assert!(much > some && some > little, "{much}, {some}, {little}");
    assert!(some <= 2 << 20, "{some}");
}

#[test]
fn a_function_without_pictures_has_no_bands() {
    let mut b = FunctionBuilder::new("main", Opset::CoreML6);
    let x = b.input("x", Type::tensor(DType::F32, &[1, 4]));
    let mut e = b.emitter();
    let y = e.op("relu", "y", [("x", x.into())]).unwrap();
    let ops = e.into_ops();
    let program = b.finish_program(ops, &[y]);
    assert!(Bands::compile(validate(&program).unwrap(), None, Options::default(), 1 << 30).unwrap().is_none());
}
