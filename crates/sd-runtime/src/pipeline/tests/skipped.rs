//! Guidance away from a transformer without some of its blocks: what it is refused with.

use super::*;
use crate::pipeline::{Blocks, SkipLayers};

#[test]
fn blocks_are_left_out_of_transformers_only_and_with_guidance() {
    let skip = SkipLayers::new(Blocks::new(&[7, 8, 9]).unwrap());
    let options = GenerateOptions { skip_layers: Some(skip), steps: 20, ..options() };
    let refused =
        |options: &GenerateOptions| pipeline(fake::unet(2, DType::F32)).evaluations(options).unwrap_err().to_string();
    assert!(refused(&options).contains("the model is Stable Diffusion 1.x or 2.x"), "{}", refused(&options));
    let unguided = GenerateOptions { guidance_scale: 1.0, ..options.clone() };
    assert!(refused(&unguided).contains("together with guidance only, which is 1"), "{}", refused(&unguided));
    let few = GenerateOptions { steps: 3, ..options };
    assert!(refused(&few).contains("at none of them"), "{}", refused(&few));
}
