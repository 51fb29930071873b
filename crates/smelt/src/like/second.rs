//! A second, larger pass of another tool.

use sd_metadata::{Hires as Said, Made, Size, Tool};
use sd_runtime::pipeline::LatentFilter;

use super::Like;
use super::count::{Counting, Walk};
use super::tools;
use crate::hires::{Enlarge, Hires, HiresSize, PictureFilter};

impl Like {
    /// Takes the second pass; what it is told apart from the first is not taken over.
    pub(super) fn take_second(&mut self, made: &Made, said: &Said) {
        let Some(size) = size(made, said) else {
            return self.leave("Hires upscale", said.scale.unwrap_or_default(), "no size that a second pass can have");
        };
        let mut hires = Hires { by: self.enlarge(made.tool, said), ..Hires::new(size) };
        let steps = said.steps.filter(|steps| *steps > 0).or(made.steps).unwrap_or(0);
        if let Some(strength) = made.strength {
            // Our own text counts as the web UI does, whose words it has.
            let counting = match made.tool {
                Tool::Smelt => Counting::WebUi,
                tool => tools::habits(tool).counting,
            };
            match counting.second(steps, strength) {
                Some(Walk { steps, share }) => {
                    hires.strength = share;
                    hires.steps = usize::try_from(steps).ok().filter(|steps| *steps > 0);
                }
                None => self.leave("Denoising strength", strength, "it is not above 0 and at most 1"),
            }
        }
        self.set("hires", hires);
        let texts = [
            ("Hires sampler", &said.sampler, &made.sampler),
            ("Hires schedule type", &said.schedule, &made.schedule),
            ("Hires prompt", &said.prompt, &made.prompt),
            ("Hires negative prompt", &said.negative, &made.negative),
            ("Hires checkpoint", &said.model, &made.model),
        ];
        for (key, of_second, of_first) in texts {
            if let Some(value) = of_second.as_ref().filter(|_| of_second != of_first) {
                self.leave(key, value, "it is that of the first pass");
            }
        }
        if let Some(guidance) = said.guidance.filter(|guidance| Some(*guidance) != made.guidance) {
            self.leave("Hires CFG Scale", guidance, "it is that of the first pass");
        }
    }

    /// How what was drawn was enlarged, or what is nearest.
    fn enlarge(&mut self, tool: Tool, said: &Said) -> Enlarge {
        let Some(name) = &said.upscaler else { return Enlarge::default() };
        let is_comfy = matches!(tool, Tool::ComfyUi | Tool::SwarmUi);
        let found = match name.as_str() {
            // Of ComfyUI's node for latents.
            "nearest-exact" if is_comfy => Some(Enlarge::Latents(LatentFilter::NearestExact)),
            "bilinear" if is_comfy => Some(Enlarge::Latents(LatentFilter::Bilinear)),
            "bicubic" if is_comfy => Some(Enlarge::Latents(LatentFilter::Bicubic)),
            name => name.parse().ok(),
        };
        found.unwrap_or_else(|| {
            self.leave("Hires upscaler", name, "the picture between the passes is enlarged by Lanczos");
            Enlarge::Picture(PictureFilter::Lanczos)
        })
    }
}

/// The size of the second pass; a side that is 0 follows from the other.
fn size(made: &Made, said: &Said) -> Option<HiresSize> {
    let Some(Size { width, height }) = said.size.filter(|size| (size.width, size.height) != (0, 0)) else {
        return said.scale?.to_string().parse().ok();
    };
    let first = made.size.filter(|size| size.width > 0 && size.height > 0);
    let follow = |side: u64, by: u64, of: u64| side.checked_mul(by).map(|product| product / of);
    let (width, height) = match (width, height, first) {
        (0, _, Some(first)) => (follow(height, first.width, first.height)?, height),
        (_, 0, Some(first)) => (width, follow(width, first.height, first.width)?),
        _ => (width, height),
    };
    format!("{width}x{height}").parse().ok()
}
