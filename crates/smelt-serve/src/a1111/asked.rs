//! What `txt2img` and `img2img` are asked for, as far as it is said.
//!
//! What it deliberately does not do: settle what is left open, which the model says (`settle`).

use serde_json::{Map, Value};
use smelt::Request;

use super::begin::{self, Begin};
use super::idle::{FIELDS, HIRES, IMAGE};
use super::settings::Settings;
use super::unit::Unit;
use crate::fault::Fault;
use crate::fields::Fields;
use crate::options::ServeOptions;

/// What the second pass may change where a request does not say.
pub(super) const STRENGTH: f64 = 0.7;

/// A request.
pub(super) struct Asked {
    pub(super) prompt: String,
    pub(super) negative: Option<String>,
    pub(super) noise: Noise,
    pub(super) sampler: Option<String>,
    pub(super) schedule: Option<String>,
    pub(super) batch_size: usize,
    pub(super) n_iter: usize,
    pub(super) numbers: Numbers,
    pub(super) hires: Option<Hires>,
    pub(super) begin: Option<Begin>,
    pub(super) units: Vec<Unit>,
    /// The server's settings, with what this request changes of them.
    pub(super) settings: Settings,
    pub(super) model: Option<String>,
    /// Whether the model stays chosen afterwards.
    pub(super) keeps_model: bool,
    pub(super) sends_images: bool,
    /// What the client calls the job.
    pub(super) task: Option<String>,
    /// Fields that nobody knows.
    pub(super) ignored: Vec<String>,
    /// The request as it came, which the response repeats.
    pub(super) echo: Map<String, Value>,
}

/// Seeds.
pub(super) struct Noise {
    pub(super) seed: Option<u64>,
    pub(super) subseed: Option<u64>,
    pub(super) subseed_strength: f64,
}

/// Numbers that the model says where a request does not.
pub(super) struct Numbers {
    pub(super) steps: Option<usize>,
    pub(super) guidance: Option<f64>,
    pub(super) width: Option<usize>,
    pub(super) height: Option<usize>,
    pub(super) eta: Option<f64>,
    /// Of the second pass, or of a picture to begin with.
    pub(super) strength: Option<f64>,
}

/// A second pass.
pub(super) struct Hires {
    pub(super) scale: f64,
    /// A side that is 0 follows from the other.
    pub(super) size: (usize, usize),
    pub(super) upscaler: Option<String>,
    pub(super) steps: Option<usize>,
}

impl Asked {
    /// Reads a request; `img2img` has a picture to begin with.
    pub(super) fn read(
        all: Map<String, Value>,
        is_image: bool,
        settings: &Settings,
        options: &ServeOptions,
    ) -> Result<Self, Fault> {
        let echo = all.clone();
        let mut fields = Fields::new(all);
        check_saving(&mut fields, options)?;
        let overrides = fields.object("override_settings")?;
        let (settings, model, mut ignored) = settings.with(Fields::within(overrides, "override_settings"))?;
        let begin = if is_image { Some(Begin::read(&mut fields, &options.limits)?) } else { None };
        let scripts = fields.object("alwayson_scripts")?;
        let units = Unit::read_all(scripts, begin.as_ref(), &options.limits, &mut ignored)?;
        let hires = if is_image { None } else { hires(&mut fields)? };
        let sampler = (fields.word("sampler_name")?, fields.word("sampler_index")?);
        let asked = Self {
            prompt: fields.text("prompt")?.unwrap_or_default(),
            negative: fields.text("negative_prompt")?,
            noise: Noise::read(&mut fields)?,
            sampler: sampler.0.or(sampler.1),
            schedule: fields.word("scheduler")?,
            batch_size: fields.count("batch_size")?.unwrap_or(1),
            n_iter: fields.count("n_iter")?.unwrap_or(1),
            numbers: Numbers::read(&mut fields)?,
            hires,
            begin,
            units,
            settings,
            model,
            keeps_model: !fields.flag("override_settings_restore_afterwards")?.unwrap_or(true),
            sends_images: fields.flag("send_images")?.unwrap_or(true),
            task: fields.word("force_task_id")?,
            ignored: Vec::new(),
            echo,
        };
        ignored.extend(rest(fields, is_image)?);
        Ok(Self { ignored, ..asked })
    }

    /// The strength of a request that has one: of a second pass, or of a picture to begin with.
    pub(super) fn strength(&self, request: &Request) -> Option<f64> {
        let usual = if request.start.is_some() { begin::STRENGTH } else { STRENGTH };
        let has_one = request.start.is_some() || request.hires.is_some();
        has_one.then(|| self.numbers.strength.unwrap_or(usual))
    }

    /// How many pictures.
    pub(super) const fn count(&self) -> usize {
        self.batch_size.saturating_mul(self.n_iter)
    }
}

impl Noise {
    fn read(fields: &mut Fields) -> Result<Self, Fault> {
        Ok(Self {
            seed: fields.seed("seed")?,
            subseed: fields.seed("subseed")?,
            subseed_strength: fields.number("subseed_strength")?.unwrap_or(0.0),
        })
    }
}

impl Numbers {
    fn read(fields: &mut Fields) -> Result<Self, Fault> {
        Ok(Self {
            steps: fields.count("steps")?,
            guidance: fields.number("cfg_scale")?,
            width: fields.count("width")?,
            height: fields.count("height")?,
            eta: fields.number("eta")?,
            strength: fields.number("denoising_strength")?,
        })
    }
}

/// Pictures are kept in files or not as the server was started.
fn check_saving(fields: &mut Fields, options: &ServeOptions) -> Result<(), Fault> {
    match fields.flag("save_images")? {
        Some(true) if options.keep.is_none() => Err(Fault::field(
            "save_images",
            "save_images: this server keeps no files; start it with --keep FOLDER, or leave save_images out",
        )),
        _ => Ok(()),
    }
}

fn hires(fields: &mut Fields) -> Result<Option<Hires>, Fault> {
    let is_on = fields.flag("enable_hr")?.unwrap_or(false);
    let hires = Hires {
        scale: fields.number("hr_scale")?.unwrap_or(2.0),
        size: (fields.count("hr_resize_x")?.unwrap_or(0), fields.count("hr_resize_y")?.unwrap_or(0)),
        upscaler: fields.word("hr_upscaler")?.filter(|name| name != "None"),
        steps: fields.count("hr_second_pass_steps")?.filter(|steps| *steps > 0),
    };
    if !is_on {
        // Says nothing without a second pass.
        HIRES.iter().for_each(|idle| drop(fields.value(idle.name)));
    }
    Ok(is_on.then_some(hires))
}

/// What is left: refused, or named.
fn rest(mut fields: Fields, is_image: bool) -> Result<Vec<String>, Fault> {
    fields.check(FIELDS)?;
    fields.check(if is_image { IMAGE } else { HIRES })?;
    Ok(fields.names())
}
