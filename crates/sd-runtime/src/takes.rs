//! What a denoiser takes beside the latents, known by the number of its channels.

/// What a denoiser's sample is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Takes {
    /// Latents alone.
    Latents,
    /// Latents, a mask, and the latents of a picture without what is masked: an inpainting model.
    Masked,
    /// Latents, and those of a picture that is edited by instructions: InstructPix2Pix.
    Picture,
}

impl Takes {
    /// What so many channels are, where latents have so many; `None` for what nobody gives.
    ///
    /// ```
    /// use sd_runtime::pipeline::Takes;
    /// assert_eq!([4, 9, 8, 5].map(|n| Takes::of(n, 4)), [
    ///     Some(Takes::Latents),
    ///     Some(Takes::Masked),
    ///     Some(Takes::Picture),
    ///     None,
    /// ]);
    /// ```
    #[must_use]
    pub fn of(in_channels: usize, latent_channels: usize) -> Option<Self> {
        let twice = latent_channels.checked_mul(2);
        if in_channels == latent_channels {
            Some(Self::Latents)
        } else if twice == Some(in_channels) {
            Some(Self::Picture)
        } else if twice.and_then(|n| n.checked_add(1)) == Some(in_channels) {
            Some(Self::Masked)
        } else {
            None
        }
    }

    /// What the model is, after "the UNet is", and what it needs; nothing for one that draws from noise alone.
    #[must_use]
    pub const fn needs(self) -> Option<&'static str> {
        match self {
            Self::Latents => None,
            Self::Masked => Some(
                "an inpainting model, which repaints what is masked: give a picture and a mask (--image, --mask), or a \
                 picture and more room around it (--image, --outpaint)",
            ),
            Self::Picture => Some(
                "an InstructPix2Pix model, which edits a picture as the prompt instructs: give the picture (--image)",
            ),
        }
    }
}
