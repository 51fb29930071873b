//! Inputs that a network does not read are inputs of its model all the same.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use burn::tensor::Device;
use host_tensor::HostTensor;
use sd_checkpoint::{Adapter, CheckpointError, Weights};
use sd_convert::{Checkpoint, LatentSize, NetworkConfig, Options, Role, convert};
use testkit::Rng;

/// A small `ControlNet` without a transformer.
const CONFIG: &[u8] = br#"{
    "_class_name": "ControlNetModel", "block_out_channels": [8, 16], "cross_attention_dim": 24, "norm_num_groups": 4,
    "layers_per_block": 1, "down_block_types": ["DownBlock2D", "DownBlock2D"], "mid_block_type": "UNetMidBlock2D",
    "conditioning_embedding_out_channels": [4, 8, 8, 8]
}"#;

/// Every tensor of that network, in the place of a file's.
#[derive(Debug)]
struct Drawn;

impl Adapter for Drawn {
    fn adapt(&self, _: Role, weights: &mut Weights) -> Result<(), CheckpointError> {
        let config = NetworkConfig::read(Role::ControlNet, CONFIG).expect("a configuration");
        let mut rng = Rng::new(15);
        for parameter in config.parameters(&Device::capture()) {
            let shape = parameter.stored_shape();
            let values = rng.normals(shape.iter().product());
            weights.insert(parameter.key, HostTensor::from_f32(shape, values));
        }
        Ok(())
    }
}

#[test]
fn a_control_net_that_nothing_attends_in_takes_the_text_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), CONFIG).unwrap();
    // A safetensors file without tensors: the length of its header, and an empty object.
    let empty = [&8u64.to_le_bytes()[..], b"{}      "].concat();
    std::fs::write(dir.path().join("diffusion_pytorch_model.safetensors"), empty).unwrap();
    let ckpt = Checkpoint::open(dir.path()).unwrap().with(Drawn);
    let options = Options { latent_size: Some(LatentSize { height: 8, width: 8 }), ..Options::default() };
    let converted = convert(&ckpt, Role::ControlNet, &options).unwrap();
    let function = converted.program.main().unwrap();
    let names: Vec<&str> = function.inputs.iter().map(|&input| function.name_of(input)).collect();
    assert_eq!(names, ["sample", "timestep", "encoder_hidden_states", "controlnet_cond"]);
    let mut readers = Vec::new();
    function.body.for_each_op(&mut |op| {
        if op.operands().any(|operand| operand == function.inputs[2]) {
            readers.push(op.kind.to_string());
        }
    });
    assert_eq!(readers, ["identity"], "nothing else reads the text");
    let described: Vec<&str> = converted.description.functions[0].inputs.iter().map(|f| &*f.name).collect();
    assert_eq!(described, names);
}
