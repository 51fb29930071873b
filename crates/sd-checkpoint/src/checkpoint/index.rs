//! `model_index.json`: which networks a pipeline loads.

use serde_json::{Map, Value};

use sd_spec::{Family, FamilySpec, Role};

/// The index of a checkpoint, if it has one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index(Option<Map<String, Value>>);

/// What it says of an entry.
pub(crate) enum Listed {
    /// A class that is loaded.
    Class(String),
    /// Nothing is loaded, whatever the folder holds.
    LeftOut,
    /// There is no index.
    Unknown,
}

/// Whether an entry of the index holds no network: families that are not known here have several of them, with numbers.
fn is_companion(entry: &str) -> bool {
    let of_family = |family: Family| {
        let spec = family.spec();
        let companions = spec.tokenizers.iter().chain([&spec.scheduler, &spec.feature_extractor]);
        companions.copied().any(|companion| entry.starts_with(companion))
    };
    Family::ALL.into_iter().any(of_family)
}

impl Index {
    pub(crate) const fn new(entries: Option<Map<String, Value>>) -> Self {
        Self(entries)
    }

    pub(crate) const fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// This index, with only those networks that another lists, or where there is no other, that are there.
    pub(crate) fn over(self, own: Self, is_there: impl Fn(Role) -> bool) -> Self {
        let Some(mut entries) = self.0 else { return own };
        let is_class = |pair: &Value| pair.get(1).is_some_and(Value::is_string);
        for role in Role::ALL {
            let folder = role.spec().folder;
            let given = entries.get(folder).filter(|pair| is_class(pair)).cloned();
            let entry = match own.0.as_ref().map(|own| own.get(folder)) {
                // The class is this one's, where it has one.
                Some(Some(pair)) if is_class(pair) => Some(given.unwrap_or_else(|| pair.clone())),
                Some(pair) => pair.cloned(),
                None => given.filter(|_| is_there(role)),
            };
            match entry {
                Some(entry) => entries.insert(folder.to_owned(), entry),
                None => entries.shift_remove(folder),
            };
        }
        Self(Some(entries))
    }

    /// What the index says of an entry; one without an entry is left out, as in diffusers.
    pub(crate) fn listed(&self, entry: &str) -> Listed {
        let Some(index) = &self.0 else { return Listed::Unknown };
        match index.get(entry).and_then(|pair| pair.get(1)).and_then(Value::as_str) {
            Some(class) => Listed::Class(class.to_owned()),
            None => Listed::LeftOut,
        }
    }

    /// The class that it names of an entry, where that is of a library.
    pub(crate) fn class_of(&self, library: &str, entry: &str) -> Option<&str> {
        let pair = self.0.as_ref()?.get(entry)?;
        (pair.get(0)?.as_str()? == library).then(|| pair.get(1)?.as_str()).flatten()
    }

    /// Entries that are models, and none of the family's.
    pub(crate) fn other_models(&self, family: Family) -> impl Iterator<Item = &str> {
        let entries = self.0.iter().flatten();
        let FamilySpec { required, optional, on_request, .. } = family.spec();
        let is_model = |name: &str| {
            let is_ours = [*required, *optional, *on_request].concat().iter().any(|role| role.spec().folder == name);
            !is_ours && !is_companion(name)
        };
        let is_loaded = |pair: &Value| pair.get(1).is_some_and(Value::is_string);
        entries.filter(move |(name, pair)| is_loaded(pair) && is_model(name)).map(|(name, _)| name.as_str())
    }

    /// Whether the denoiser is told an aesthetic score, as that of XL's refiner is.
    pub(crate) fn asks_for_scores(&self) -> bool {
        self.0.as_ref().and_then(|index| index.get("requires_aesthetics_score")) == Some(&Value::Bool(true))
    }

    /// The class of the pipeline, if the index says it.
    pub(crate) fn pipeline(&self) -> Option<String> {
        self.0.as_ref()?.get("_class_name")?.as_str().map(str::to_owned)
    }
}
