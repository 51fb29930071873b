//! A tool's sampler and noise schedule by their names, as one of ours.

use sd_metadata::{Made, Tool};
use sd_runtime::scheduler::{Sampler, SchedulerKind, Spread};

use super::Like;
use super::tools::{self, Levels};

/// Names that only one tool has, and ours.
const ALIASES: &[(&str, &str)] = &[
    // ComfyUI and InvokeAI.
    ("dpm_2", "dpm2"),
    ("dpm_2_ancestral", "dpm2-a"),
    ("kdpm_2", "dpm2"),
    ("kdpm_2_a", "dpm2-a"),
    ("dpmpp_sde_gpu", "dpmpp-sde"),
    ("dpmpp_2m_sde_gpu", "dpmpp-2m-sde"),
    ("dpmpp_3m_sde_gpu", "dpmpp-3m-sde"),
    // Mochi Diffusion, which has Apple's.
    ("DPM-Solver++", "dpmpp-2m"),
    ("Discrete Flow", "flow-euler"),
];

/// What is said of noise levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// Those that the sampler has of its own accord.
    Automatic,
    /// Even in time.
    Even,
    These(Spread),
    /// Something else.
    Other,
}

impl Said {
    fn of(schedule: &str) -> Self {
        let wanted = plain(schedule);
        let spread =
            Spread::ALL.into_iter().find(|spread| [spread.name(), spread.label()].map(plain).contains(&wanted));
        match (wanted.as_str(), spread) {
            ("automatic" | "auto", _) => Self::Automatic,
            ("normal" | "uniform" | "discrete" | "default" | "native", _) => Self::Even,
            // Behind InvokeAI's names.
            ("k", _) => Self::These(Spread::Karras),
            (_, Some(spread)) => Self::These(spread),
            _ => Self::Other,
        }
    }
}

impl Like {
    /// Takes sampler and noise schedule over, and what is told of the noise that the sampler adds.
    pub(super) fn take_sampler(&mut self, made: &Made) {
        let Some(name) = &made.sampler else { return };
        let Some((sampler, behind)) = find(name) else {
            return self.leave("Sampler", name, "there is none like it; the model's own scheduler is taken");
        };
        // Some names have both in one.
        let mut schedule = sampler.spread().map(Spread::label).or(made.schedule.as_deref());
        let sampler = sampler.with_spread(None);
        match behind {
            Some(behind) if Said::of(behind) == Said::Other => {
                self.leave("Sampler", name, &format!("{sampler} is taken in its place"));
            }
            Some(behind) => schedule = Some(behind),
            None => {}
        }
        let spread = self.spread(made.tool, sampler, schedule);
        let sampler = sampler.with_spread(spread);
        self.set("scheduler", sampler.to_string());
        self.take_eta(made, sampler);
        let is_brownian = sampler.kind() == SchedulerKind::DpmSolverSde || sampler.to_string().contains("m-sde");
        if is_brownian && tools::habits(made.tool).levels == Levels::KDiffusion {
            self.leave(
                "Sampler noise",
                "",
                &format!("{name} draws it along a Brownian path, and here it is drawn anew"),
            );
        }
    }

    /// The noise levels.
    fn spread(&mut self, tool: Tool, sampler: Sampler, schedule: Option<&str>) -> Option<Spread> {
        let (is_web_ui, levels) = (tools::is_web_ui(tool), tools::habits(tool).levels);
        // Samplers in time steps have their own, and the web UI leaves a choice out.
        let is_in_steps =
            matches!(sampler.kind(), SchedulerKind::UniPcMultistep | SchedulerKind::Lcm | SchedulerKind::Tcd)
                && is_web_ui;
        let has_choice = sampler.has_levels() && !is_in_steps;
        let even = (levels == Levels::KDiffusion && has_choice).then_some(Spread::Uniform);
        let Some(schedule) = schedule else { return even };
        match Said::of(schedule) {
            // Of our own settings, where the text says all.
            Said::Even if tool == Tool::Smelt && has_choice => Some(Spread::Uniform),
            Said::Even => even,
            Said::Automatic => sampler.automatic_spread().filter(|_| is_web_ui).or(even),
            Said::These(spread) if has_choice => Some(spread),
            Said::These(_) if is_web_ui => None,
            _ => {
                self.leave(
                    "Schedule type",
                    schedule,
                    &match even {
                        Some(_) => "there is none like it; noise levels are even in time".to_owned(),
                        None => format!("{sampler} has its own"),
                    },
                );
                even
            }
        }
    }

    /// How much noise is added on the way.
    fn take_eta(&mut self, made: &Made, sampler: Sampler) {
        self.set("eta", serde_json::Value::Null);
        let Some(eta) = made.eta else { return };
        // What samplers do of their own accord: ancestral ones add all of it, others none.
        let usual = if sampler.to_string().contains("-a") { 1.0 } else { 0.0 };
        match sampler.takes_eta() {
            true if (0.0..=1.0).contains(&eta) => self.set("eta", eta),
            // stable-diffusion.cpp writes it of every sampler, and heeds it with few.
            false if eta == usual || made.tool == Tool::StableDiffusionCpp => {}
            _ => self.leave("Eta", eta, &format!("{sampler} adds as much noise as it always does")),
        }
    }
}

/// A sampler of that name, and what stands behind a sampler's name in it.
fn find(name: &str) -> Option<(Sampler, Option<&str>)> {
    if let Some(sampler) = called(name) {
        return Some((sampler, None));
    }
    let ends = name.char_indices().rev().filter(|(_, char)| matches!(char, '_' | ' '));
    let mut parts = ends.map(|(at, _)| (&name[..at], &name[at + 1..]));
    parts.find_map(|(name, behind)| Some((called(name)?, Some(behind))))
}

fn called(name: &str) -> Option<Sampler> {
    let alias = ALIASES.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, own)| *own);
    alias.unwrap_or(name).parse().ok()
}

fn plain(name: &str) -> String {
    name.to_lowercase().chars().filter(|char| char.is_alphanumeric()).collect()
}
