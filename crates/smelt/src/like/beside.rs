//! What a picture was made with that its settings name and do not hold: whoever draws it again gives it, or hears of it.

use std::path::{Path, PathBuf};

use sd_metadata::{Control as Said, Lora, Made};
use sd_runtime::pipeline::Preprocess;

use super::Like;
use crate::error::{Result, refuse};
use crate::loras::LoraAsked;
use crate::request::Control;

/// What is given beside a picture's settings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Given {
    /// Whether there is a picture to begin with.
    pub image: bool,
    /// Whether there is a mask.
    pub mask: bool,
    /// How many ControlNets there are, each with its picture.
    pub controlnets: usize,
    /// Whether there is a refiner.
    pub refiner: bool,
    /// Whether there is a TAESD.
    pub taesd: bool,
    /// Whether there is another VAE.
    pub vae: bool,
    /// LoRAs that are asked for.
    pub loras: Vec<LoraAsked>,
    /// Where LoRAs are looked up that a prompt names.
    pub lora_folder: Option<PathBuf>,
    /// Textual inversions, as they are named: words, files, or names.
    pub embeddings: Vec<String>,
    /// Whether there is noise to begin with.
    pub noise: bool,
}

/// Something that has to be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) what: What,
    /// Its name in the settings; empty where they do not name it.
    pub(super) name: String,
}

/// What it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Image,
    Mask,
    /// The ControlNet of this place.
    Control(usize),
    Refiner,
    Taesd,
    Vae,
    Lora,
    Embedding,
    Noise,
}

impl What {
    /// Its key in the web UI's grammar, and the options that give it.
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Image => ("Init image", "--image"),
            Self::Mask => ("Mask", "--mask"),
            Self::Control(_) => ("ControlNet", "--controlnet and --control-image"),
            Self::Refiner => ("Refiner", "--refiner"),
            Self::Taesd => ("TAESD", "--taesd"),
            Self::Vae => ("VAE", "--vae"),
            Self::Lora => ("LoRA", "--lora"),
            Self::Embedding => ("Embedding", "--embedding"),
            Self::Noise => ("Noise", "--noise"),
        }
    }
}

/// How a picture guided.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Guided {
    /// What became of its picture first, where that is nothing that can be done here.
    pub(super) module: Option<String>,
    pub(super) preprocess: Option<Preprocess>,
    pub(super) weight: Option<f32>,
    pub(super) start: Option<f64>,
    pub(super) end: Option<f64>,
}

impl Like {
    /// Hears what is given beside the settings; what is missing is not taken over.
    ///
    /// # Errors
    /// [`Refused`](crate::Error::Refused) where the picture began with another and none is given, with its name.
    pub fn give(&mut self, given: &Given) -> Result<()> {
        let asked = given.loras.iter().map(|asked| asked.file.display().to_string());
        let loras: Vec<String> = self.settle_networks(given).into_iter().chain(asked).map(|name| bare(&name)).collect();
        for Need { what, name } in std::mem::take(&mut self.needs) {
            let is_given = match what {
                What::Image => given.image,
                What::Mask => given.mask,
                What::Control(idx) => idx < given.controlnets,
                What::Refiner => given.refiner,
                What::Taesd => given.taesd,
                What::Vae => given.vae,
                What::Lora => loras.contains(&bare(&name)),
                What::Embedding => given.embeddings.iter().any(|own| bare(own) == bare(&name)),
                What::Noise => given.noise,
            };
            let (key, options) = what.words();
            match what {
                What::Control(idx) if is_given => self.leave_module(idx),
                _ if is_given => {}
                What::Image if name.is_empty() => {
                    refuse!("{} began with another picture, which it does not name; give it with --image", self.what)
                }
                What::Image => refuse!("{} began with another picture, {name}; give it with --image", self.what),
                _ => self.leave(key, &name, &format!("give it with {options}")),
            }
        }
        if !given.refiner {
            self.settings.shift_remove("refiner_start");
        }
        Ok(())
    }

    /// Gives pictures that guide what is said of those that did.
    pub fn guide(&self, controls: &mut [Control]) {
        for (Control { picture, .. }, said) in controls.iter_mut().zip(&self.guided) {
            picture.preprocess = said.preprocess.unwrap_or(picture.preprocess);
            picture.weight = said.weight.unwrap_or(picture.weight);
            picture.start = said.start.unwrap_or(picture.start);
            picture.end = said.end.unwrap_or(picture.end);
        }
    }

    /// Takes what another tool's settings name.
    pub(super) fn take_beside(&mut self, made: &Made) {
        for lora in &made.loras {
            let Lora { name, weight, text_weight, .. } = lora;
            let numbers = [weight, text_weight].into_iter().flatten().map(|weight| format!(":{weight}"));
            self.need(What::Lora, format!("{name}{}", numbers.collect::<String>()));
        }
        if let Some(vae) = made.vae.as_ref().filter(|vae| !matches!(vae.as_str(), "Automatic" | "None")) {
            self.need(What::Vae, vae.clone());
        }
        if let Some(refiner) = &made.refiner {
            self.need(What::Refiner, refiner.model.clone().unwrap_or_default());
            if let Some(start) = refiner.start {
                self.set("refiner_start", start);
            }
        }
        for (idx, control) in made.controls.iter().enumerate() {
            self.take_control(idx, control);
        }
    }

    fn take_control(&mut self, idx: usize, control: &Said) {
        let parts = [&control.model, &control.image].into_iter().flatten().map(String::as_str);
        self.need(What::Control(idx), parts.collect::<Vec<_>>().join(" with "));
        let preprocess = preprocess(control);
        let module = control.module.clone().filter(|_| preprocess.is_none());
        let (weight, start, end) = (control.weight.map(|weight| weight as f32), control.start, control.end);
        self.guided.push(Guided { module, preprocess, weight, start, end });
        for (key, value) in &control.other {
            self.leave_unless_idle(&format!("ControlNet {idx} {key}"), value, None);
        }
    }

    /// Names what became of a picture first, which is not done here.
    fn leave_module(&mut self, idx: usize) {
        if let Some(module) = self.guided.get(idx).and_then(|guided| guided.module.clone()) {
            self.leave(format!("ControlNet {idx} Module"), module, "the picture has to be prepared so already");
        }
    }

    pub(super) fn need(&mut self, what: What, name: String) {
        self.needs.push(Need { what, name });
    }
}

/// What became of a picture first; none where there is nothing like it here.
fn preprocess(control: &Said) -> Option<Preprocess> {
    let other = |key: &str| control.other.iter().find(|(other, _)| other == key).map(|(_, value)| value.as_str());
    match (control.module.as_deref().unwrap_or("none"), other("Threshold A"), other("Threshold B")) {
        ("canny", Some(low), Some(high)) => format!("canny:{low},{high}").parse().ok(),
        (module, ..) => module.parse().ok(),
    }
}

/// A LoRA's name alone: without folder, ending and weights, in lower case.
pub(super) fn bare(name: &str) -> String {
    let mut name = name;
    while let Some((head, number)) = name.rsplit_once(':') {
        if number.parse::<f64>().is_err() {
            break;
        }
        name = head;
    }
    super::model::bare(Path::new(name).file_name().and_then(|name| name.to_str()).unwrap_or(name))
}
