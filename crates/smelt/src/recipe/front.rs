//! Recipes of an analysis: one for a goal, or several along the front of size and quality.

use std::collections::{BTreeMap, BTreeSet};

use mil_compress::Named;
use mil_compress::assign::{self, Assignment, Choice, Group, within_bytes, within_loss};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Goal, psnr_db};
use crate::analysis::Analysis;
use crate::error::{Result, refusal, refuse};
use crate::units::bytes;

/// Which recipes are to be made of an analysis.
#[derive(Debug, Clone)]
pub struct RecipeRequest {
    /// One recipe, for this goal; the size is that of the weights alone. Several along the front without it.
    pub goal: Option<Goal>,
    /// How many, where there is no goal.
    pub count: usize,
    /// Schemes to choose among, beside leaving a weight as it is; none for those of the analysis.
    pub schemes: Vec<Named>,
}

impl Default for RecipeRequest {
    fn default() -> Self {
        Self { goal: None, count: 7, schemes: Vec::new() }
    }
}

/// A scheme for each weight.
#[derive(Debug, Clone, Serialize)]
pub struct Recipe {
    /// Its name: the mean of bits.
    pub name: String,
    /// Bits a weight on average, palettes and scales included.
    pub mean_bits: f64,
    /// Bytes of the weights.
    pub bytes: u64,
    /// Mean squared error at the output that the losses of all weights come to.
    pub loss: f64,
    /// Peak signal-to-noise ratio that this is, in dB; null where nothing is lost.
    pub psnr_db: Option<f64>,
    /// What is not proven of the choice; 0 where it is known to be the best.
    pub gap: f64,
    /// Number of weights by scheme.
    pub counts: BTreeMap<String, usize>,
    /// The scheme of each weight, in the order of the analysis.
    #[serde(skip)]
    pub schemes: Vec<Named>,
}

/// One scheme for all weights that it suits, for comparison.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Uniform {
    pub(super) scheme: Named,
    pub(super) mean_bits: f64,
    pub(super) psnr_db: f64,
}

/// Recipes of one analysis.
#[derive(Debug, Clone)]
pub struct Recipes {
    pub(super) analysis: Analysis,
    /// From the fewest bytes on.
    pub recipes: Vec<Recipe>,
    /// The front: bits and decibels of choices that are the best for their bytes.
    pub(super) curve: Vec<(f64, f64)>,
    pub(super) uniform: Vec<Uniform>,
}

impl Recipes {
    /// Chooses.
    ///
    /// # Errors
    /// For shards, for schemes that the analysis has not, for goals that cannot be met.
    pub fn new(analysis: Analysis, request: &RecipeRequest) -> Result<Self> {
        if let Some(shard) = analysis.shard {
            refuse!("it is shard {} of {}, and has only some of the weights; put them together", shard.index, shard.of);
        }
        let table = Table::new(&analysis, &request.schemes)?;
        let found = match request.goal {
            Some(goal) => vec![table.one(goal, analysis.peak)?],
            None => table.several(request.count),
        };
        let mut recipes: Vec<Recipe> = Vec::new();
        for found in &found {
            recipes.push(table.recipe(found, &recipes, analysis.peak));
        }
        let curve = assign::curve(&table.groups).into_iter();
        let curve = curve.map(|(bytes, loss)| (table.bits(bytes), psnr_db(analysis.peak, loss))).collect();
        // All that was measured, whatever may be chosen.
        let uniform = Table::new(&analysis, &[])?.uniform(analysis.peak);
        Ok(Self { analysis, recipes, curve, uniform })
    }

    /// The recipes as `smelt compress --config` reads them, with what they come to.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let weights = |recipe: &Recipe| -> Map<String, Value> {
            let pairs = self.analysis.weights.iter().zip(&recipe.schemes);
            pairs.map(|(weight, scheme)| (weight.name.clone(), scheme.to_string().into())).collect()
        };
        let recipes: Map<String, Value> =
            self.recipes.iter().map(|recipe| (recipe.name.clone(), json!({"weights": weights(recipe)}))).collect();
        json!({
            "software": crate::SOFTWARE,
            "model": self.analysis.model,
            "inputs": self.analysis.inputs,
            "results": self.recipes,
            "recipes": recipes,
        })
    }
}

/// What there is to choose among.
struct Table {
    groups: Vec<Group>,
    /// The schemes of each group's choices.
    schemes: Vec<Vec<Named>>,
    n_elements: u64,
}

impl Table {
    fn new(analysis: &Analysis, asked: &[Named]) -> Result<Self> {
        let mut table = Self { groups: Vec::new(), schemes: Vec::new(), n_elements: 0 };
        let mut there = BTreeSet::new();
        for weight in &analysis.weights {
            let (mut group, mut schemes) = (Group::default(), Vec::new());
            for choice in &weight.choices {
                let scheme: Named = choice.scheme.parse().map_err(|e| refusal!("{}: {e}", weight.name))?;
                there.insert(choice.scheme.clone());
                if asked.is_empty() || asked.contains(&scheme) {
                    group.choices.push(Choice { bytes: choice.bytes, loss: choice.loss });
                    schemes.push(scheme);
                }
            }
            group.choices.push(Choice { bytes: weight.bytes, loss: 0.0 });
            schemes.push(Named::KEEP);
            table.groups.push(group);
            table.schemes.push(schemes);
            table.n_elements += weight.shape.iter().map(|&n| n as u64).product::<u64>();
        }
        if let Some(missing) = asked.iter().find(|s| **s != Named::KEEP && !there.contains(&s.to_string())) {
            let there: Vec<&str> = there.iter().map(String::as_str).collect();
            refuse!("the analysis has nothing of the scheme {missing}; it has {}", there.join(", "));
        }
        if table.n_elements == 0 {
            refuse!("the analysis has no weights");
        }
        Ok(table)
    }

    fn bits(&self, bytes: u64) -> f64 {
        bytes as f64 * 8.0 / self.n_elements as f64
    }

    /// Bytes of the smallest choices, and of the largest that compress.
    fn range(&self) -> (u64, u64) {
        let of = |group: &Group| {
            let compressed = group.choices.split_last().map_or(&[][..], |(_, compressed)| compressed);
            let all = || group.choices.iter().map(|choice| choice.bytes);
            let most = compressed.iter().map(|choice| choice.bytes).max();
            (all().min().unwrap_or_default(), most.or_else(|| all().max()).unwrap_or_default())
        };
        self.groups.iter().map(of).fold((0, 0), |(a, b), (least, most)| (a + least, b + most))
    }

    fn one(&self, goal: Goal, peak: f64) -> Result<Assignment> {
        let (found, what) = match goal {
            Goal::MeanBits(mean) if mean.is_finite() && mean > 0.0 => {
                let budget = (mean * self.n_elements as f64 / 8.0) as u64;
                (within_bytes(&self.groups, budget), format!("--mean-bits {mean}"))
            }
            Goal::Fit(limit) => (within_bytes(&self.groups, limit), format!("--fit {}", bytes(limit))),
            Goal::Psnr(floor) if floor.is_finite() && peak.is_normal() => {
                let ceiling = peak * peak / 10f64.powf(floor / 10.0);
                (within_loss(&self.groups, ceiling), format!("--psnr {floor}"))
            }
            Goal::MeanBits(mean) => refuse!("--mean-bits {mean} is no number of bits; 4.04 would be"),
            Goal::Psnr(floor) => refuse!("--psnr {floor} cannot be kept; the output's largest magnitude is {peak}"),
        };
        let (least, _) = self.range();
        found.ok_or_else(|| {
            refusal!(
                "{what} is not possible: the smallest schemes come to {:.2} bits, {}",
                self.bits(least),
                bytes(least)
            )
        })
    }

    /// So many, evenly between the smallest schemes and the largest.
    fn several(&self, count: usize) -> Vec<Assignment> {
        let (least, most) = self.range();
        let budgets = (1..=count).map(|i| least + ((most - least) as f64 * i as f64 / (count + 1) as f64) as u64);
        let mut found: Vec<Assignment> = budgets.filter_map(|budget| within_bytes(&self.groups, budget)).collect();
        found.dedup_by(|a, b| a.chosen == b.chosen);
        found
    }

    fn recipe(&self, found: &Assignment, others: &[Recipe], peak: f64) -> Recipe {
        let schemes: Vec<Named> = self.schemes.iter().zip(&found.chosen).map(|(schemes, &i)| schemes[i]).collect();
        let mut counts = BTreeMap::new();
        for scheme in &schemes {
            *counts.entry(scheme.to_string()).or_insert(0) += 1;
        }
        let mean_bits = self.bits(found.bytes);
        let named = (2..).map(|digits| format!("{mean_bits:.digits$}"));
        let mut free = named.filter(|name| others.iter().all(|other| other.name != *name));
        let psnr_db = Some(psnr_db(peak, found.loss)).filter(|db| db.is_finite());
        let (bytes, loss, gap) = (found.bytes, found.loss, found.gap);
        Recipe { name: free.next().unwrap_or_default(), mean_bits, bytes, loss, psnr_db, gap, counts, schemes }
    }

    /// One scheme for all: those that suit every weight.
    fn uniform(&self, peak: f64) -> Vec<Uniform> {
        let all: BTreeSet<String> = self.schemes.iter().flatten().map(ToString::to_string).collect();
        let of = |name: &String| {
            let scheme: Named = name.parse().ok().filter(|scheme| *scheme != Named::KEEP)?;
            let (mut bytes, mut loss) = (0, 0.0);
            for (group, schemes) in self.groups.iter().zip(&self.schemes) {
                let choice = group.choices[schemes.iter().position(|other| *other == scheme)?];
                (bytes, loss) = (bytes + choice.bytes, loss + choice.loss);
            }
            Some(Uniform { scheme, mean_bits: self.bits(bytes), psnr_db: psnr_db(peak, loss) })
        };
        all.iter().filter_map(of).collect()
    }
}
