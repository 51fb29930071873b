//! Which tool wrote a picture's texts.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::carrier::{self, PictureFormat, Text};
use crate::error::MetadataError;
use crate::made::Made;
use crate::tool::Tool;
use crate::{comfy, draw_things, invoke, json, mochi, others, parameters, smelt};

/// What a picture says of how it was made.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Found {
    /// The file's format.
    pub format: PictureFormat,
    /// The settings; absent if none were recognised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made: Option<Made>,
    /// All texts, those that the settings were read from too.
    pub texts: Vec<Text>,
    /// What could not be read, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
}

/// Reads what made a picture from its bytes.
///
/// # Errors
/// [`MetadataError`] if the bytes are no PNG, JPEG or WebP file.
pub fn read(bytes: &[u8]) -> Result<Found, MetadataError> {
    let carrier::Texts { format, texts, mut faults } = carrier::texts(bytes)?;
    let made = recognise_into(&texts, &mut faults);
    Ok(Found { format, made, texts, faults })
}

/// Finds the settings among texts; none if no tool is recognised.
#[must_use]
pub fn recognise(texts: &[Text]) -> Option<Made> {
    recognise_into(texts, &mut Vec::new())
}

/// Reads a text, or says why it cannot.
type Parse = fn(&str) -> Result<Made, String>;

/// Texts whose keyword says what they are, the fullest first, and how they are read.
const KEYED: &[(&str, Parse)] = &[
    ("smelt", |text| object(text).map(smelt::parse)),
    ("invokeai_metadata", |text| object(text).map(invoke::parse)),
    ("sd-metadata", |text| object(text).map(invoke::parse_old)),
    ("Dream", |text| Ok(invoke::parse_dream(text))),
];

/// Texts that may be of several tools, in the order that they are asked.
const OPEN: &[&str] = &[
    "parameters",
    "UserComment",
    "Comment",
    "XPComment",
    "ImageDescription",
    "Caption",
    "comment",
    "description",
    "Description",
    "prompt",
];

fn recognise_into(texts: &[Text], faults: &mut Vec<String>) -> Option<Made> {
    for (keyword, parse) in KEYED {
        for text in named(texts, keyword) {
            match parse(&text.text) {
                Ok(made) => return Some(made),
                Err(why) => faults.push(format!("{keyword}: {why}")),
            }
        }
    }
    // A graph beside settings that a plugin wrote: the settings are ComfyUI's.
    let is_comfy = named(texts, "prompt").any(|text| object(&text.text).is_ok_and(|graph| comfy::is_it(&graph)));
    for keyword in OPEN {
        for text in named(texts, keyword) {
            match open(text, texts) {
                Ok(Some(mut made)) => {
                    if is_comfy && made.tool == Tool::Automatic1111 {
                        made.tool = Tool::ComfyUi;
                    }
                    named_by_program(&mut made, texts);
                    return Some(made);
                }
                Ok(None) => {}
                Err(why) => faults.push(format!("{keyword}: {why}")),
            }
        }
    }
    if named(texts, "workflow").next().is_some() {
        faults.push("workflow: an editor's graph alone, without the one that ran (prompt), is not read".to_owned());
    }
    None
}

/// The texts of a name.
fn named<'a>(texts: &'a [Text], name: &'a str) -> impl Iterator<Item = &'a Text> {
    texts.iter().filter(move |text| text.keyword == name)
}

/// Reads a text of any tool by what it looks like; none if it looks like nothing.
fn open(text: &Text, texts: &[Text]) -> Result<Option<Made>, String> {
    let is_parameters = text.keyword == "parameters";
    let said = text.text.trim();
    if said.starts_with('{') {
        let object = match object(said) {
            Ok(object) => object,
            // Prompts may begin with a brace.
            Err(_) if is_parameters || parameters::has_settings(said) => return Ok(Some(parameters::parse(said))),
            Err(why) => return Err(why),
        };
        let description = texts.iter().find(|text| text.keyword == "Description").map(|text| text.text.as_str());
        return Ok(by_object(object, description).or_else(|| is_parameters.then(|| parameters::parse(said))));
    }
    if mochi::is_it(said) {
        return Ok(Some(mochi::parse(said)));
    }
    let is_it = is_parameters || (parameters::has_settings(said) && said.contains("Steps: "));
    Ok(is_it.then(|| parameters::parse(said)))
}

/// Reads an object of any tool by the names in it.
fn by_object(object: Map<String, Value>, description: Option<&str>) -> Option<Made> {
    Some(match &object {
        _ if smelt::is_it(&object) => smelt::parse(object),
        _ if others::is_swarm(&object) => others::parse_swarm(object),
        _ if draw_things::is_it(&object) => draw_things::parse(object),
        _ if invoke::is_it(&object) => invoke::parse(object),
        _ if others::is_fooocus(&object) => others::parse_fooocus(object),
        _ if others::is_novel(&object) => others::parse_novel(object, description),
        _ if comfy::is_it(&object) => comfy::parse(object),
        _ => return None,
    })
}

/// Programs that name themselves beside settings that do not.
fn named_by_program(made: &mut Made, texts: &[Text]) {
    if made.tool != Tool::Automatic1111 || made.version.is_some() {
        return;
    }
    let is_name = |text: &&Text| matches!(text.keyword.as_str(), "CreatorTool" | "Software" | "OriginatingProgram");
    if let Some(name) = texts.iter().filter(is_name).find(|text| Tool::of_version(&text.text) != Tool::Automatic1111) {
        made.tool = Tool::of_version(&name.text);
    }
}

/// An object, or why it is none.
fn object(text: &str) -> Result<Map<String, Value>, String> {
    match json::parse(text.trim())? {
        Value::Object(object) => Ok(object),
        other => Err(format!("no object, but {}", kind(&other))),
    }
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
