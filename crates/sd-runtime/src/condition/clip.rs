//! A text encoder of CLIP whose states before the last layer count, and its pooled embedding: those of XL and 3.

use sd_spec::{Axis, Dims, Role};

use crate::error::Result;
use crate::models::{Shelf, missing, not_loaded};
use crate::part::Part;
use crate::port::{Port, size};
use crate::watch::Watch;

/// `input_ids` [1, L] → `hidden_embeds` [1, L, D], `pooled_outputs` [1, P].
pub(super) struct ClipEncoder {
    role: Role,
    port: Port,
    /// L: how many ids one call takes.
    length: usize,
}

/// What an encoder says of a text.
pub(super) struct Encoded {
    /// Rows of states, one for each token.
    pub(super) states: Vec<f32>,
    /// Numbers of a row.
    pub(super) width: usize,
    pub(super) pooled: Vec<f32>,
}

impl ClipEncoder {
    /// The encoder of a role.
    ///
    /// # Errors
    /// Where it is missing, or has features of another kind.
    pub(super) fn new(role: Role, models: &mut Shelf) -> Result<Self> {
        let signature = models.signature(role.into())?.ok_or_else(|| missing(role))?;
        let port = Port::new(role, signature, &[])?;
        port.expect_output("hidden_embeds")?;
        port.expect_output("pooled_outputs")?;
        let mut dims = Dims::new();
        port.learn(&mut dims, |name, shape, _| format!("{name} has shape {shape:?}, expected a batch of 1"))?;
        Ok(Self { role, length: size(&dims, Axis::Tokens), port })
    }

    /// How many ids one call takes.
    pub(super) const fn length(&self) -> usize {
        self.length
    }

    pub(super) const fn port(&self) -> &Port {
        &self.port
    }

    /// Widths of the states and of the pooled embedding, where the model file says them.
    pub(super) fn widths(&self) -> (Option<usize>, Option<usize>) {
        let last = |name| self.port.output_dims(name).and_then(|dims| dims.last().copied());
        (last("hidden_embeds"), last("pooled_outputs"))
    }

    /// Encodes ids of the encoder's length.
    ///
    /// States may be those of fewer layers; the pooled embedding is always the whole encoder's, as in diffusers.
    pub(super) fn encode(
        &self,
        models: &mut Shelf,
        ids: &[u32],
        clip_skip: usize,
        watch: &Watch<'_>,
    ) -> Result<Encoded> {
        let ids: Vec<f32> = ids.iter().map(|&id| id as f32).collect();
        let mut outputs = self.port.run(models, [("input_ids", ids.clone())], watch)?;
        let pooled = self.port.take(&mut outputs, "pooled_outputs")?.to_f32_vec();
        if clip_skip > 0 {
            let part = Part::clip_skipped(self.role, clip_skip);
            let signature = models.signature(part)?.ok_or_else(|| not_loaded(part))?;
            outputs = Port::new(part, signature, &[])?.run(models, [("input_ids", ids)], watch)?;
        }
        let states = self.port.take(&mut outputs, "hidden_embeds")?;
        match *states.shape() {
            [1, length, width] if length == self.length => Ok(Encoded { states: states.to_f32_vec(), width, pooled }),
            ref shape => {
                let length = self.length;
                Err(self.port.fault(format!("hidden_embeds has shape {shape:?}, expected [1, {length}, D]")))
            }
        }
    }
}
