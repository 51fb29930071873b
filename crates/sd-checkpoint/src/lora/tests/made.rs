//! LoRAs that golden data lacks, made here, against the plain formulas; and files that are wrong.

use std::io::Write;

use super::*;

/// A checkpoint's tensors in a folder that names a UNet of two blocks.
fn tiny() -> Option<(Checkpoint, PathBuf)> {
    let golden = testkit::golden()?;
    Some((Checkpoint::open(golden.join("checkpoints/tiny-sd15")).unwrap(), golden))
}

fn values(n: usize, step: f32) -> Vec<f32> {
    (0..n).map(|i| ((i * 7 + 3) % 13) as f32 * step - 6.0 * step).collect()
}

/// A safetensors file in f32.
fn file(dir: &Path, name: &str, header: &[(&str, &str)], tensors: &[(&str, &[usize], Vec<f32>)]) -> PathBuf {
    let (mut json, mut data) = (serde_json::Map::new(), Vec::new());
    if !header.is_empty() {
        json.insert("__metadata__".into(), header.iter().map(|&(k, v)| (k.to_owned(), Value::from(v))).collect());
    }
    for (name, shape, values) in tensors {
        let begin = data.len();
        data.extend(values.iter().flat_map(|x| x.to_le_bytes()));
        let entry = serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, data.len()]});
        json.insert((*name).to_owned(), entry);
    }
    let json = Value::Object(json).to_string();
    let path = dir.join(name);
    let mut out = std::fs::File::create(&path).unwrap();
    out.write_all(&(json.len() as u64).to_le_bytes()).unwrap();
    out.write_all(json.as_bytes()).unwrap();
    out.write_all(&data).unwrap();
    path
}

const TO_Q: &str = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q";
const KOHYA_TO_Q: &str = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q";

/// The tensor's values after a LoRA of strength 0.5, less what they were.
fn added(checkpoint: &Checkpoint, lora: &Path, key: &str) -> Vec<f32> {
    let before = checkpoint.weights(sd_spec::Role::UNet).unwrap();
    let fitted = fit(&Lora::open(lora).unwrap(), checkpoint, 0.5).unwrap();
    assert_eq!(fitted.unapplied(), [""; 0]);
    let after = checkpoint.clone().with(fitted).weights(sd_spec::Role::UNet).unwrap();
    let read = |weights: &Weights| weights.get(key).unwrap().constant().read().to_f32_vec();
    read(&after).into_iter().zip(read(&before)).map(|(after, before)| after - before).collect()
}

fn fit(lora: &Lora, checkpoint: &Checkpoint, weight: f32) -> Result<Fitted, CheckpointError> {
    Fitting::new(checkpoint)?.fit(lora, Strength { denoiser: weight, text: weight })
}

fn product(up: &[f32], down: &[f32], rank: usize, scale: f32) -> Vec<f32> {
    let n_columns = down.len() / rank;
    let at = |i: usize| (0..rank).map(move |r| up[i / n_columns * rank + r] * down[r * n_columns + i % n_columns]);
    (0..up.len() / rank * n_columns).map(|i| scale * at(i).sum::<f32>()).collect()
}

#[test]
fn rank_stabilised_alphas_are_divided_by_the_root_of_the_rank() {
    let Some((checkpoint, _)) = tiny() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (up, down) = (values(64 * 4, 0.1), values(4 * 64, 0.1));
    let names = [format!("unet.{TO_Q}.lora_A.weight"), format!("unet.{TO_Q}.lora_B.weight")];
    let tensors: [(&str, &[usize], Vec<f32>); 2] =
        [(&names[0], &[4, 64], down.clone()), (&names[1], &[64, 4], up.clone())];
    let config = r#"{"unet.lora_alpha": 6, "unet.r": 4, "unet.use_rslora": true}"#;
    let lora = file(dir.path(), "rs.safetensors", &[("lora_adapter_metadata", config)], &tensors);
    let expected = product(&up, &down, 4, 0.5 * 6.0 / 2.0);
    let key = format!("{TO_Q}.weight");
    testkit::assert_all_close("rslora", &expected, &added(&checkpoint, &lora, &key), 1e-5, 1e-5);
    assert!(Lora::open(&lora).unwrap().facts().is_rank_stabilised);
    // The same as PEFT saves it: bare names in a folder with the configuration beside.
    let names = names.map(|name| name.replace("unet.", "base_model.model."));
    let tensors: [(&str, &[usize], Vec<f32>); 2] = [(&names[0], &[4, 64], down), (&names[1], &[64, 4], up)];
    file(dir.path(), "adapter_model.safetensors", &[], &tensors);
    let config = r#"{"lora_alpha": 6, "r": 4, "use_rslora": true}"#;
    std::fs::write(dir.path().join("adapter_config.json"), config).unwrap();
    testkit::assert_all_close("folder", &expected, &added(&checkpoint, dir.path(), &key), 1e-5, 1e-5);
}

#[test]
fn full_differences_norms_and_biases_are_added_as_they_are() {
    let Some((checkpoint, _)) = tiny() else { return };
    let dir = tempfile::tempdir().unwrap();
    let conv = "lora_unet_down_blocks_0_resnets_0_conv1";
    let norm = "lora_unet_down_blocks_0_resnets_0_norm1";
    let names = [format!("{conv}.diff"), format!("{conv}.diff_b"), format!("{norm}.w_norm"), format!("{norm}.b_norm")];
    let tensors: [(&str, &[usize], Vec<f32>); 4] = [
        (&names[0], &[64, 64, 3, 3], values(64 * 64 * 9, 0.01)),
        (&names[1], &[64], values(64, 0.02)),
        (&names[2], &[64], values(64, 0.03)),
        (&names[3], &[64], values(64, 0.04)),
    ];
    let lora = file(dir.path(), "full.safetensors", &[], &tensors);
    let keys = ["conv1.weight", "conv1.bias", "norm1.weight", "norm1.bias"];
    for (key, (_, _, values)) in keys.into_iter().zip(tensors) {
        let expected: Vec<f32> = values.into_iter().map(|x| 0.5 * x).collect();
        let got = added(&checkpoint, &lora, &format!("down_blocks.0.resnets.0.{key}"));
        testkit::assert_all_close(key, &expected, &got, 1e-5, 1e-6);
    }
    let kinds = Lora::open(&lora).unwrap().facts().kinds;
    assert_eq!(kinds, BTreeMap::from([("full difference", 2)]));
}

/// LCM- and Hyper-LoRAs: sd-scripts' names, the UNet alone, convolutions of three by three among them, and alphas.
#[test]
fn few_step_loras_apply_with_alphas_to_convolutions_too() {
    let Some((checkpoint, _)) = tiny() else { return };
    let dir = tempfile::tempdir().unwrap();
    let conv = "lora_unet_down_blocks_0_downsamplers_0_conv";
    let (up, down) = (values(64 * 2, 0.1), values(2 * 64 * 9, 0.1));
    let names = ["lora_down.weight", "lora_up.weight", "alpha"].map(|part| format!("{conv}.{part}"));
    let tensors: [(&str, &[usize], Vec<f32>); 3] = [
        (&names[0], &[2, 64, 3, 3], down.clone()),
        (&names[1], &[64, 2, 1, 1], up.clone()),
        (&names[2], &[], vec![8.0]),
    ];
    let lora = file(dir.path(), "lcm.safetensors", &[], &tensors);
    let got = added(&checkpoint, &lora, "down_blocks.0.downsamplers.0.conv.weight");
    testkit::assert_all_close("lcm", &product(&up, &down, 2, 0.5 * 4.0), &got, 1e-5, 1e-5);
}

/// `names` of tensors and their shapes, all ones; and what the error must say.
#[track_caller]
fn check_refused(checkpoint: &Checkpoint, tensors: &[(&str, &[usize])], facts: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let ones = |&(name, shape)| (name, shape, vec![1.0; <[usize]>::iter(shape).product()]);
    let tensors: Vec<(&str, &[usize], Vec<f32>)> = tensors.iter().map(ones).collect();
    let path = file(dir.path(), "wrong.safetensors", &[], &tensors);
    let error = Lora::open(&path).and_then(|lora| fit(&lora, checkpoint, 1.0)).unwrap_err().to_string();
    assert!(error.contains("wrong.safetensors"), "{error}");
    assert!(facts.iter().all(|fact| error.contains(fact)), "{error}");
}

#[test]
fn modules_that_make_no_matrix_are_refused_by_name() {
    let Some((checkpoint, _)) = tiny() else { return };
    let name = |part: &str| format!("{KOHYA_TO_Q}.{part}");
    let (down, up, alpha) = (name("lora_down.weight"), name("lora_up.weight"), name("alpha"));
    let (core, scale) = (name("lora_mid.weight"), name("dora_scale"));
    let refuse = |tensors: &[(&str, &[usize])], facts: &[&str]| check_refused(&checkpoint, tensors, facts);
    refuse(&[(&up, &[64, 4])], &[KOHYA_TO_Q, "no .lora_down.weight"]);
    refuse(&[(&up, &[64, 4]), (&down, &[5, 64])], &["[64, 4]", "[5, 64]", "do not fit together", &down]);
    refuse(&[(&up, &[63, 4]), (&down, &[4, 64])], &[&up, "[63, 4]", "attn1.to_q.weight of shape [64, 64]"]);
    refuse(&[(&up, &[64, 4]), (&down, &[4, 64]), (&alpha, &[2])], &[&alpha, "must be one number"]);
    refuse(&[(&up, &[64, 4]), (&down, &[4, 64]), (&core, &[4, 3, 1, 1])], &["do not fit together"]);
    refuse(&[(&up, &[64, 4]), (&down, &[4, 64]), (&scale, &[3, 1])], &["[3, 1]", "neither those of rows"]);
    refuse(&[(&up, &[]), (&down, &[])], &["do not fit together"]);
    let (a, b) = (name("hada_w1_a"), name("hada_w1_b"));
    refuse(&[(&a, &[64, 4]), (&b, &[4, 64])], &["no .hada_w2_a"]);
    let (w1, w2) = (name("lokr_w1"), name("lokr_w2"));
    refuse(&[(&w1, &[4, 4]), (&w2, &[16, 15])], &["does not fit", &w1, "[16, 15]"]);
    refuse(&[("something.weight", &[2])], &["is no LoRA"]);
    let again = format!("unet.{TO_Q}.lora_A.weight");
    let again_up = format!("unet.{TO_Q}.lora_B.weight");
    let twice = [(&*up, &[64, 4][..]), (&*down, &[4, 64]), (&*again, &[4, 64]), (&*again_up, &[64, 4])];
    refuse(&twice, &["second module"]);
}

#[test]
fn strength_zero_changes_nothing_and_no_bytes_panic() {
    let Some((checkpoint, golden)) = tiny() else { return };
    let lora = open(&golden, "sd15_dora");
    let fitted = fit(&lora, &checkpoint, 0.0).unwrap();
    assert_eq!(fitted.n_changed(), 0);
    let whole = std::fs::read(golden.join("loras/sd15_no_up.safetensors")).unwrap();
    let bad = std::fs::read(golden.join("loras/sd15_bad_shape.safetensors")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.safetensors");
    testkit::fuzz::run_for(std::time::Duration::from_millis(500), &[&whole, &bad], |bytes| {
        std::fs::write(&path, bytes).unwrap();
        if let Ok(lora) = Lora::open(&path) {
            let _ = (lora.facts(), fit(&lora, &checkpoint, 1.0));
        }
    });
}

#[test]
fn loras_of_stable_diffusion_3_apply_under_both_names() {
    let Some(golden) = testkit::golden() else { return };
    let checkpoint = Checkpoint::open(golden.join("checkpoints/tiny-sd3")).unwrap();
    let role = sd_spec::Role::Mmdit;
    let before = checkpoint.weights(role).unwrap();
    let width = before.get("transformer_blocks.0.attn.to_q.weight").unwrap().shape()[0];
    let dir = tempfile::tempdir().unwrap();
    let added = |lora: &Path, key: &str| -> Vec<f32> {
        let fitted = fit(&Lora::open(lora).unwrap(), &checkpoint, 1.0).unwrap();
        assert_eq!(fitted.unapplied(), [""; 0]);
        let after = checkpoint.clone().with(fitted).weights(role).unwrap();
        let read = |weights: &Weights| weights.get(key).unwrap().constant().read().to_f32_vec();
        read(&after).into_iter().zip(read(&before)).map(|(after, before)| after - before).collect()
    };
    // One matrix for queries, keys and values: each has its third of the rows.
    let (up, down) = (values(3 * width * 2, 0.1), values(2 * width, 0.1));
    let whole = product(&up, &down, 2, 1.0);
    let names = ["lora_down.weight", "lora_up.weight"];
    let names = names.map(|part| format!("lora_unet_joint_blocks_0_context_block_attn_qkv.{part}"));
    let tensors: [(&str, &[usize], Vec<f32>); 2] =
        [(&names[0], &[2, width], down.clone()), (&names[1], &[3 * width, 2], up.clone())];
    let lora = file(dir.path(), "kohya.safetensors", &[], &tensors);
    for (third, name) in ["add_q_proj", "add_k_proj", "add_v_proj"].into_iter().enumerate() {
        let expected = &whole[third * width * width..(third + 1) * width * width];
        let got = added(&lora, &format!("transformer_blocks.0.attn.{name}.weight"));
        testkit::assert_all_close(name, expected, &got, 1e-5, 1e-5);
    }
    assert_eq!(Lora::open(&lora).unwrap().base(), Some(Base::Sd3));
    // The last layer's shift and scale change places.
    let (up, n) = (values(2 * width * 2, 0.1), width * width);
    let whole = product(&up, &down, 2, 1.0);
    let names = ["lora_down.weight", "lora_up.weight"];
    let names = names.map(|part| format!("lora_unet_final_layer_adaLN_modulation_1.{part}"));
    let tensors: [(&str, &[usize], Vec<f32>); 2] =
        [(&names[0], &[2, width], down.clone()), (&names[1], &[2 * width, 2], up.clone())];
    let lora = file(dir.path(), "norm.safetensors", &[], &tensors);
    let expected = [&whole[n..], &whole[..n]].concat();
    testkit::assert_all_close("norm_out", &expected, &added(&lora, "norm_out.linear.weight"), 1e-5, 1e-5);
    // diffusers' own names.
    let names = ["A", "B"].map(|part| format!("transformer.transformer_blocks.0.attn.to_q.lora_{part}.weight"));
    let up = values(width * 2, 0.1);
    let tensors: [(&str, &[usize], Vec<f32>); 2] =
        [(&names[0], &[2, width], down.clone()), (&names[1], &[width, 2], up.clone())];
    let lora = file(dir.path(), "peft.safetensors", &[], &tensors);
    let got = added(&lora, "transformer_blocks.0.attn.to_q.weight");
    testkit::assert_all_close("peft", &product(&up, &down, 2, 1.0), &got, 1e-5, 1e-5);
}
