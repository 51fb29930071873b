//! How tools count the steps of a picture that they begin with, in the terms of ours: all steps of a schedule, and the share
//! of them that is taken, its last part.

/// How a tool counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counting {
    /// AUTOMATIC1111's web UI 1.10, `sd_samplers_common.py`, and stable-diffusion.cpp.
    WebUi,
    /// ComfyUI, `samplers.py`: as many steps as asked for, the last ones of a schedule that is longer.
    Longer,
    /// diffusers, and Apple's pipelines: as ours.
    Share,
}

/// Steps of a schedule and the share of them that is taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Walk {
    pub(super) steps: u64,
    pub(super) share: f64,
}

/// The web UI takes no strength above this.
const MOST: f64 = 0.999;

impl Counting {
    /// The walk from a picture that is given; none for a strength that changes nothing, or is none.
    pub(super) fn first(self, steps: u64, strength: f64) -> Option<Walk> {
        match self {
            Self::WebUi if (0.0..=1.0).contains(&strength) => {
                Walk::of((strength.min(MOST) * steps as f64) as u64 + 1, steps)
            }
            _ => self.second(steps, strength).filter(|_| self != Self::WebUi),
        }
    }

    /// The walk of a second pass. The web UI takes all steps of it, too.
    pub(super) fn second(self, steps: u64, strength: f64) -> Option<Walk> {
        if !(strength > 0.0 && strength <= 1.0) {
            return None;
        }
        match self {
            Self::WebUi => Walk::of(steps, (steps as f64 / strength.min(MOST)) as u64),
            Self::Longer => Walk::of(steps, (steps as f64 / strength) as u64),
            Self::Share => Some(Walk { steps, share: strength }),
        }
    }
}

impl Walk {
    /// So many of all steps; as a share of few digits, so that it survives being written and read.
    fn of(taken: u64, steps: u64) -> Option<Self> {
        const DIGITS: f64 = 1e6;
        let taken = taken.min(steps);
        let exact = taken as f64 / steps as f64;
        let near = (exact * DIGITS).round() / DIGITS;
        // Ours is rounded down.
        let is_short = ((near * steps as f64) as u64) < taken;
        let share = if is_short { ((exact * DIGITS).round() + 1.0) / DIGITS } else { near };
        (steps > 0 && taken > 0).then_some(Self { steps, share: share.min(1.0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_takes_the_steps_that_are_meant() {
        for steps in 1..=200 {
            for taken in 1..=steps {
                let Walk { share, .. } = Walk::of(taken, steps).unwrap();
                assert_eq!((steps as f64 * share) as u64, taken, "{taken} of {steps}: {share}");
                let again: f64 = serde_json::from_str(&serde_json::to_string(&share).unwrap()).unwrap();
                assert_eq!(again, share);
            }
        }
    }

    #[test]
    fn each_tool_counts_its_own_way() {
        let walk = |counting: Counting, steps, strength| {
            let Walk { steps, share } = counting.first(steps, strength).unwrap();
            (steps, share)
        };
        // int(0.75 · 20) + 1.
        assert_eq!(walk(Counting::WebUi, 20, 0.75), (20, 0.8));
        assert_eq!(walk(Counting::WebUi, 20, 0.0), (20, 0.05));
        assert_eq!(walk(Counting::WebUi, 20, 1.0), (20, 1.0));
        // int(20 / 0.6) = 33 steps, of which the last 20 are taken.
        assert_eq!(walk(Counting::Longer, 20, 0.6), (33, 0.606061));
        assert_eq!(walk(Counting::Longer, 20, 1.0), (20, 1.0));
        assert_eq!(walk(Counting::Share, 20, 0.75), (20, 0.75));
        // A second pass of the web UI: all of 12 steps, the last of int(12 / 0.4).
        assert_eq!(Counting::WebUi.second(12, 0.4), Some(Walk { steps: 30, share: 0.4 }));
        for counting in [Counting::WebUi, Counting::Longer, Counting::Share] {
            assert_eq!(counting.first(20, 1.5), None);
            assert_eq!(counting.first(20, f64::NAN), None);
            assert_eq!(counting.second(20, 0.0), None);
            assert_eq!(counting.first(0, 0.5).filter(|_| counting != Counting::Share), None);
        }
        assert_eq!(Counting::Share.first(20, 0.0), None);
    }
}
