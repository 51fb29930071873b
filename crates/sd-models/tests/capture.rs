//! Every network runs on Burn's capture device and records what a converter can take apart.

mod common;

use std::collections::BTreeMap;

use burn::backend::capture::{CaptureBackend, TensorId};
use burn::backend::ir::OperationIr;
use burn::tensor::{Device, Int, Tensor, TensorData};
use sd_models::{
    AddedConditions, ClipTextConfig, Configuration, Features, Network, NetworkConfig, Role, UNetConditions, UNetConfig,
    VaeConfig, WithNetwork,
};
use sd_spec::{Axis, Dims, Feature, TextState};

/// Operations by name, parameters' initialisers left out.
type Histogram = BTreeMap<String, usize>;

fn id<const D: usize>(tensor: &Tensor<D>) -> TensorId {
    let primitive = tensor.clone().try_into_primitive::<CaptureBackend>();
    primitive.expect("a tensor of the capture device").id()
}

fn input<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    let zeros = vec![0f32; shape.iter().product()];
    Tensor::from_data(TensorData::new(zeros, shape), device)
}

/// Captures `forward`, which returns input and output ids, and counts what it recorded.
fn record(forward: impl FnOnce(&Device) -> (Vec<TensorId>, Vec<TensorId>)) -> Histogram {
    let device = Device::capture();
    let captured = device
        .capture_scope(|scope| {
            let (inputs, outputs) = forward(&device);
            scope.complete(inputs, outputs)
        })
        .expect("a graph whose inputs and outputs are its own");
    let mut histogram = Histogram::new();
    for operation in &captured.graph.operations {
        if !matches!(operation, OperationIr::Init(_) | OperationIr::Drop(_)) {
            *histogram.entry(name(operation)).or_default() += 1;
        }
    }
    for initialiser in ["Random", "Ones", "Zeros"] {
        histogram.remove(initialiser);
    }
    histogram
}

/// The innermost variant name: `NumericFloat(F32, Add(BinaryOpIr { .. }))` is `Add`.
fn name(operation: &OperationIr) -> String {
    let debug = format!("{operation:?}");
    let head = debug.split(" {").next().unwrap_or_default();
    let mut names = head.split(['(', ' ']).rev();
    let innermost = names.find(|name| !name.ends_with("OpIr"));
    innermost.unwrap_or(head).to_owned()
}

/// Records a network on a model's features, and checks its outputs against their names, order and shapes.
struct Record {
    inputs: Vec<Feature>,
    outputs: Vec<Feature>,
}

impl WithNetwork for Record {
    type Output = Histogram;

    fn run<N: Network>(self, config: &N::Config) -> Histogram {
        record(|device| {
            let mut features = Recorded { of: &self, device, inputs: Vec::new(), outputs: Vec::new() };
            N::init(config, device).call(&mut features).expect("features of the role");
            let names: Vec<&str> = features.outputs.iter().map(|(name, _)| name.as_str()).collect();
            let declared: Vec<&str> = self.outputs.iter().map(|output| &*output.name).collect();
            assert_eq!(names, declared, "outputs of the {} in their order", N::ROLES[0]);
            assert_eq!(features.inputs.len(), self.inputs.len(), "the {} takes every input", N::ROLES[0]);
            (features.inputs, features.outputs.into_iter().map(|(_, id)| id).collect())
        })
    }
}

struct Recorded<'a> {
    of: &'a Record,
    device: &'a Device,
    inputs: Vec<TensorId>,
    outputs: Vec<(String, TensorId)>,
}

impl Recorded<'_> {
    fn shape<const D: usize>(&self, name: &str) -> Result<[usize; D], String> {
        let feature = self.of.inputs.iter().chain(&self.of.outputs).find(|feature| feature.name == name);
        let shape = &feature.ok_or(name)?.shape;
        shape[..].try_into().map_err(|_| format!("{name} has {} dimensions", shape.len()))
    }
}

impl Features for Recorded<'_> {
    type Error = String;

    fn has(&self, name: &str) -> bool {
        self.of.inputs.iter().chain(&self.of.outputs).any(|feature| feature.name == name)
    }

    fn real<const D: usize>(&mut self, name: &str) -> Result<Tensor<D>, String> {
        let tensor = input(self.shape::<D>(name)?, self.device);
        self.inputs.push(id(&tensor));
        Ok(tensor)
    }

    fn ids<const D: usize>(&mut self, name: &str, _limit: usize) -> Result<Tensor<D, Int>, String> {
        let shape = self.shape::<D>(name)?;
        let tensor =
            Tensor::<D, Int>::from_data(TensorData::new(vec![0i64; shape.iter().product()], shape), self.device);
        self.inputs.push(tensor.clone().try_into_primitive::<CaptureBackend>().expect("captured").id());
        Ok(tensor)
    }

    fn give<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) -> Result<(), String> {
        assert_eq!(Ok(tensor.dims()), self.shape(name), "the shape of {name} follows from its axes");
        self.outputs.push((name.to_owned(), id(&tensor)));
        Ok(())
    }
}

fn recorded(role: Role, config: &[u8], [height, width]: [usize; 2], scale: usize) -> Histogram {
    let network = NetworkConfig::read(role, config).expect("a supported configuration");
    let dims = Dims::new()
        .with(Axis::Batch, 2)
        .with(Axis::Tokens, 77)
        .with(Axis::JointTokens, 154)
        .with(Axis::LatentHeight, height)
        .with(Axis::LatentWidth, width)
        .with(Axis::PictureHeight, height * scale)
        .with(Axis::PictureWidth, width * scale);
    let model = network.facts().model_shape(&dims, role.n_size_numbers(), TextState::Last);
    let (inputs, outputs) = (role.spec().inputs_of(&model), role.spec().outputs_of(&model));
    network.with(Record { inputs: inputs.expect("known shapes"), outputs: outputs.expect("known shapes") })
}

fn unet(config: &[u8], size: [usize; 2]) -> Histogram {
    recorded(Role::UNet, config, size, 1)
}

fn show(what: &str, histogram: &Histogram) -> String {
    let ops: Vec<String> = histogram.iter().map(|(op, n)| format!("{op} {n}")).collect();
    format!("{what}: {}", ops.join(", "))
}

#[test]
#[allow(clippy::print_stdout, reason = "the histogram is what a reader of this test wants")]
fn every_component_of_every_checkpoint_is_recorded() {
    for checkpoint in common::checkpoints() {
        for role in Role::ALL {
            let Some(config) = common::config(&checkpoint, role) else {
                continue;
            };
            let scale = common::config(&checkpoint, Role::VaeDecoder)
                .map_or(8, |vae| VaeConfig::from_json(&vae).expect("a supported autoencoder").scale());
            let histogram = recorded(role, &config, [16, 24], scale);
            let n_attentions = histogram.get("Attention").copied().unwrap_or(0);
            assert!(n_attentions > 0, "{}", show(role.name(), &histogram));
            println!("{}", show(&format!("{} {role}", checkpoint.display()), &histogram));
        }
    }
}

#[test]
fn attention_stays_one_operation_per_attention() {
    let config = common::config(&testkit::demo(), Role::UNet).expect("the demo model");
    // Two down blocks with one transformer, two up blocks with two, the middle: 7 × (self, text).
    assert_eq!(unet(&config, [16, 16])["Attention"], 14);
}

#[test]
fn odd_latent_sizes_come_back_to_themselves() {
    let config = common::config(&testkit::demo(), Role::UNet).expect("the demo model");
    let even = unet(&config, [16, 16]);
    let odd = unet(&config, [18, 13]);
    // 18×13 halves to 9×7 and 5×4; doubling cuts both sides once and the width once more.
    let slices = |histogram: &Histogram| histogram.get("Slice").copied().unwrap_or(0);
    assert_eq!(slices(&odd), slices(&even) + 3);
}

#[test]
fn the_added_conditions_of_xl_reach_every_residual_block() {
    let config = UNetConfig::from_json(
        br#"{"block_out_channels": [32, 64], "norm_num_groups": 8, "attention_head_dim": [2, 4],
             "cross_attention_dim": 24, "layers_per_block": 1, "transformer_layers_per_block": [1, 2],
             "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
             "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"], "use_linear_projection": true,
             "addition_embed_type": "text_time", "addition_time_embed_dim": 8,
             "projection_class_embeddings_input_dim": 64}"#,
    )
    .expect("a small XL");
    let histogram = record(|device| {
        let (sample, timestep) = (input([2, 4, 8, 8], device), input([2], device));
        let text = input([2, 77, 24], device);
        let added = AddedConditions { text_embeds: input([2, 16], device), time_ids: input([2, 6], device) };
        let ids = vec![id(&sample), id(&timestep), id(&text), id(&added.text_embeds), id(&added.time_ids)];
        let conditions = UNetConditions { timestep, text, added: Some(added), guidance: None };
        let noise = config.init(device).forward(sample, conditions, Vec::new());
        assert_eq!(noise.dims(), [2, 4, 8, 8]);
        (ids, vec![id(&noise)])
    });
    // Two blocks in each of the coarse level's transformers (one down, two up) and in the middle.
    assert_eq!(histogram["Attention"], 2 * 2 * (1 + 2 + 1));
    assert_eq!((histogram["Sin"], histogram["Cos"]), (2, 2), "one sinusoid for the timestep, one for the sizes");
}

#[test]
fn a_text_encoder_with_projection_embeds_the_whole_text() {
    let config = ClipTextConfig::from_json(
        br#"{"architectures": ["CLIPTextModelWithProjection"], "hidden_size": 32, "intermediate_size": 64,
             "num_hidden_layers": 3, "num_attention_heads": 4, "projection_dim": 24, "vocab_size": 99,
             "hidden_act": "gelu", "eos_token_id": 2}"#,
    )
    .expect("a small second encoder");
    record(|device| {
        let ids = Tensor::<2, Int>::from_data(TensorData::new(vec![0i64; 20], [2, 10]), device);
        let out = config.init(device).forward(ids.clone());
        let text_embeds = out.text_embeds.expect("the encoder has a projection");
        assert_eq!((out.hidden_embeds.dims(), text_embeds.dims()), ([2, 10, 32], [2, 24]));
        let ids = ids.try_into_primitive::<CaptureBackend>().expect("captured").id();
        (vec![ids], vec![id(&out.hidden_embeds), id(&text_embeds)])
    });
}
