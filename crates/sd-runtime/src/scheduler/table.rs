//! The table of schedulers.

use sd_spec::keys;

use super::config::PredictionType;
use super::entry::{Entry, Family, SchedulerKind};
use super::{
    ddim, ddpm, deis, dpm_solver, dpm_solver_sde, dpm_solver_singlestep, dpmpp_2s_ancestral, edm_dpm_solver, edm_euler,
    euler, euler_ancestral, flow_euler, flow_heun, flow_lcm, heun, ipndm, kdpm2, kdpm2_ancestral, lcm, lms, pndm,
    sa_solver, tcd, unipc,
};
use crate::error::{Result, RuntimeError};

/// In the order in which people see them, and in that of [`SchedulerKind`].
const TABLE: [&Entry; 24] = [
    &pndm::ENTRY,
    &dpm_solver::ENTRY,
    &ddim::ENTRY,
    &euler::ENTRY,
    &euler_ancestral::ENTRY,
    &heun::ENTRY,
    &lms::ENTRY,
    &kdpm2::ENTRY,
    &kdpm2_ancestral::ENTRY,
    &dpm_solver_sde::ENTRY,
    &dpmpp_2s_ancestral::ENTRY,
    &dpm_solver_singlestep::ENTRY,
    &deis::ENTRY,
    &unipc::ENTRY,
    &sa_solver::ENTRY,
    &ddpm::ENTRY,
    &lcm::ENTRY,
    &tcd::ENTRY,
    &flow_euler::ENTRY,
    &flow_heun::ENTRY,
    &flow_lcm::ENTRY,
    &edm_euler::ENTRY,
    &edm_dpm_solver::ENTRY,
    &ipndm::ENTRY,
];

// An entry is found by its place.
const _: () = {
    let mut idx = 0;
    while idx < TABLE.len() {
        assert!(TABLE[idx].kind as usize == idx, "the table is not in the order of SchedulerKind");
        idx += 1;
    }
};

impl SchedulerKind {
    /// Every kind.
    pub const ALL: [Self; TABLE.len()] = {
        let mut all = [TABLE[0].kind; TABLE.len()];
        let mut idx = 1;
        while idx < TABLE.len() {
            all[idx] = TABLE[idx].kind;
            idx += 1;
        }
        all
    };

    pub(super) const fn entry(self) -> &'static Entry {
        TABLE[self as usize]
    }

    /// The diffusers class, as `_class_name` spells it.
    #[must_use]
    pub const fn class_name(self) -> &'static str {
        self.entry().class
    }

    /// The short name, for command lines, JSON and the settings in pictures.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.entry().name
    }

    /// Other short names that are read, and never written.
    #[must_use]
    pub const fn aliases(self) -> &'static [&'static str] {
        self.entry().aliases
    }

    /// The name that AUTOMATIC1111's web UI shows, or one in its manner.
    #[must_use]
    pub const fn label(self) -> &'static str {
        self.entry().label
    }

    /// What it is, in a line.
    #[must_use]
    pub const fn summary(self) -> &'static str {
        self.entry().summary
    }

    /// What a model's outputs mean to it, where they predict so by the configuration; `None` where that depends on how the
    /// model is preconditioned.
    pub(crate) fn meaning(self, prediction: PredictionType) -> Option<PredictionType> {
        match self.entry().family {
            Family::Edm => None,
            Family::Flow => Some(PredictionType::Flow),
            Family::Betas | Family::BetasOrFlow | Family::Sine => Some(prediction),
        }
    }

    /// All short names, as prose: `a, b or c`.
    #[must_use]
    pub fn names() -> String {
        prose(&Self::ALL.map(Self::name))
    }

    /// Those that draw with models of a family.
    pub(super) fn names_for(family: Family) -> String {
        let fits = |kind: &Self| match kind.entry().family {
            Family::BetasOrFlow => matches!(family, Family::Betas | Family::Flow | Family::BetasOrFlow),
            own => own == family,
        };
        prose(&Self::ALL.into_iter().filter(fits).map(Self::name).collect::<Vec<_>>())
    }
}

fn prose(names: &[&str]) -> String {
    match names {
        [others @ .., last] if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        names => names.concat(),
    }
}

impl std::fmt::Display for SchedulerKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for SchedulerKind {
    type Err = RuntimeError;

    /// Accepts the short name, its aliases, or the diffusers class name.
    fn from_str(s: &str) -> Result<Self> {
        let is_it = |kind: &Self| kind.name() == s || kind.aliases().contains(&s) || kind.class_name() == s;
        let found = Self::ALL.into_iter().find(is_it);
        found.ok_or_else(|| RuntimeError::UnknownScheduler { class: s.to_owned(), advice: advice(s) })
    }
}

/// What to take in place of a scheduler that is not implemented.
fn advice(class: &str) -> String {
    let names = SchedulerKind::names();
    let stem = class.strip_suffix("Scheduler").unwrap_or(class);
    if let Some(near) = SchedulerKind::ALL.into_iter().find(|kind| kind.entry().near.contains(&stem)) {
        return format!("choose {names} by name, of which {near} is the nearest");
    }
    match keys::has_betas(class) {
        Some(false) => {
            "its models were trained neither with betas nor for flow matching as Stable Diffusion 3, and no \
                        scheduler here draws with them"
                .to_owned()
        }
        _ => format!("choose {names} by name"),
    }
}
