//! Files of one network under the names of diffusers and transformers, at the real models' shapes; files that mix layouts.

use super::*;

/// What metadata call the models of the tables; autoencoders, and CLIP's text encoders, of several are alike.
fn architecture(name: &str) -> &'static str {
    match name {
        "sd21" => "stable-diffusion-v2-768-v",
        "sdxl-base" => "stable-diffusion-xl-v1-base",
        "sdxl-refiner" => "stable-diffusion-xl-v1-refiner",
        "sd3-medium" | "sd35-medium" => "stable-diffusion-v3-medium",
        _ => "stable-diffusion-v1",
    }
}

/// A network of a layout under diffusers' names.
fn shapes_of_component(layout: &Layout, component: &str) -> BTreeMap<String, Vec<usize>> {
    let rows = layout.rows.iter().filter(|row| row.component == component);
    let computed = layout.computed.iter().filter(|computed| computed.component == component);
    let rows = rows.map(|row| (row.key.clone(), row.shape.clone()));
    rows.chain(computed.map(|computed| (computed.key.clone(), computed.shape.clone()))).collect()
}

fn try_open(shapes: &BTreeMap<String, Vec<usize>>, architecture: Option<&str>) -> Result<Option<SingleFile>, String> {
    let metadata = architecture.map(|name| ("modelspec.architecture".to_owned(), name.to_owned()));
    let metadata = metadata.into_iter().collect();
    SingleFile::of(Path::new("x.safetensors"), weights_of(shapes), metadata, Asked::default())
        .map_err(|e| e.to_string())
}

#[test]
fn one_network_under_the_names_of_diffusers_is_told_by_its_shapes() {
    let Some(golden) = testkit::golden() else { return };
    for (name, _, family, networks) in MODELS {
        let layout = layout(&golden, name);
        for &(component, role, theirs) in networks {
            let shapes = shapes_of_component(&layout, component);
            let file = try_open(&shapes, Some(architecture(name))).unwrap().unwrap();
            assert_eq!(file.networks().collect::<Vec<_>>(), [(role, "")], "{name}: {component}");
            // The large text encoder of XL is that of 3 and of the refiner too.
            let is_shared = role == Role::TextEncoder2;
            assert!(file.family() == family || is_shared, "{name}: {component} is of {:?}", file.family());
            let place = if role == Role::ControlNet { String::new() } else { format!("{}/", role.spec().folder) };
            let ours = json(&file.made(), &format!("{place}config.json")).to_string();
            let read = |json: &str| NetworkConfig::read(role, json.as_bytes()).unwrap();
            assert_eq!(format!("{:?}", read(&ours)), format!("{:?}", read(theirs)), "{name}: {component}");
            let weights = file.network(role, &read(theirs)).unwrap();
            let made: BTreeMap<String, Vec<usize>> =
                weights.iter().map(|(key, weight)| (key.to_owned(), weight.shape())).collect();
            assert_eq!(made, shapes, "{name}: {component}");
            assert_eq!(file.key_of(role, &read(theirs), "a.b").as_deref(), Some("a.b"));
            assert!(file.words().contains("alone"), "{}", file.words());
        }
    }
}

#[test]
fn a_text_encoder_that_several_models_have_is_said_to_be_taken_for_that_of_one() {
    let Some(golden) = testkit::golden() else { return };
    let clip = shapes_of_component(&layout(&golden, "sd15"), "text_encoder");
    let file = try_open(&clip, None).unwrap().unwrap();
    assert_eq!((file.family(), file.words().as_str()), (Family::Sd, "Stable Diffusion 1.x, the text encoder alone"));
    let words = &notes(&file)[0].words;
    assert!(words.contains("that of Stable Diffusion 1.x is assumed, and --config DIR"), "{words}");
    // Its tokenizer is known.
    assert!(file.made().contains_key("tokenizer/merges.txt") && !file.made().contains_key("model_index.json"));
    let xl = try_open(&clip, Some("stable-diffusion-xl-v1-base")).unwrap().unwrap();
    assert_eq!(xl.family(), Family::Sdxl);
    // Without the first part of its names, with a projection, and with CLIP's other half beside it.
    let config = NetworkConfig::read(Role::TextEncoder, known::CLIP_L.as_bytes()).unwrap();
    let bare: BTreeMap<String, Vec<usize>> =
        clip.iter().map(|(key, shape)| (key.replacen("text_model.", "", 1), shape.clone())).collect();
    let mut whole = clip.clone();
    for key in ["vision_model.embeddings.class_embedding", "visual_projection.weight", "logit_scale"] {
        whole.insert(key.into(), vec![1]);
    }
    for shapes in [&bare, &whole] {
        let file = try_open(shapes, None).unwrap().unwrap();
        let weights = file.network(Role::TextEncoder, &config).unwrap();
        let keys: Vec<&str> = weights.iter().map(|(key, _)| key).collect();
        assert_eq!(keys, clip.keys().collect::<Vec<_>>());
    }
    let mut projected = clip.clone();
    projected.insert("text_projection.weight".into(), vec![768, 768]);
    let projected = try_open(&projected, None).unwrap().unwrap();
    assert_eq!(projected.family(), Family::Sd3);
    // A configuration without a projection leaves that of the file aside, and one with it has the identity.
    assert!(projected.network(Role::TextEncoder, &config).unwrap().get("text_projection.weight").is_none());
    let with = NetworkConfig::read(Role::TextEncoder, known::PROJECTED_CLIP_L.as_bytes()).unwrap();
    assert!(file.network(Role::TextEncoder, &with).unwrap().get("text_projection.weight").is_some());
}

#[test]
fn several_text_encoders_without_a_denoiser_are_those_of_the_model_that_names_them_so() {
    let Some(golden) = testkit::golden() else { return };
    let layout = layout(&golden, "sd3-medium");
    let shapes = shapes_of(&layout).into_iter().filter(|(key, _)| key.starts_with("text_encoders.")).collect();
    let file = try_open(&shapes, None).unwrap().unwrap();
    let roles: Vec<Role> = file.networks().map(|(role, _)| role).collect();
    assert_eq!(roles, [Role::TextEncoder, Role::TextEncoder2, Role::TextEncoder3]);
    assert_eq!((file.family(), file.only()), (Family::Sd3, None));
    // T5's table has two names.
    let t5: BTreeMap<String, Vec<usize>> = shapes_of_component(&layout, "text_encoder_3");
    let mut both = t5.clone();
    both.insert("encoder.embed_tokens.weight".into(), t5["shared.weight"].clone());
    let renamed: BTreeMap<String, Vec<usize>> =
        t5.iter().map(|(key, shape)| (key.replacen("shared", "encoder.embed_tokens", 1), shape.clone())).collect();
    let config = NetworkConfig::read(Role::TextEncoder3, known::T5.as_bytes()).unwrap();
    for (shapes, more) in [(&both, 0), (&renamed, 1)] {
        let file = try_open(shapes, None).unwrap().unwrap();
        let weights = file.network(Role::TextEncoder3, &config).unwrap();
        assert!(weights.get("shared.weight").is_some());
        assert_eq!(weights.iter().count(), t5.len() + more);
    }
}

#[test]
fn a_file_that_mixes_layouts_is_refused_by_keys_of_both() {
    let Some(golden) = testkit::golden() else { return };
    let layout = layout(&golden, "sd15");
    let (original, unet) = (shapes_of(&layout), shapes_of_component(&layout, "unet"));
    let with = |more: &[(&str, &[usize])]| {
        let mut shapes = original.clone();
        shapes.extend(more.iter().map(|(key, shape)| ((*key).to_owned(), shape.to_vec())));
        shapes
    };
    let mut both = original.clone();
    both.extend(unet.clone());
    let error = try_open(&both, None).unwrap_err();
    let parts =
        ["it mixes layouts", "model.diffusion_model.input_blocks.0.0.weight", "up_blocks.0.resnets.0.conv1.weight"];
    assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    let flow = with(&[("model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight", &[3, 1])]);
    assert!(try_open(&flow, None).unwrap_err().contains("it mixes layouts"));
    // An autoencoder under diffusers' names beside a UNet under LDM's is one file of two networks.
    let mut two: BTreeMap<String, Vec<usize>> =
        original.iter().filter(|(key, _)| key.starts_with("model.")).map(|(k, s)| (k.clone(), s.clone())).collect();
    let vae = shapes_of_component(&layout, "vae");
    two.extend(vae.clone());
    let two = try_open(&two, None).unwrap().unwrap();
    assert_eq!(two.networks().count(), 2);
    let config = NetworkConfig::read(Role::VaeDecoder, known::SD15_VAE.as_bytes()).unwrap();
    assert_eq!(two.network(Role::VaeDecoder, &config).unwrap().iter().count(), vae.len());
    // Two keys of the file that are one of the network's.
    let doubled = with(&[("model.diffusion_model.conv_in.weight", &[320, 4, 3, 3])]);
    let file = try_open(&doubled, None).unwrap().unwrap();
    let config = NetworkConfig::read(Role::UNet, known::SD15_UNET.as_bytes()).unwrap();
    let error = file.network(Role::UNet, &config).unwrap_err().to_string();
    assert!(error.contains("input_blocks.0.0.weight is conv_in.weight, and so is another"), "{error}");
}
