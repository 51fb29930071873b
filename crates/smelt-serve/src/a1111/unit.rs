//! Units of the ControlNet extension: `alwayson_scripts.controlnet.args`.

use serde_json::{Map, Value};
use smelt::image::{Filter, Fit, RgbImage, Size};
use smelt::{Control, ControlPicture, Preprocess};

use super::begin::Begin;
use super::idle::UNIT;
use crate::fault::Fault;
use crate::fields::Fields;
use crate::input;
use crate::options::Limits;

/// A picture that guides.
#[derive(Debug)]
pub(super) struct Unit {
    model: String,
    picture: ControlPicture,
    fit: Fit,
}

impl Unit {
    /// Those of a request that are enabled; scripts of other extensions are not known.
    pub(super) fn read_all(
        scripts: Map<String, Value>,
        begin: Option<&Begin>,
        limits: &Limits,
        ignored: &mut Vec<String>,
    ) -> Result<Vec<Self>, Fault> {
        let mut units = Vec::new();
        for (name, script) in scripts {
            let args = match &script {
                Value::Object(script) => script.get("args").and_then(Value::as_array).cloned().unwrap_or_default(),
                _ => Vec::new(),
            };
            if !name.eq_ignore_ascii_case("controlnet") {
                return Err(Fault::unprocessable(format!("Script '{name}' not found; there is controlnet")));
            }
            for (idx, unit) in args.into_iter().enumerate() {
                let Value::Object(unit) = unit else { continue };
                let fields = Fields::within(unit, &format!("controlnet.{idx}"));
                units.extend(Self::read(fields, begin, limits, ignored)?);
            }
        }
        Ok(units)
    }

    fn read(
        mut fields: Fields,
        begin: Option<&Begin>,
        limits: &Limits,
        ignored: &mut Vec<String>,
    ) -> Result<Option<Self>, Fault> {
        if fields.flag("enabled")? == Some(false) {
            return Ok(None);
        }
        let wrong = |what: &str| Fault::field("controlnet", format!("a unit of ControlNet: {what}"));
        let model = fields.word("model")?.filter(|name| name != "None");
        let model = model.ok_or_else(|| wrong("it names no model; GET /controlnet/model_list says which there are"))?;
        let image = match image(&mut fields) {
            Some(text) => input::picture("controlnet.image", &text, limits)?.image,
            None => begin.map(|begin| begin.given.image.clone()).ok_or_else(|| wrong("it has no image"))?,
        };
        let module = fields.word("module")?;
        let thresholds = [fields.number("threshold_a")?, fields.number("threshold_b")?];
        let fit = fit(fields.value("resize_mode").as_ref())?;
        let usual = ControlPicture::new(image);
        let picture = ControlPicture {
            preprocess: preprocess(module.as_deref(), thresholds)?,
            weight: fields.number("weight")?.unwrap_or(1.0) as f32,
            start: fields.number("guidance_start")?.unwrap_or(usual.start),
            end: fields.number("guidance_end")?.unwrap_or(usual.end),
            ..usual
        };
        fields.check(UNIT)?;
        ignored.extend(fields.names());
        Ok(Some(Self { model, picture, fit }))
    }

    /// The picture as a job takes it, in the proportions of what is drawn, where these are known.
    pub(super) fn control(self, size: Option<Size>) -> (String, Control) {
        let image = match size {
            Some(size) if self.fit != Fit::Stretch => fitted(&self.picture.image, size, self.fit),
            _ => self.picture.image.clone(),
        };
        let picture = ControlPicture { image, ..self.picture };
        (self.model, Control { picture, file: "control".to_owned() })
    }
}

/// The picture in a base64 text, or in an object that has it, as older clients send.
fn image(fields: &mut Fields) -> Option<String> {
    let all = [fields.value("image"), fields.value("input_image")];
    let text = |value: Value| match value {
        Value::String(text) => Some(text),
        Value::Object(parts) => parts.get("image").and_then(Value::as_str).map(str::to_owned),
        _ => None,
    };
    all.into_iter().flatten().filter_map(text).find(|text| !text.is_empty())
}

/// What becomes of other proportions, by name or by number.
fn fit(mode: Option<&Value>) -> Result<Fit, Fault> {
    let mode = match mode {
        None => return Ok(Fit::Crop),
        Some(Value::String(name)) => name.to_lowercase(),
        Some(other) => other.to_string(),
    };
    match mode.as_str() {
        "0" | "just resize" | "scale to fit (inner fit)" => Ok(Fit::Stretch),
        "1" | "crop and resize" | "inner fit (scale to fit)" => Ok(Fit::Crop),
        "2" | "resize and fill" | "outer fit (shrink to fit)" => Ok(Fit::Fill),
        _ => Err(Fault::field(
            "controlnet.resize_mode",
            format!("resize_mode {mode:?} of ControlNet; there are Just Resize, Crop and Resize, and Resize and Fill"),
        )),
    }
}

/// A picture in the proportions of a size, as large as it is.
fn fitted(image: &RgbImage, size: Size, fit: Fit) -> RgbImage {
    let own = image.size();
    let times = (own.width / size.width.max(1)).min(own.height / size.height.max(1)).max(1);
    image.fit(Size { width: size.width * times, height: size.height * times }, fit, Filter::Lanczos)
}

/// What becomes of a picture first.
pub(super) fn preprocess(module: Option<&str>, [low, high]: [Option<f64>; 2]) -> Result<Preprocess, Fault> {
    let wrong = |message: String| Fault::field("controlnet.module", message);
    match module.map(str::to_lowercase).as_deref() {
        None | Some("none") => Ok(Preprocess::None),
        Some("canny") => {
            // What is below 0 is as usual, in the extension too.
            let threshold = |given: Option<f64>, usual: f64| given.filter(|given| *given >= 0.0).unwrap_or(usual);
            let asked = format!("canny:{},{}", threshold(low, 100.0), threshold(high, 200.0));
            asked.parse().map_err(wrong)
        }
        Some(other) => Err(wrong(format!(
            "the preprocessor {other:?} is not done here; there are none and canny: send the picture already prepared"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde_json::json;

    fn read(unit: Value) -> Result<Vec<Unit>, Fault> {
        let Value::Object(scripts) = json!({ "ControlNet": { "args": [unit, false] } }) else { unreachable!() };
        Unit::read_all(scripts, None, &Limits::default(), &mut Vec::new())
    }

    fn image() -> String {
        let mut png = Vec::new();
        RgbImage::new(4, 2, vec![9; 24]).unwrap().write_png(&mut png, &[]).unwrap();
        STANDARD.encode(png)
    }

    #[test]
    fn units_are_read_as_the_extension_reads_them() {
        let units = read(json!({
            "image": { "image": image(), "mask": null }, "module": "Canny", "model": "line [1234abcd]", "weight": "0.5",
            "threshold_a": -1, "threshold_b": 150, "guidance_end": 0.75, "resize_mode": 2, "control_mode": "Balanced",
        }))
        .unwrap();
        let (name, control) = units.into_iter().next().unwrap().control(Some(Size { width: 8, height: 8 }));
        let picture = control.picture;
        assert_eq!((name.as_str(), picture.weight, picture.start, picture.end), ("line [1234abcd]", 0.5, 0.0, 0.75));
        assert_eq!((picture.preprocess.to_string().as_str(), picture.image.height()), ("canny:100,150", 8));
        assert!(read(json!({ "enabled": false })).unwrap().is_empty());
    }

    #[test]
    fn units_that_cannot_be_met_are_refused() {
        for (more, fact) in [
            (json!({ "model": "None" }), "names no model"),
            (json!({ "image": "" }), "no image"),
            (json!({ "module": "depth" }), "none and canny"),
            (json!({ "control_mode": "My prompt is more important" }), "or give \"Balanced\""),
            (json!({ "resize_mode": "Envelope" }), "Just Resize"),
            (json!({ "mask": image() }), "controlnet.0.mask"),
        ] {
            let mut unit = json!({ "model": "line", "image": image() });
            unit.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let error = read(unit).unwrap_err().message;
            assert!(error.contains(fact), "{error}");
        }
    }
}
