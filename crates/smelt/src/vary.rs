//! Several requests made of one: for a list of prompts, a list of seeds, and what one or two axes say, as a grid shows them.
//!
//! What may be varied is a table ([`axis`]). How pictures are laid out, and what their files are called, is the client's.

mod axis;
mod seeds;

pub use axis::{Axis, AxisValue};
pub use seeds::SeedList;

use sd_runtime::pipeline::Seeds;

use crate::error::{Result, refuse};
use crate::request::Request;
use crate::wildcards::Wildcards;

/// More pictures than that are a slip.
const MAX_PICTURES: usize = 100_000;

/// What differs between requests; what is empty or absent stays as it is in the one that they are made of.
#[derive(Debug, Default)]
pub struct Variations {
    /// A prompt for each.
    pub prompts: Vec<String>,
    /// A seed for each.
    pub seeds: Vec<u64>,
    /// From left to right.
    pub x: Option<Axis>,
    /// From top to bottom.
    pub y: Option<Axis>,
    /// Prompts have choices, of which each picture's seed draws some.
    pub wildcards: Option<Wildcards>,
}

/// One of several requests.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Varied {
    /// What is drawn.
    pub request: Request,
    /// What it has of its own, as captions say it: `steps=10`.
    pub labels: Vec<String>,
}

impl Variations {
    /// Whether there is nothing but one request.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { prompts, seeds, x, y, wildcards } = self;
        prompts.is_empty() && seeds.is_empty() && x.is_none() && y.is_none() && wildcards.is_none()
    }

    /// Columns of a grid of all pictures, where an axis says so: its values, each as often as it is drawn.
    #[must_use]
    pub fn columns(&self, base: &Request) -> Option<usize> {
        let n_values = self.x.as_ref().map(|axis| axis.values().len());
        n_values.or(self.y.as_ref().map(|_| 1)).map(|n| n * base.drawn_count())
    }

    /// The requests, in the order in which a grid has them: for each prompt and each seed the rows of the second axis, and in
    /// each the columns of the first.
    ///
    /// With choices in prompts, pictures of one request have seeds of their own, and so prompts of their own: unless their
    /// random numbers are asked to come from one stream, each is a request.
    ///
    /// # Errors
    /// For values that a request cannot have, for choices that cannot be drawn, and for more pictures than anybody wants.
    pub fn requests(&mut self, base: &Request) -> Result<Vec<Varied>> {
        let mut all = vec![Varied { request: base.clone(), labels: Vec::new() }];
        if !self.prompts.is_empty() {
            all = each(&all, &self.prompts, |request, prompt| {
                request.prompt.clone_from(prompt);
                Ok(None)
            })?;
        }
        if !self.seeds.is_empty() {
            let is_told = self.seeds.len() > 1;
            all = each(&all, &self.seeds, |request, seed| {
                request.seed = *seed;
                Ok(is_told.then(|| format!("seed={seed}")))
            })?;
        }
        for axis in [&self.y, &self.x].into_iter().flatten() {
            all = each(&all, axis.values(), |request, value| value.apply(request).map(Some))?;
        }
        if let Some(wildcards) = &mut self.wildcards {
            all = all.into_iter().flat_map(one_by_one).collect();
            all.iter_mut().try_for_each(|varied| draw(&mut varied.request, wildcards))?;
        }
        Request::check_same_networks(all.iter().map(|varied| &varied.request))?;
        match all.iter().map(|varied| varied.request.drawn_count()).sum::<usize>() {
            0..=MAX_PICTURES => Ok(all),
            n => refuse!("that makes {n} pictures; up to {MAX_PICTURES} are drawn at a time"),
        }
    }
}

/// Every request with every value.
fn each<T>(
    requests: &[Varied],
    values: &[T],
    apply: impl Fn(&mut Request, &T) -> Result<Option<String>>,
) -> Result<Vec<Varied>> {
    if requests.len().saturating_mul(values.len()) > MAX_PICTURES {
        refuse!(
            "that makes {} times {} pictures; up to {MAX_PICTURES} are drawn at a time",
            requests.len(),
            values.len()
        );
    }
    let mut all = Vec::with_capacity(requests.len() * values.len());
    for varied in requests {
        for value in values {
            let mut varied = varied.clone();
            varied.labels.extend(apply(&mut varied.request, value)?);
            all.push(varied);
        }
    }
    Ok(all)
}

/// A request for each picture of one, where each has a seed of its own.
fn one_by_one(varied: Varied) -> Vec<Varied> {
    let Varied { request, labels } = varied;
    if request.seeds == Seeds::Stream || request.drawn_count() <= 1 {
        return vec![Varied { request, labels }];
    }
    let one = |idx: usize| {
        let mut one = Request { count: 1, ..request.clone() };
        match &mut one.variation {
            // As the pictures of one request have them.
            Some(variation) => variation.seed = variation.seed.wrapping_add(idx as u64),
            None => one.seed = one.seed.wrapping_add(idx as u64),
        }
        if let Some(noise) = request.noise.get(idx) {
            one.noise = vec![noise.clone()];
        }
        Varied { request: one, labels: labels.clone() }
    };
    (0..request.count).map(one).collect()
}

/// Draws the texts of a request, each by the seed and its own place.
fn draw(request: &mut Request, wildcards: &mut Wildcards) -> Result<()> {
    let seed = request.variation.map_or(request.seed, |variation| request.seed ^ variation.seed.rotate_left(32));
    let texts = [
        Some(&mut request.prompt),
        request.negative_prompt.as_mut(),
        request.prompt_2.as_mut(),
        request.negative_prompt_2.as_mut(),
    ];
    for (idx, text) in (0..).zip(texts) {
        if let Some(text) = text {
            *text = wildcards.draw(text, seed, idx)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(variations: &mut Variations, base: &Request) -> Vec<String> {
        let said = |Varied { request, labels }: Varied| {
            format!("{} {} {} {} {}", request.prompt, request.seed, request.steps, request.guidance, labels.join(" "))
        };
        variations.requests(base).unwrap().into_iter().map(said).collect()
    }

    #[test]
    fn rows_are_within_seeds_and_seeds_within_prompts() {
        let base = Request { seed: 3, ..Request::new("x") };
        assert_eq!(told(&mut Variations::default(), &base), ["x 3 20 7.5 "]);
        let mut variations = Variations {
            prompts: vec!["a".into(), "b".into()],
            seeds: vec![1, 2],
            x: Some("steps=4,8".parse().unwrap()),
            ..Variations::default()
        };
        assert!(!variations.is_empty() && Variations::default().is_empty());
        let want = [
            "a 1 4 7.5 seed=1 steps=4",
            "a 1 8 7.5 seed=1 steps=8",
            "a 2 4 7.5 seed=2 steps=4",
            "a 2 8 7.5 seed=2 steps=8",
        ];
        assert_eq!(told(&mut variations, &base)[..4], want);
        let mut grid = Variations {
            x: Some("steps=4,8".parse().unwrap()),
            y: Some("guidance=1,2".parse().unwrap()),
            ..Variations::default()
        };
        let want = [
            "x 3 4 1 guidance=1 steps=4",
            "x 3 8 1 guidance=1 steps=8",
            "x 3 4 2 guidance=2 steps=4",
            "x 3 8 2 guidance=2 steps=8",
        ];
        assert_eq!(told(&mut grid, &base), want);
    }

    #[test]
    fn prompts_with_choices_are_drawn_for_each_seed() {
        let dir = tempfile::tempdir().unwrap();
        let base = Request { seed: 3, count: 8, seeds: Seeds::Each, ..Request::new("{a|b|c|d|e|f}") };
        let mut variations =
            Variations { wildcards: Some(Wildcards::of(dir.path()).unwrap()), ..Variations::default() };
        let all = variations.requests(&base).unwrap();
        assert_eq!(all.iter().map(|varied| (varied.request.seed, varied.request.count)).collect::<Vec<_>>(), {
            (3..11).map(|seed| (seed, 1)).collect::<Vec<_>>()
        });
        let prompts: std::collections::BTreeSet<&str> = all.iter().map(|v| v.request.prompt.as_str()).collect();
        assert!(prompts.len() > 1, "{prompts:?}");
        // The same seed draws the same, alone too.
        let alone = Request { seed: 7, count: 1, ..base.clone() };
        assert_eq!(variations.requests(&alone).unwrap()[0].request.prompt, all[4].request.prompt);
        let stream = Request { seeds: Seeds::Stream, ..base };
        assert_eq!(variations.requests(&stream).unwrap().len(), 1);
    }

    #[test]
    fn all_prompts_of_a_run_name_the_same_loras() {
        let mut variations = Variations { prompts: vec!["a <lora:b:1>".into(), "c".into()], ..Variations::default() };
        let error = variations.requests(&Request::new("x")).unwrap_err().to_string();
        assert!(error.contains("\"a <lora:b:1>\" and \"c\" name different LoRAs"), "{error}");
        variations.prompts[1] = "<lora:b:1> c".into();
        assert_eq!(variations.requests(&Request::new("x")).unwrap().len(), 2);
    }

    #[test]
    fn more_than_anybody_wants_is_refused() {
        let mut variations = Variations { seeds: (0..1000).collect(), ..Variations::default() };
        variations.prompts = (0..1000).map(|i| i.to_string()).collect();
        let error = variations.requests(&Request::new("x")).unwrap_err().to_string();
        assert!(error.contains("1000 times 1000 pictures"), "{error}");
        let many = Request { count: 65_535, ..Request::new("x") };
        let mut variations = Variations { seeds: vec![1, 2], ..Variations::default() };
        assert!(variations.requests(&many).unwrap_err().to_string().contains("131070 pictures"));
    }
}
