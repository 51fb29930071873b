//! What the user wants: a scheme for everything, for operation types, for names.

use crate::{CompressError, PaletteGroups, PaletteMode, Palettize, Scheme};
use std::collections::BTreeMap;

mod json;

/// Which weights are compressed, and how.
///
/// The scheme of a weight is that of its own name, else of the operations that read it: by name, by type, or the
/// global one. Only constants of at least two dimensions and more than [`Self::min_elements`] elements count, unless
/// they are named.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// For all that nothing else says.
    pub global: Scheme,
    /// By operation type.
    pub op_types: BTreeMap<String, Scheme>,
    /// By name, the first that matches.
    pub names: Vec<(Name, Scheme)>,
    /// When not empty, other weights are left: patterns of weight names, operation names or types.
    pub only: Vec<String>,
    /// Weights that are left: patterns of the same kind.
    pub skip: Vec<String>,
    /// Weights of at most this many elements are left.
    pub min_elements: usize,
    /// Decodes weights that are compressed already, and compresses them anew.
    pub recompress: bool,
    /// Raises the program to the opset that the schemes need.
    pub raise_opset: bool,
    /// What converters put before the names of layers: `net` lets `conv_in` mean `net_conv_in_weight` too.
    pub roots: Vec<String>,
}

impl Default for Config {
    /// Nothing is compressed; tables that `gather` looks up in are left alone, as Apple's converter does.
    fn default() -> Self {
        Self {
            global: Scheme::Keep,
            op_types: BTreeMap::from([("gather".to_owned(), Scheme::Keep)]),
            names: Vec::new(),
            only: Vec::new(),
            skip: Vec::new(),
            min_elements: 2048,
            recompress: false,
            raise_opset: false,
            roots: Vec::new(),
        }
    }
}

/// How a weight or operation is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// By the name in the program; `*` stands for any characters, `?` for one.
    Pattern(String),
    /// By the layer in the checkpoint, such as `down_blocks.0.attentions.0.proj_in`, whose weight is meant.
    Layer(String),
}

impl Config {
    /// One scheme for all weights.
    #[must_use]
    pub fn new(global: Scheme) -> Self {
        Self { global, ..Self::default() }
    }

    /// k-means palettes of this many bits per tensor: what `--quantize-nbits` of Apple's converter does.
    #[must_use]
    pub fn palettes(bits: u8) -> Self {
        Self::new(Scheme::palettes(bits))
    }

    /// Reads a configuration, or one of Apple's mixed-bit recipes, from JSON; `recipe` chooses among several.
    ///
    /// # Errors
    /// [`CompressError::Config`], saying what is not understood and where.
    pub fn from_json(text: &str, recipe: Option<&str>) -> Result<Self, CompressError> {
        json::parse(text, recipe)
    }
}

impl Scheme {
    /// k-means palettes of this many bits per tensor; 16 leaves the weight, as in Apple's recipes.
    #[must_use]
    pub const fn palettes(bits: u8) -> Self {
        if bits == 16 {
            return Self::Keep;
        }
        let mode = PaletteMode::KMeans { bits };
        Self::Palettize(Palettize { mode, groups: PaletteGroups::PerTensor, cluster_dim: 1, per_channel_scale: false })
    }
}

/// True when a name matches a pattern of `*` and `?`.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where the last star stands, and how much of the name it has taken.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&c) if c == '?' || c == name[n] => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, n) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

/// Letters and digits, everything else as one underscore.
fn normal(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_ascii_alphanumeric() {
            out.push(c.to_ascii_lowercase());
        } else if !out.ends_with('_') {
            out.push('_');
        }
    }
    out.trim_matches('_').to_owned()
}

/// True when a constant is the weight of a layer: `<layer>_weight…`, after one of the roots or none.
pub(crate) fn is_weight_of(layer: &str, constant: &str, roots: &[String]) -> bool {
    let (layer, constant) = (normal(layer), normal(constant));
    let layer = layer.strip_suffix("_weight").unwrap_or(&layer);
    let Some((owner, rest)) = constant.rsplit_once("_weight") else { return false };
    let ends = rest.is_empty() || rest.starts_with('_');
    let after = |root: &String| owner.strip_prefix(&normal(root)).and_then(|rest| rest.strip_prefix('_'));
    ends && (owner == layer || roots.iter().any(|root| after(root) == Some(layer)))
}

/// The three known names that are most like a wanted one: those that share most words, then those that differ in the
/// fewest letters.
pub(crate) fn near<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let wanted = normal(wanted);
    let words = |name: &str| name.split('_').map(ToOwned::to_owned).collect::<Vec<_>>();
    let mut scored: Vec<(usize, usize, &str)> = known
        .into_iter()
        .map(|name| {
            let plain = normal(name);
            let mut rest = words(&plain);
            let is_shared = |w: &String| rest.iter().position(|r| r == w).map(|i| rest.remove(i)).is_some();
            (words(&wanted).into_iter().filter(is_shared).count(), edits(&wanted, &plain), name)
        })
        .filter(|(shared, edits, _)| *shared > 0 || *edits <= wanted.len() / 3)
        .collect();
    scored.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(b.2)));
    scored.dedup_by(|a, b| a.2 == b.2);
    scored.into_iter().take(3).map(|(_, _, name)| name.to_owned()).collect()
}

/// Letters to be put in, taken out or replaced to make one name of the other.
fn edits(a: &str, b: &str) -> usize {
    let b = b.as_bytes();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_have_stars_and_question_marks() {
        for (pattern, name) in
            [("*", ""), ("a*c", "abbc"), ("a?c", "abc"), ("*_weight*", "x_weight_1"), ("a*b*c", "aXbbYc")]
        {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("", "a"), ("a?c", "ac"), ("a*c", "abd"), ("abc", "ab")] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn layers_find_their_weights_under_every_spelling() {
        let layer = "down_blocks.0.attentions.0.proj_in";
        let roots = ["net".to_owned()];
        for name in [
            "down_blocks_0_attentions_0_proj_in_weight_to_fp16",
            "down_blocks_0_attentions_0_proj_in_weight_1_to_fp16",
            "net_down_blocks_0_attentions_0_proj_in_weight",
            "down_blocks.0.attentions.0.proj_in.weight",
        ] {
            assert!(is_weight_of(layer, name, &roots), "{name}");
        }
        for name in
            ["down_blocks_0_attentions_0_proj_in_bias", "down_blocks_0_attentions_0_proj_in_2_weight", "proj_in_weight"]
        {
            assert!(!is_weight_of(layer, name, &roots), "{name}");
        }
        assert!(!is_weight_of("conv_in", "mid_conv_in_weight", &roots));
        assert!(!is_weight_of(layer, "net_down_blocks_0_attentions_0_proj_in_weight", &[]));
    }

    #[test]
    fn near_matches_share_words() {
        let known = ["down_blocks_0_proj_in_weight", "down_blocks_1_proj_in_weight", "conv_out_weight"];
        assert_eq!(near("down_blocks.1.proj_inn", known)[0], "down_blocks_1_proj_in_weight");
        assert!(near("xyz", known).is_empty());
        // Of names that share as many words, the one that is spelt most alike.
        let known = ["down_blocks_0_proj_out_weight", "down_blocks_0_proj_in_weight"];
        assert_eq!(near("down_blocks.0.proj_inn", known)[0], known[1]);
        assert_eq!(near("kernl", ["kernel"]), ["kernel"]);
    }

    #[test]
    fn edits_are_counted() {
        for (a, b, n) in [("", "abc", 3), ("abc", "abc", 0), ("kitten", "sitting", 3), ("ab", "ba", 2)] {
            assert_eq!((edits(a, b), edits(b, a)), (n, n), "{a} {b}");
        }
    }
}
