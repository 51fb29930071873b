//! Functions of two models, paired by name.

use mil::Function;
use mlpackage::{Body, Model};
use sd_engines::{EngineError, Executor, MilEngine};

/// The functions of one model; a pipeline counts as one.
pub(super) struct Side<'m> {
    model: &'m Model,
    names: Vec<String>,
}

impl<'m> Side<'m> {
    pub(super) fn of(model: &'m Model) -> Self {
        // The default one first, as it stands first in what was typed for a conversion.
        let is_default = |name: &&String| **name == model.description.default_function;
        let names = match &model.body {
            Body::Program(program) => {
                let (default, others): (Vec<_>, Vec<_>) = program.functions.keys().partition(is_default);
                default.into_iter().chain(others).cloned().collect()
            }
            Body::Pipeline(_) => vec!["main".to_owned()],
        };
        Self { model, names }
    }

    /// A function, ready to run; the only one by any name, so that it need not be called as the other model's only one.
    pub(super) fn engine(&self, function: &str, executor: Executor) -> Result<MilEngine, EngineError> {
        match self.names[..] {
            [_] => MilEngine::from_model(self.model, executor),
            _ => MilEngine::from_function(self.model, function, executor),
        }
    }

    /// Every function that runs when `function` does: that one, or those of a pipeline's programs.
    pub(super) fn programs(&self, function: &str) -> Vec<&'m Function> {
        match &self.model.body {
            Body::Program(program) => program.functions.get(function).or_else(|| program.main()).into_iter().collect(),
            Body::Pipeline(_) => self.model.programs().into_iter().filter_map(mil::Program::main).collect(),
        }
    }

    /// The function that reads the caller's inputs first.
    pub(super) fn first_function(&self, function: &str) -> Option<&'m Function> {
        self.programs(function).first().copied()
    }
}

/// Which functions two models have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pairing {
    pub(super) both: Vec<String>,
    pub(super) only_here: Vec<String>,
    pub(super) only_there: Vec<String>,
}

impl Pairing {
    /// Functions of equal names; the only functions of two models belong together whatever they are called.
    pub(super) fn by_name(here: &Side<'_>, there: &Side<'_>) -> Self {
        Self::of(&here.names, &there.names)
    }

    fn of(here: &[String], there: &[String]) -> Self {
        if let ([only], [_]) = (here, there) {
            return Self { both: vec![only.clone()], only_here: Vec::new(), only_there: Vec::new() };
        }
        let but = |these: &[String], those: &[String]| these.iter().filter(|n| !those.contains(n)).cloned().collect();
        Self {
            both: here.iter().filter(|name| there.contains(name)).cloned().collect(),
            only_here: but(here, there),
            only_there: but(there, here),
        }
    }

    /// All functions, for a checkpoint, which has each.
    pub(super) fn all(here: &Side<'_>) -> Self {
        Self { both: here.names.clone(), only_here: Vec::new(), only_there: Vec::new() }
    }

    /// True when each model has what the other has.
    pub(super) fn is_complete(&self) -> bool {
        self.only_here.is_empty() && self.only_there.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(here: &[&str], there: &[&str], expected: [&[&str]; 3]) {
        let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let [both, only_here, only_there] = expected.map(owned);
        assert_eq!(Pairing::of(&owned(here), &owned(there)), Pairing { both, only_here, only_there });
    }

    #[test]
    fn functions_are_paired_by_name() {
        check(&["a", "b"], &["b", "c"], [&["b"], &["a"], &["c"]]);
        check(&["a", "b"], &["a", "b"], [&["a", "b"], &[], &[]]);
        check(&["main"], &["a", "b"], [&[], &["main"], &["a", "b"]]);
    }

    #[test]
    fn two_only_functions_belong_together_whatever_they_are_called() {
        check(&["main"], &["size_8x8"], [&["main"], &[], &[]]);
    }
}
