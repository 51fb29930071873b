//! What a seed draws.

use super::Wildcards;
use super::parse::{Choice, Part};
use crate::error::{Result, refuse};

/// Parts that one prompt is drawn of, at most: files that name one another twice grow without end.
const MAX_PARTS: usize = 10_000;
/// Files within one another, at most.
const MAX_DEPTH: usize = 32;

/// A drawing under way.
pub(super) struct Drawing<'w> {
    wildcards: &'w mut Wildcards,
    random: SplitMix,
    n_parts: usize,
    /// Names of the files that are being drawn from.
    within: Vec<String>,
}

impl<'w> Drawing<'w> {
    pub(super) fn new(wildcards: &'w mut Wildcards, seed: u64, idx: u64) -> Self {
        // Texts of one picture begin far apart.
        let mut apart = SplitMix(idx);
        Self { wildcards, random: SplitMix(seed ^ apart.next()), n_parts: 0, within: Vec::new() }
    }

    pub(super) fn text(&mut self, parts: &[Part]) -> Result<String> {
        let mut text = String::new();
        for part in parts {
            self.n_parts += 1;
            if self.n_parts > MAX_PARTS {
                refuse!("{} are in circles, or too many", self.names());
            }
            match part {
                Part::Text(own) => text.push_str(own),
                Part::Choice(choice) => text.push_str(&self.choice(choice)?),
                Part::Line(name) => text.push_str(&self.line(name)?),
            }
        }
        Ok(text)
    }

    fn line(&mut self, name: &str) -> Result<String> {
        let lines = self.wildcards.lines(name)?;
        let idx = self.random.below(lines.len());
        self.within_file(name, &lines[idx])
    }

    fn within_file(&mut self, name: &str, parts: &[Part]) -> Result<String> {
        self.within.push(name.to_owned());
        if self.within.len() > MAX_DEPTH {
            refuse!("{} name one another in circles", self.names());
        }
        let text = self.text(parts);
        self.within.pop();
        text
    }

    fn choice(&mut self, choice: &Choice) -> Result<String> {
        // Several of one file are different lines of it.
        if let [(_, parts)] = &choice.options[..]
            && let [Part::Line(name)] = &parts[..]
            && choice.most != Some(1)
        {
            let lines = self.wildcards.lines(name)?;
            let drawn = self.several(choice, &mut vec![1.0; lines.len()]);
            let texts = drawn.into_iter().map(|idx| self.within_file(name, &lines[idx]));
            return Ok(texts.collect::<Result<Vec<_>>>()?.join(&choice.separator));
        }
        let mut weights: Vec<f64> = choice.options.iter().map(|(weight, _)| *weight).collect();
        let drawn = self.several(choice, &mut weights);
        let texts = drawn.into_iter().map(|idx| self.text(&choice.options[idx].1));
        Ok(texts.collect::<Result<Vec<_>>>()?.join(&choice.separator))
    }

    /// Draws as many as a choice asks for, each at most once.
    fn several(&mut self, choice: &Choice, weights: &mut [f64]) -> Vec<usize> {
        let n_possible = weights.iter().filter(|weight| **weight > 0.0).count();
        let most = choice.most.unwrap_or(n_possible).min(n_possible);
        let least = choice.least.min(most);
        let n = least + self.random.below(most - least + 1);
        let mut drawn = Vec::with_capacity(n);
        for _ in 0..n {
            let idx = self.random.weighted(weights);
            weights[idx] = 0.0;
            drawn.push(idx);
        }
        drawn
    }

    /// The files that are being drawn from, each once.
    fn names(&self) -> String {
        let mut names: Vec<String> = Vec::new();
        for name in self.within.iter().map(|name| format!("__{name}__")) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if names.is_empty() { "the choices".to_owned() } else { names.join(", ") }
    }
}

/// Random numbers that are the same on every machine and in every version.
// Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to below 1, in steps of 2⁻⁵³.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, n: usize) -> usize {
        ((self.unit() * n as f64) as usize).min(n.saturating_sub(1))
    }

    /// An index by weights, of which one at least is above 0.
    fn weighted(&mut self, weights: &[f64]) -> usize {
        let mut at = self.unit() * weights.iter().sum::<f64>();
        let last = weights.iter().rposition(|weight| *weight > 0.0).unwrap_or(0);
        for (idx, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
            if at < *weight {
                return idx;
            }
            at -= weight;
        }
        last
    }
}
