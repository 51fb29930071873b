//! What pictures of a grid differ in: a setting and its values, `steps=10,20,30`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::seeds::SeedList;
use crate::error::{Context, Error, Result, refuse};
use crate::request::Request;

/// What a value does to a request.
type Change = Arc<dyn Fn(&mut Request) -> Result<()> + Send + Sync>;

/// Values, each as it is told, and what it does.
type Changes = Vec<(String, Change)>;

/// A setting that may be varied.
struct Parameter {
    name: &'static str,
    /// Reads the values of a list.
    read: fn(Vec<String>) -> Result<Changes>,
}

/// All of them, in the order in which people see them.
static PARAMETERS: [Parameter; 13] = [
    Parameter {
        name: "steps",
        read: |v| {
            numbers(v, |request, steps| {
                if request.timesteps.is_some() || request.sigmas.is_some() {
                    refuse!("steps have no effect beside --timesteps and --sigmas, which say them; leave one out");
                }
                set(&mut request.steps, steps)
            })
        },
    },
    Parameter { name: "guidance", read: |v| numbers(v, |request, scale| set(&mut request.guidance, scale)) },
    Parameter {
        name: "guidance-rescale",
        read: |v| numbers(v, |request, share| set(&mut request.guidance_rescale, share)),
    },
    Parameter { name: "scheduler", read: |v| numbers(v, |request, kind| set(&mut request.scheduler, Some(kind))) },
    Parameter { name: "seed", read: seeds },
    Parameter { name: "prompt", read: |v| replaced(v, "prompt", |request| Some(&mut request.prompt)) },
    Parameter {
        name: "negative-prompt",
        read: |v| replaced(v, "negative prompt", |request| request.negative_prompt.as_mut()),
    },
    Parameter { name: "eta", read: |v| numbers(v, |request, eta| set(&mut request.eta, Some(eta))) },
    Parameter {
        name: "strength",
        read: |v| {
            numbers(v, |request, share| {
                let start = request.start.as_mut().context("strength is of a picture to begin with; give --image")?;
                set(&mut start.strength, Some(share))
            })
        },
    },
    Parameter {
        name: "image-guidance",
        read: |v| {
            numbers(v, |request, scale| {
                let start = request.start.as_mut().context("image-guidance is of a picture to edit; give --image")?;
                set(&mut start.image_guidance, Some(scale))
            })
        },
    },
    Parameter {
        name: "control-weight",
        read: |v| {
            numbers(v, |request, weight| {
                if request.controls.is_empty() {
                    refuse!("control-weight is of ControlNets; give --controlnet");
                }
                request.controls.iter_mut().try_for_each(|control| set(&mut control.picture.weight, weight))
            })
        },
    },
    Parameter {
        name: "variation-strength",
        read: |v| {
            numbers(v, |request, share| {
                let variation = request.variation.as_mut();
                set(&mut variation.context("variation-strength needs --variation-seed")?.strength, share)
            })
        },
    },
    Parameter {
        name: "hires-strength",
        read: |v| {
            numbers(v, |request, share| {
                set(
                    &mut request.hires.as_mut().context("hires-strength is of a second pass; give --hires")?.strength,
                    share,
                )
            })
        },
    },
];

fn set<T>(place: &mut T, value: T) -> Result<()> {
    *place = value;
    Ok(())
}

/// Values that are read alone: numbers, and whatever has a name.
fn numbers<T>(values: Vec<String>, apply: fn(&mut Request, T) -> Result<()>) -> Result<Changes>
where
    T: FromStr<Err: fmt::Display> + Clone + Send + Sync + 'static,
{
    let read = |text: String| -> Result<(String, Change)> {
        let value: T = match text.parse() {
            Ok(value) => value,
            Err(error) => refuse!("{text:?}: {error}"),
        };
        Ok((text, Arc::new(move |request: &mut Request| apply(request, value.clone()))))
    };
    values.into_iter().map(read).collect()
}

fn seeds(values: Vec<String>) -> Result<Changes> {
    let lists = values.iter().map(|text| text.parse::<SeedList>()).collect::<Result<Vec<_>>>()?;
    let one = |seed: u64| -> (String, Change) {
        (seed.to_string(), Arc::new(move |request: &mut Request| set(&mut request.seed, seed)))
    };
    Ok(lists.into_iter().flat_map(|list| list.0).map(one).collect())
}

/// Words in the place of the first, which a text must have.
// "Prompt S/R" of AUTOMATIC1111's web UI.
fn replaced(values: Vec<String>, what: &'static str, text: fn(&mut Request) -> Option<&mut String>) -> Result<Changes> {
    let Some(first) = values.first().cloned().filter(|first| !first.is_empty()) else {
        refuse!("the first of the values is what is looked for in the {what}, and it is empty");
    };
    let one = |word: String| -> (String, Change) {
        let (told, first) = (word.clone(), first.clone());
        let change = move |request: &mut Request| match text(request).filter(|text| text.contains(&first)) {
            Some(text) => set(text, text.replace(&first, &word)),
            None => refuse!("the {what} has no {first:?}, which the other values would stand in the place of"),
        };
        (told, Arc::new(change))
    };
    Ok(values.into_iter().map(one).collect())
}

/// A setting and the values that it has one after another.
///
/// ```
/// let axis: smelt::Axis = "steps=10,20,30".parse()?;
/// assert_eq!(axis.values().len(), 3);
/// # Ok::<(), smelt::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Axis {
    values: Vec<AxisValue>,
}

/// A value of an axis.
#[derive(Clone)]
pub struct AxisValue {
    label: String,
    change: Change,
}

impl fmt::Debug for AxisValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

impl Axis {
    /// What may be varied.
    pub fn names() -> impl Iterator<Item = &'static str> {
        PARAMETERS.iter().map(|parameter| parameter.name)
    }

    /// The values, in their order.
    #[must_use]
    pub fn values(&self) -> &[AxisValue] {
        &self.values
    }
}

impl AxisValue {
    /// Gives it to a request; returns what was changed, as a caption says it.
    ///
    /// # Errors
    /// When the request has nothing that it could change.
    pub fn apply(&self, request: &mut Request) -> Result<String> {
        (self.change)(request)?;
        Ok(self.label.clone())
    }
}

impl FromStr for Axis {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let names = || Axis::names().collect::<Vec<_>>().join(", ");
        let Some((name, values)) = text.split_once('=') else {
            refuse!("{text:?} is not written NAME=VALUE,VALUE,…, as in steps=10,20,30; {} may be varied", names());
        };
        let name = name.trim();
        let Some(parameter) = PARAMETERS.iter().find(|parameter| parameter.name == name.replace('_', "-")) else {
            refuse!("{name:?} cannot be varied; {} can", names());
        };
        let read = (parameter.read)(listed(values)).with_context(|| name.to_owned())?;
        let value = |(told, change)| AxisValue { label: format!("{name}={told}"), change };
        Ok(Self { values: read.into_iter().map(value).collect() })
    }
}

/// The items of a list that is separated by commas; quotes make an item of what has commas itself, and two of them are one.
fn listed(text: &str) -> Vec<String> {
    let (mut items, mut item, mut is_quoted) = (Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(next) = chars.next() {
        match next {
            '"' if is_quoted && chars.next_if_eq(&'"').is_some() => item.push('"'),
            '"' if is_quoted => is_quoted = false,
            '"' if item.trim().is_empty() => (item, is_quoted) = (String::new(), true),
            ',' if !is_quoted => items.push(std::mem::take(&mut item).trim().to_owned()),
            _ => item.push(next),
        }
    }
    items.push(item.trim().to_owned());
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::start::Start;
    use sd_runtime::image::RgbImage;

    fn requests(axis: &str, base: &Request) -> Vec<(String, Request)> {
        let axis: Axis = axis.parse().unwrap_or_else(|e: Error| panic!("{axis}: {}", e.chain()));
        let apply = |value: &AxisValue| {
            let mut request = base.clone();
            (value.apply(&mut request).unwrap(), request)
        };
        axis.values().iter().map(apply).collect()
    }

    #[test]
    fn every_setting_that_may_be_varied_changes_its_own() {
        let start = Start::new(RgbImage::new(8, 8, vec![0; 192]).unwrap(), "a.png");
        let base = Request {
            start: Some(start),
            negative_prompt: Some("1".into()),
            variation: Some(sd_runtime::pipeline::Variation { seed: 1, strength: 0.5 }),
            hires: Some(crate::Hires::new("2".parse().unwrap())),
            ..Request::new("a 1")
        };
        for name in Axis::names().filter(|name| *name != "control-weight") {
            let values = if name == "scheduler" { "ddim,euler" } else { "1,0.25" };
            let values = if ["steps", "seed"].contains(&name) { "1,2" } else { values };
            let [first, last] = &requests(&format!("{name}={values}"), &base)[..] else { panic!("{name}") };
            assert_ne!(first.1, last.1, "{name}");
            assert_eq!(first.0, format!("{name}={}", values.split(',').next().unwrap()));
        }
        let refused = |axis: &str, mut base: Request| -> String {
            axis.parse::<Axis>().unwrap().values()[0].apply(&mut base).unwrap_err().to_string()
        };
        assert!(refused("control-weight=1", base.clone()).contains("--controlnet"));
        assert!(refused("steps=4", Request { sigmas: Some(vec![1.0]), ..base }).contains("--sigmas"));
    }

    #[test]
    fn words_of_a_prompt_stand_in_the_place_of_the_first() {
        let base = Request::new("a red heart, red sky");
        let prompts: Vec<String> =
            requests(r#"prompt=red,blue,"dark, green""#, &base).into_iter().map(|(_, r)| r.prompt).collect();
        let want = ["a red heart, red sky", "a blue heart, blue sky", "a dark, green heart, dark, green sky"];
        assert_eq!(prompts, want);
        assert_eq!(requests("seed=1..3,9", &base).len(), 4);
        let error = "prompt=pink,blue".parse::<Axis>().unwrap().values()[0].apply(&mut base.clone()).unwrap_err();
        assert!(error.to_string().contains("no \"pink\""), "{error}");
    }

    #[test]
    fn what_cannot_be_varied_is_told_with_what_can() {
        for (axis, fact) in [
            ("steps", "is not written NAME=VALUE"),
            ("stepz=1", "\"stepz\" cannot be varied; steps, guidance,"),
            ("steps=10,x", "steps: \"x\": invalid digit"),
            ("steps=", "steps: \"\""),
            ("scheduler=eulr", "scheduler: \"eulr\""),
            ("seed=a", "no seed"),
            ("prompt=", "it is empty"),
        ] {
            let error = axis.parse::<Axis>().unwrap_err().chain();
            assert!(error.contains(fact), "{axis}: {error}");
        }
    }

    #[test]
    fn quotes_keep_commas() {
        assert_eq!(listed(r#"a, b ,"c, ""d""" ,e"f"#), ["a", "b", r#"c, "d""#, r#"e"f"#]);
        assert_eq!(listed(""), [""]);
    }
}
