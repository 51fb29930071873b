//! What Mochi Diffusion reads in the `metadata.json` of compiled models, read as it reads.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Cap on such a file; those of Stable Diffusion XL have some 10 kB.
const MAX_BYTES: u64 = 16 << 20;
/// The operation that it knows the attention by, as the compiler spells it.
const EINSUM: &str = "Ios16.einsum";

/// What it takes a model for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reading {
    /// The family, in its words.
    pub family: &'static str,
    /// The layout of attention, by which it chooses what computes.
    pub attention: &'static str,
    /// Width and height of pictures; null where it offers any.
    pub size: Option<[u64; 2]>,
    /// What it takes for something else than it is.
    #[serde(skip)]
    pub(super) notes: Vec<String>,
}

#[derive(Deserialize)]
struct Operations {
    #[serde(rename = "mlProgramOperationTypeHistogram")]
    histogram: BTreeMap<String, i64>,
}

#[derive(Deserialize)]
struct Inputs {
    #[serde(rename = "inputSchema")]
    inputs: Vec<BTreeMap<String, String>>,
}

impl Reading {
    /// Reads the denoiser's file and that of the encoder; says why it would refuse the folder.
    pub(super) fn of(denoiser: &Path, encoder: &Path) -> Result<Self, String> {
        let text = read(denoiser)?;
        let refused = |what: String| format!("{}: {what}", denoiser.display());
        let operations: Vec<Operations> = serde_json::from_str(&text).map_err(|e| refused(e.to_string()))?;
        let [Operations { histogram }] = &operations[..] else {
            return Err(refused(format!("it says {} models, and not one", operations.len())));
        };
        let mut notes = Vec::new();
        let is_split = histogram.contains_key(EINSUM);
        if let (false, Some(other)) = (is_split, histogram.keys().find(|key| key.ends_with("einsum"))) {
            notes.push(format!(
                "it knows split-einsum by {EINSUM}, and takes this model, which has {other}, for original"
            ));
        }
        // Whatever is not all text makes it see no inputs.
        let inputs: Vec<Inputs> = serde_json::from_str(&text).unwrap_or_default();
        let has = |name: &str| {
            let inputs = inputs.first().map(|of| of.inputs.as_slice()).unwrap_or_default();
            inputs.iter().any(|input| input.get("name").is_some_and(|own| own == name))
        };
        let family = match (has("time_ids") && has("text_embeds"), has("latent_image_embeddings")) {
            (true, _) => "XL",
            (false, true) => "3",
            (false, false) => "1.x or 2.x",
        };
        let attention = if is_split { "split-einsum" } else { "original" };
        Ok(Self { family, attention, size: size(encoder)?, notes })
    }
}

fn read(path: &Path) -> Result<String, String> {
    safe_files::read_text(path, MAX_BYTES).map_err(|error| error.to_string())
}

/// Width and height of the pictures that an encoder takes; none where there is no file of one. A file that does not say it
/// makes it refuse the folder.
fn size(encoder: &Path) -> Result<Option<[u64; 2]>, String> {
    if encoder.symlink_metadata().is_err() {
        return Ok(None);
    }
    let text = read(encoder)?;
    let refused = |what: String| format!("{}: {what}", encoder.display());
    let models: Vec<Map<String, Value>> = serde_json::from_str(&text).map_err(|error| refused(error.to_string()))?;
    let [model] = &models[..] else {
        return Err(refused(format!("it says {} models, and not one", models.len())));
    };
    let shape = || model.get("inputSchema")?.get(0)?.get("shape")?.as_str();
    let shape = shape().ok_or_else(|| refused("it says no shape of an input".to_owned()))?;
    let numbers = shape.strip_prefix('[').and_then(|shape| shape.strip_suffix(']')).unwrap_or_default();
    let numbers = numbers.split(',').map(|number| number.trim().parse().ok().filter(|number| *number > 0));
    match numbers.collect::<Option<Vec<u64>>>().as_deref() {
        Some([_, _, height, width]) => Ok(Some([*width, *height])),
        _ => Err(refused(format!("the shape {shape:?} is not that of a picture"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Family, attention, size, number of notes; or words of the refusal.
    type Expected<'a> = Result<(&'a str, &'a str, Option<[u64; 2]>, usize), &'a str>;

    #[track_caller]
    fn check(denoiser: &str, encoder: Option<&str>, expected: Expected<'_>) {
        let dir = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
        std::fs::write(&a, denoiser).unwrap();
        if let Some(encoder) = encoder {
            std::fs::write(&b, encoder).unwrap();
        }
        let said = Reading::of(&a, &b);
        match (said, expected) {
            (Ok(said), Ok(expected)) => {
                assert_eq!((said.family, said.attention, said.size, said.notes.len()), expected, "{said:?}");
            }
            (Err(said), Err(words)) => assert!(said.contains(words), "{said}"),
            (said, expected) => panic!("{said:?}, {expected:?}"),
        }
    }

    fn model(histogram: &str, inputs: &[&str]) -> String {
        let inputs: Vec<String> = inputs.iter().map(|name| format!(r#"{{"name": "{name}"}}"#)).collect();
        let inputs = inputs.join(", ");
        format!(r#"[{{"mlProgramOperationTypeHistogram": {{{histogram}}}, "inputSchema": [{inputs}]}}]"#)
    }

    #[test]
    fn family_attention_and_size_are_what_mochi_makes_of_the_files() {
        let split = r#""Ios16.einsum": 96"#;
        let encoder = r#"[{"inputSchema": [{"shape": "[1, 3, 512, 768]"}]}]"#;
        let of_xl = ["sample", "time_ids", "text_embeds"];
        let sd = model(split, &["sample"]);
        check(&sd, Some(encoder), Ok(("1.x or 2.x", "split-einsum", Some([768, 512]), 0)));
        check(&sd, None, Ok(("1.x or 2.x", "split-einsum", None, 0)));
        for (odd, words) in [
            ("", "EOF"),
            ("x", "expected value"),
            ("{}", "invalid type"),
            ("[]", "0 models"),
            (&format!("[{0}, {0}]", &encoder[1..encoder.len() - 1]), "2 models"),
            (r#"[{"inputSchema": []}]"#, "no shape"),
            (r#"[{"inputSchema": [{"shape": "[1, 3]"}]}]"#, "not that of a picture"),
            (r#"[{"inputSchema": [{"shape": "[1, 3, 0, 512]"}]}]"#, "not that of a picture"),
            (r#"[{"inputSchema": [{"shape": "[1, 3, x, 512, 768]"}]}]"#, "not that of a picture"),
        ] {
            check(&sd, Some(odd), Err(words));
        }
        check(&model(r#""Ios16.conv": 1"#, &of_xl), None, Ok(("XL", "original", None, 0)));
        check(&model(r#""Ios18.einsum": 1"#, &["latent_image_embeddings"]), None, Ok(("3", "original", None, 1)));
        let odd = model(split, &of_xl).replace(r#"{"name": "sample"}"#, r#"{"name": 1}"#);
        check(&odd, None, Ok(("1.x or 2.x", "split-einsum", None, 0)));
        check("[]", None, Err("0 models"));
        check("{}", None, Err("invalid type"));
        check(r#"[{"inputSchema": []}]"#, None, Err("mlProgramOperationTypeHistogram"));
    }
}
