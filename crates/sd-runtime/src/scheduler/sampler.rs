//! Names by which people ask for a scheduler: the short one, diffusers' class, AUTOMATIC1111's ("DPM++ 2M Karras"), each
//! with or without the spread of its noise levels.

use serde_json::Value;

use super::config::SchedulerConfig;
use super::entry::SchedulerKind;
use super::options::Take;
use super::settle;
use super::spread::Spread;
use crate::error::{Result, RuntimeError};

/// A scheduler as it was asked for: its algorithm, and what its name says of options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampler {
    kind: SchedulerKind,
    /// Row of [`PRESETS`] that sets keys.
    preset: Option<usize>,
    spread: Option<Spread>,
}

/// A name that means a scheduler with options of its own.
struct Preset {
    name: &'static str,
    label: &'static str,
    kind: SchedulerKind,
    /// Keys and their values as JSON.
    keys: &'static [(&'static str, &'static str)],
}

const PRESETS: [Preset; 5] = [
    // The class has other algorithms too, which a file may name; the short name is of this one.
    Preset {
        name: "dpmpp-2m",
        label: "DPM++ 2M",
        kind: SchedulerKind::DpmSolverMultistep,
        keys: &[("algorithm_type", "\"dpmsolver++\""), ("solver_order", "2")],
    },
    Preset {
        name: "dpmpp-2m-sde",
        label: "DPM++ 2M SDE",
        kind: SchedulerKind::DpmSolverMultistep,
        keys: &[("algorithm_type", "\"sde-dpmsolver++\""), ("solver_order", "2"), ("solver_type", "\"midpoint\"")],
    },
    Preset {
        name: "dpmpp-2m-sde-heun",
        label: "DPM++ 2M SDE Heun",
        kind: SchedulerKind::DpmSolverMultistep,
        keys: &[("algorithm_type", "\"sde-dpmsolver++\""), ("solver_order", "2"), ("solver_type", "\"heun\"")],
    },
    Preset {
        name: "dpmpp-3m-sde",
        label: "DPM++ 3M SDE",
        kind: SchedulerKind::DpmSolverMultistep,
        keys: &[("algorithm_type", "\"sde-dpmsolver++\""), ("solver_order", "3")],
    },
    Preset {
        name: "dpmpp-3m",
        label: "DPM++ 3M",
        kind: SchedulerKind::DpmSolverMultistep,
        keys: &[("algorithm_type", "\"dpmsolver++\""), ("solver_order", "3")],
    },
];

impl From<SchedulerKind> for Sampler {
    fn from(kind: SchedulerKind) -> Self {
        Self { kind, preset: None, spread: None }
    }
}

impl Sampler {
    /// The scheduler.
    #[must_use]
    pub const fn kind(self) -> SchedulerKind {
        self.kind
    }

    /// The spread of its noise levels, where the name says one.
    #[must_use]
    pub const fn spread(self) -> Option<Spread> {
        self.spread
    }

    /// The same with this spread, or with none.
    #[must_use]
    pub const fn with_spread(self, spread: Option<Spread>) -> Self {
        Self { spread, ..self }
    }

    /// What AUTOMATIC1111's web UI calls it, or a name in its manner; without the spread.
    #[must_use]
    pub fn label(self) -> &'static str {
        self.preset.map_or(self.kind.label(), |idx| PRESETS[idx].label)
    }

    /// The spread that it has in AUTOMATIC1111's web UI where none is chosen there; none where that is even time steps.
    // webui 1.10, sd_samplers_kdiffusion.py.
    #[must_use]
    pub fn automatic_spread(self) -> Option<Spread> {
        match self.stem() {
            "dpmpp-2m" | "dpmpp-sde" | "dpmpp-2s-a" | "dpm2" | "dpm2-a" => Some(Spread::Karras),
            "dpmpp-2m-sde" | "dpmpp-2m-sde-heun" | "dpmpp-3m-sde" => Some(Spread::Exponential),
            _ => None,
        }
    }

    /// A name that is read as this scheduler and no other: of one whose short name stands for options too, where it has
    /// none of these, the class.
    #[must_use]
    pub fn exact_name(self) -> String {
        let is_taken = self.preset.is_none() && PRESETS.iter().any(|preset| preset.name == self.kind.name());
        match (is_taken, self.spread) {
            (false, _) => self.to_string(),
            (true, None) => self.kind.class_name().to_owned(),
            (true, Some(spread)) => format!("{}-{}", self.kind.class_name(), spread.name()),
        }
    }

    /// Whether it walks through noise levels that can be chosen.
    #[must_use]
    pub fn has_levels(self) -> bool {
        settle::has_levels(self.kind)
    }

    /// Whether one can choose how much noise it adds on the way.
    #[must_use]
    pub fn takes_eta(self) -> bool {
        self.kind.entry().takes.contains(&Take::Eta)
    }

    /// Every one without a spread, with what AUTOMATIC1111's web UI calls it.
    pub fn all() -> impl Iterator<Item = (Self, &'static str)> {
        // Where a preset has the short name of its kind, the kind is called by its class.
        let is_taken = |kind: SchedulerKind| PRESETS.iter().any(|preset| preset.name == kind.name());
        let label = move |kind: SchedulerKind| if is_taken(kind) { kind.class_name() } else { kind.label() };
        let kinds = SchedulerKind::ALL.into_iter().map(move |kind| (Self::from(kind), label(kind)));
        let presets = PRESETS
            .iter()
            .enumerate()
            .map(|(idx, preset)| (Self { kind: preset.kind, preset: Some(idx), spread: None }, preset.label));
        presets.chain(kinds)
    }

    /// The short name, without a spread.
    fn stem(self) -> &'static str {
        self.preset.map_or(self.kind.name(), |idx| PRESETS[idx].name)
    }

    /// Whether a plain name means it.
    fn is_called(self, label: &str, wanted: &str) -> bool {
        let class = self.preset.is_none().then(|| self.kind.class_name());
        let aliases = if self.stem() == self.kind.name() { self.kind.aliases() } else { &[] };
        let others = class.into_iter().chain(aliases.iter().copied());
        [self.stem(), label].into_iter().chain(others).any(|name| plain(name) == wanted)
    }
}

/// A name without case, blanks and hyphens: `DPM++ 2M` and `dpmpp-2m` are one.
fn plain(name: &str) -> String {
    name.to_lowercase().replace('+', "p").chars().filter(|c| c.is_alphanumeric()).collect()
}

impl std::fmt::Display for Sampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.spread {
            Some(spread) => write!(f, "{}-{}", self.stem(), spread.name()),
            None => f.write_str(self.stem()),
        }
    }
}

impl std::str::FromStr for Sampler {
    type Err = RuntimeError;

    /// Accepts short names, aliases, diffusers' classes and AUTOMATIC1111's names, each with a spread behind it or not.
    fn from_str(s: &str) -> Result<Self> {
        let wanted = plain(s);
        let find =
            |name: &str| Self::all().find(|(sampler, label)| sampler.is_called(label, name)).map(|(found, _)| found);
        if let Some(sampler) = find(&wanted) {
            return Ok(sampler);
        }
        let spreads = Spread::ALL.into_iter().flat_map(|spread| [(spread, spread.name()), (spread, spread.label())]);
        for (spread, name) in spreads {
            if let Some(sampler) = wanted.strip_suffix(&plain(name)).and_then(find) {
                return Ok(Self { spread: Some(spread), ..sampler });
            }
        }
        // A class of diffusers has advice of its own.
        if s.ends_with("Scheduler")
            && let Err(error) = s.parse::<SchedulerKind>()
        {
            return Err(error);
        }
        let nearest = Self::all().min_by_key(|(sampler, label)| {
            distance(&plain(label), &wanted).min(distance(&plain(sampler.stem()), &wanted))
        });
        let nearest =
            nearest.map_or_else(String::new, |(sampler, label)| format!("the nearest is {sampler} ({label}); "));
        let advice = format!("{nearest}there are {}", SchedulerKind::names());
        Err(RuntimeError::UnknownScheduler { class: s.to_owned(), advice })
    }
}

/// Letters that must be put in, taken out or changed to make one word of another.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

impl SchedulerConfig {
    /// As [`asked_for`](Self::asked_for), with what the name says of options.
    ///
    /// # Errors
    /// As there, and [`RuntimeError::Options`] for a spread of a scheduler that has no choice of noise levels.
    pub fn asked_as(&self, sampler: Sampler) -> Result<Self> {
        let mut config = self.asked_for(sampler.kind)?;
        for (key, value) in sampler.preset.map_or(&[][..], |idx| PRESETS[idx].keys) {
            let value: Value = serde_json::from_str(value).expect("invariant: a test reads every preset");
            config = config.with(key, value);
        }
        if let Some(spread) = sampler.spread {
            if !settle::has_levels(sampler.kind) {
                return Err(RuntimeError::Options(format!(
                    "{} has no choice of noise levels, and {} is one",
                    sampler.stem(),
                    spread.name()
                )));
            }
            config.spread = Some(spread);
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, short: &str) {
        let sampler: Sampler = name.parse().unwrap();
        assert_eq!(sampler.to_string(), short);
        assert_eq!(short.parse::<Sampler>().unwrap(), sampler);
        SchedulerConfig::stable_diffusion().asked_as(sampler).unwrap().build(None, 7).unwrap();
    }

    #[test]
    fn names_of_the_web_ui_are_understood() {
        check("DPM++ 2M Karras", "dpmpp-2m-karras");
        check("DPM++ 2M", "dpmpp-2m");
        check("k_dpmpp_2m", "dpmpp-2m");
        check("Euler a", "euler-a");
        check("k_euler_ancestral", "euler-a");
        check("Euler Align Your Steps", "euler-ays");
        check("Euler a SGM Uniform", "euler-a-sgm-uniform");
        check("DPM++ SDE Karras", "dpmpp-sde-karras");
        check("DPM++ 2M SDE Exponential", "dpmpp-2m-sde-exponential");
        check("DPM++ 2M SDE Heun Polyexponential", "dpmpp-2m-sde-heun-polyexponential");
        check("DPM++ 3M SDE Karras", "dpmpp-3m-sde-karras");
        check("DPM++ 2S a Karras", "dpmpp-2s-a-karras");
        check("DPM2 a Karras", "dpm2-a-karras");
        check("LMS Karras", "lms-karras");
        check("Heun Beta", "heun-beta");
        check("UniPC", "unipc");
        check("PLMS", "pndm");
        check("DDIM", "ddim");
        check("EulerDiscreteScheduler", "euler");
    }

    #[test]
    fn every_scheduler_and_preset_parses_back() {
        for (sampler, label) in Sampler::all() {
            assert_eq!(label.parse::<Sampler>().unwrap(), sampler);
            for spread in Spread::ALL {
                let with = Sampler { spread: Some(spread), ..sampler };
                assert_eq!(with.to_string().parse::<Sampler>().unwrap().to_string(), with.to_string());
                assert_eq!(with.exact_name().parse::<Sampler>().unwrap(), with);
            }
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest() {
        for (name, near) in [("Euler b", "euler-a"), ("dpm++2n", "dpmpp-2m"), ("restart", "there are pndm")] {
            let error = name.parse::<Sampler>().unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(near), "{error}");
        }
        let error = SchedulerConfig::stable_diffusion().asked_as("DDIM Karras".parse().unwrap()).unwrap_err();
        assert!(error.to_string().contains("ddim has no choice of noise levels"), "{error}");
    }

    #[test]
    fn spreads_by_name_are_those_of_the_file() {
        let plain = SchedulerConfig::stable_diffusion();
        let asked = plain.asked_as("dpmpp-2m-karras".parse().unwrap()).unwrap().build(None, 12).unwrap();
        let in_file = plain.asked_for(SchedulerKind::DpmSolverMultistep).unwrap().with("use_karras_sigmas", true);
        assert_eq!(format!("{asked:?}"), format!("{:?}", in_file.build(None, 12).unwrap()));
    }
}
