//! The table of schedulers.

use sd_spec::keys;

use super::entry::{Entry, SchedulerKind};
use super::{ddim, dpm_solver, euler, pndm};
use crate::error::{Result, RuntimeError};

/// In the order in which people see them.
const TABLE: [&Entry; 4] = [&pndm::ENTRY, &dpm_solver::ENTRY, &ddim::ENTRY, &euler::ENTRY];

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
        match self {
            Self::Pndm => &pndm::ENTRY,
            Self::DpmSolverMultistep => &dpm_solver::ENTRY,
            Self::Ddim => &ddim::ENTRY,
            Self::EulerDiscrete => &euler::ENTRY,
        }
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

    /// What it is, in a line.
    #[must_use]
    pub const fn summary(self) -> &'static str {
        self.entry().summary
    }

    /// All short names, as prose: `a, b or c`.
    #[must_use]
    pub fn names() -> String {
        let names = Self::ALL.map(Self::name);
        let (last, others) = names.split_last().expect("invariant: there are several");
        format!("{} or {last}", others.join(", "))
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
    match stem {
        // Distilled models take few steps only with the scheduler that they were made for.
        "LCM" | "TCD" => {
            format!("models that were distilled for it draw well only with it; choose {names} by name to try")
        }
        _ if keys::has_betas(class) == Some(false) => {
            "its models were not trained with a schedule of betas, as flow-matching ones, and no scheduler here \
             draws with them"
                .to_owned()
        }
        _ => format!("choose {names} by name"),
    }
}
