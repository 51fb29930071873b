//! TAESD in its author's files, at the shapes of the real one, and in diffusers' names.

use serde_json::json;

use super::*;

/// A half by its layers: blocks, convolutions without a bias, and whatever has a number and no tensors.
fn half(prefix: &str, latents: usize, layers: &[&str], ends: [(usize, usize); 2]) -> BTreeMap<String, Vec<usize>> {
    const WIDTH: usize = 64;
    let mut shapes = BTreeMap::new();
    let [first, last] = ends.map(|(o, i)| [o, i].map(|n| if n == 0 { latents } else { n }));
    for (at, layer) in layers.iter().enumerate() {
        let mut add = |what: &str, shape: Vec<usize>| drop(shapes.insert(format!("{prefix}{at}.{what}"), shape));
        match *layer {
            "first" | "last" => {
                let [o, i] = if *layer == "first" { first } else { last };
                add("weight", vec![o, i, 3, 3]);
                add("bias", vec![o]);
            }
            "level" => add("weight", vec![WIDTH, WIDTH, 3, 3]),
            "block" => {
                for conv in [0, 2, 4] {
                    add(&format!("conv.{conv}.weight"), vec![WIDTH, WIDTH, 3, 3]);
                    add(&format!("conv.{conv}.bias"), vec![WIDTH]);
                }
            }
            _ => {}
        }
    }
    shapes
}

const ENCODER: [&str; 15] = [
    "first", "block", "level", "block", "block", "block", "level", "block", "block", "block", "level", "block",
    "block", "block", "last",
];

/// Behind what bounds latents, which the author counts.
const DECODER: [&str; 19] = [
    "first", "relu", "block", "block", "block", "up", "level", "block", "block", "block", "up", "level", "block",
    "block", "block", "up", "level", "block", "last",
];

fn encoder(prefix: &str, latents: usize) -> BTreeMap<String, Vec<usize>> {
    half(prefix, latents, &ENCODER, [(64, 3), (0, 64)])
}

fn decoder(prefix: &str, latents: usize, before: &[&str]) -> BTreeMap<String, Vec<usize>> {
    half(prefix, latents, &[before, &DECODER].concat(), [(64, 0), (3, 64)])
}

fn config(latents: usize) -> Value {
    json!({
        "_class_name": "AutoencoderTiny",
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": latents,
        "encoder_block_out_channels": [64, 64, 64, 64],
        "decoder_block_out_channels": [64, 64, 64, 64],
        "num_encoder_blocks": [1, 3, 3, 3],
        "num_decoder_blocks": [3, 3, 3, 1],
        "scaling_factor": 1.0,
        "shift_factor": 0.0,
    })
}

#[track_caller]
fn check(shapes: &BTreeMap<String, Vec<usize>>, latents: usize, roles: &[Role], family: Family) {
    let file = open(shapes, Asked::default());
    assert_eq!(json(&file.made(), "vae/config.json"), config(latents));
    assert_eq!((file.family(), file.only()), (family, roles.first().copied()));
    assert!(file.words().contains("the vae alone"), "{}", file.words());
    for role in [Role::VaeDecoder, Role::VaeEncoder] {
        assert_eq!(file.has(role), roles.contains(&role), "{role}");
    }
    for &role in roles {
        let (prefix, wanted) = match role {
            Role::VaeEncoder => ("encoder.layers.", encoder("encoder.layers.", latents)),
            _ => ("decoder.layers.", decoder("decoder.layers.", latents, &[])),
        };
        let network = NetworkConfig::read(role, config(latents).to_string().as_bytes()).unwrap();
        let weights = file.network(role, &network).unwrap();
        let made = weights.iter().map(|(key, weight)| (key.to_owned(), weight.shape()));
        // In diffusers' names a network has the other half's too, which it leaves aside.
        let own: BTreeMap<String, Vec<usize>> = made.filter(|(key, _)| key.starts_with(prefix)).collect();
        assert_eq!(own, wanted, "{role}");
    }
}

#[test]
fn each_half_in_its_authors_names_is_one_of_diffusers() {
    for (latents, family) in [(4, Family::Sd), (16, Family::Sd3)] {
        for prefix in ["", "decoder.", "taesd_decoder."] {
            check(&decoder(prefix, latents, &["clamp"]), latents, &[Role::VaeDecoder], family);
        }
        check(&encoder("", latents), latents, &[Role::VaeEncoder], family);
    }
    let mut both = decoder("taesd_decoder.", 4, &["clamp"]);
    both.extend(encoder("taesd_encoder.", 4));
    check(&both, 4, &[Role::VaeDecoder, Role::VaeEncoder], Family::Sd);
    let file = open(&decoder("", 4, &["clamp"]), Asked::default());
    let network = NetworkConfig::read(Role::VaeDecoder, config(4).to_string().as_bytes()).unwrap();
    let key = |name: &str| file.key_of(Role::VaeDecoder, &network, name);
    assert_eq!(key("decoder.layers.2.conv.0.weight").as_deref(), Some("3.conv.0.weight"));
    assert_eq!(key("decoder.layers.18.bias").as_deref(), Some("19.bias"));
    assert_eq!(key("encoder.layers.0.bias"), None);
}

#[test]
fn both_halves_in_diffusers_names_are_one_network() {
    let mut shapes = encoder("encoder.layers.", 16);
    shapes.extend(decoder("decoder.layers.", 16, &[]));
    check(&shapes, 16, &[Role::VaeDecoder, Role::VaeEncoder], Family::Sd3);
}

#[test]
fn other_lists_of_layers_are_no_taesd() {
    for shapes in [
        [("1.weight".to_owned(), vec![64, 4, 3, 3]), ("1.bias".to_owned(), vec![64])],
        [("0.weight".to_owned(), vec![64, 4]), ("2.weight".to_owned(), vec![64, 64])],
    ] {
        let shapes = shapes.into_iter().collect();
        let file = SingleFile::of(Path::new("x.pth"), weights_of(&shapes), HashMap::new(), Asked::default());
        assert!(file.unwrap().is_none());
    }
}
