//! Which model of a pipeline is meant: the role that it plays, and which of the role's models it is.

use std::fmt;

use sd_spec::Role;

use crate::skip_layers::Blocks;

/// A model of a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Part {
    /// What it does.
    pub role: Role,
    /// Which of the models that do it.
    pub form: Form,
    /// How many windows of text it takes at once; mostly one.
    pub n_windows: usize,
}

/// Which of a role's models.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Form {
    /// The role's one model.
    #[default]
    Whole,
    /// One of several that do the same side by side, as ControlNets do; from 0.
    Numbered(usize),
    /// A text encoder of CLIP without so many of its last layers.
    ClipSkipped(usize),
    /// The same, which is told what tokens see of others: `attention_mask` is added to their scores.
    Masked(usize),
    /// The role's model for one sample at a time, beside one that takes two.
    Single,
    /// The same without some blocks of its transformer.
    WithoutBlocks(Blocks),
    /// The same of several side by side; from 0.
    SingleNumbered(usize),
}

impl Form {
    const fn is_late(self) -> bool {
        matches!(self, Self::Masked(_) | Self::Single | Self::WithoutBlocks(_) | Self::SingleNumbered(_))
    }
}

impl From<Role> for Part {
    fn from(role: Role) -> Self {
        Self::new(role, Form::Whole)
    }
}

impl Part {
    const fn new(role: Role, form: Form) -> Self {
        Self { role, form, n_windows: 1 }
    }

    /// The same for texts of so many windows.
    #[must_use]
    pub const fn for_windows(self, n_windows: usize) -> Self {
        Self { n_windows, ..self }
    }

    /// Whether some requests need it alone, so that it waits for the first of them.
    #[must_use]
    pub const fn is_late(self) -> bool {
        self.form.is_late() || self.n_windows != 1
    }

    /// The model of that number, from 0, among several of a role.
    #[must_use]
    pub const fn numbered(role: Role, idx: usize) -> Self {
        Self::new(role, Form::Numbered(idx))
    }

    /// The text encoder without its last `n` layers; with none left out, the role's own.
    #[must_use]
    pub const fn clip_skipped(role: Role, n: usize) -> Self {
        let form = if n == 0 { Form::Whole } else { Form::ClipSkipped(n) };
        Self::new(role, form)
    }

    /// The text encoder without its last `n` layers that takes a mask.
    #[must_use]
    pub const fn masked(role: Role, n: usize) -> Self {
        Self::new(role, Form::Masked(n))
    }

    /// The role's model for one sample at a time.
    #[must_use]
    pub const fn single(role: Role) -> Self {
        Self::new(role, Form::Single)
    }

    /// The role's model for one sample at a time, without these blocks.
    #[must_use]
    pub const fn without_blocks(role: Role, blocks: Blocks) -> Self {
        Self::new(role, Form::WithoutBlocks(blocks))
    }

    /// The model of that number, from 0, for one sample at a time.
    #[must_use]
    pub const fn single_numbered(role: Role, idx: usize) -> Self {
        Self::new(role, Form::SingleNumbered(idx))
    }

    /// What the model is called in messages: Apple's name of the role.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        self.role.spec().package.apple
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.form {
            Form::Whole => write!(f, "{}", self.role),
            Form::Numbered(idx) => write!(f, "{} {}", self.role, idx + 1),
            Form::ClipSkipped(n) => write!(f, "{} without its last {n} layers", self.role),
            Form::Masked(0) => write!(f, "{} that takes a mask", self.role),
            Form::Masked(n) => write!(f, "{} without its last {n} layers that takes a mask", self.role),
            Form::Single => write!(f, "{} for one sample", self.role),
            Form::SingleNumbered(idx) => write!(f, "{} {} for one sample", self.role, idx + 1),
            Form::WithoutBlocks(blocks) => write!(f, "{} without the blocks {blocks}", self.role),
        }?;
        if self.n_windows != 1 {
            write!(f, " for {} windows of text", self.n_windows)?;
        }
        Ok(())
    }
}
