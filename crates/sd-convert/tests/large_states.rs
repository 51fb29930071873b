//! T5 in half precision whose states half precision cannot hold, as those of the largest encoders.

use host_tensor::{DType, HostTensor, Stop};
use mil_engine::reference::{Options as RunOptions, Reference, Rounding};
use sd_checkpoint::{Adapter, CheckpointError, Weights};
use sd_convert::{Checkpoint, Options, Precision, Role, convert};
use std::collections::BTreeMap;

/// Makes what the feed-forward networks add to the states this many times larger, half of it by each of two layers.
#[derive(Debug)]
struct Louder(f32);

impl Adapter for Louder {
    fn adapt(&self, _: Role, weights: &mut Weights) -> Result<(), CheckpointError> {
        let last = |key: &str| key.ends_with(".wo.weight") || key.ends_with(".wi_1.weight");
        let found: Vec<(String, HostTensor)> = weights
            .iter()
            .filter(|(key, _)| last(key))
            .filter_map(|(key, weight)| Some((key.to_owned(), weight.stored()?.clone())))
            .collect();
        assert!(!found.is_empty());
        for (key, tensor) in found {
            let louder = tensor.to_f32_vec().into_iter().map(|v| v * self.0.sqrt()).collect();
            weights.insert(key, HostTensor::from_f32(tensor.shape(), louder).cast(DType::F16));
        }
        Ok(())
    }
}

/// Without a scale inside of the network, its last layer would give 418000.
const LOUDER: f32 = 1_048_576.0;

#[test]
fn states_beyond_half_precision_do_no_harm() {
    let Some(golden) = testkit::golden() else { return };
    let reference = testkit::load_safetensors(golden.join("refs/tiny-sd3/text_encoder_3.safetensors"));
    let inputs = BTreeMap::from([("input_ids".to_owned(), reference["in.input_ids"].clone())]);
    let states = |precision, rounding| {
        let ckpt = Checkpoint::open(golden.join("checkpoints/tiny-sd3")).unwrap().with(Louder(LOUDER));
        let options = Options { precision: Some(precision), ..Options::default() };
        let converted = convert(&ckpt, Role::TextEncoder3, &options).unwrap();
        let run = RunOptions::default().with_rounding(rounding);
        let engine = Reference::compile(converted.valid().unwrap(), run).unwrap();
        let (outputs, overflow) = engine.run_watched(&inputs, &Stop::never()).unwrap();
        assert!(overflow.is_none(), "{overflow:?}");
        outputs["encoder_hidden_states"].to_f32_vec()
    };
    let full = states(Precision::Float32, Rounding::Boundary);
    let half = states(Precision::Float16, Rounding::Declared);
    let psnr = testkit::psnr(&full, &half);
    assert!(psnr > 60.0, "{psnr:.1} dB");
}
