//! Whose names the tensors of a network have, where two layouts have the same network.

/// Whose names they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// Those of the program that trained it: LDM, SGM, Stability's.
    Original,
    /// Those of diffusers.
    Diffusers,
}

impl Spelling {
    /// The name that it has for what two have names for.
    pub(crate) const fn of<'a>(self, original: &'a str, diffusers: &'a str) -> &'a str {
        match self {
            Self::Original => original,
            Self::Diffusers => diffusers,
        }
    }

    /// The first convolution of a UNet, or of a ControlNet.
    pub(crate) const fn first_convolution(self) -> &'static str {
        self.of("input_blocks.0.0.weight", "conv_in.weight")
    }

    /// What takes XL's added conditions.
    pub(crate) const fn added_conditions(self) -> &'static str {
        self.of("label_emb.0.0.weight", "add_embedding.linear_1.weight")
    }

    /// A bias of a UNet's last transformer.
    pub(crate) const fn last_transformer(self) -> &'static str {
        self.of(
            "output_blocks.11.1.transformer_blocks.0.norm1.bias",
            "up_blocks.3.attentions.2.transformer_blocks.0.norm1.bias",
        )
    }
}
