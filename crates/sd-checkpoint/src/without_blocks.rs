//! The transformer of Stable Diffusion 3 without some of its blocks: what skip-layer guidance steers pictures away from.

use std::collections::BTreeMap;

use sd_models::{MmditConfig, NetworkConfig};
use sd_spec::Role;

use crate::ldm::equal_parts;
use crate::{Adapter, Checkpoint, CheckpointError, Weights};

/// What the names of a block's weights begin with.
const PREFIX: &str = "transformer_blocks.";
/// What the last block, whose text nobody reads, does without.
const OF_TEXT: [&str; 2] = ["attn.to_add_out.", "ff_context."];
/// Makes scales and shifts of the condition for the text of a block.
const TEXT_NORM: [&str; 2] = ["norm1_context.linear.weight", "norm1_context.linear.bias"];
/// Equal parts of its rows, in a block whose text is read: shift, scale and gate of attention, then of the feed-forward
/// network. The last block has a scale and a shift.
// diffusers 0.42.1, AdaLayerNormZero and AdaLayerNormContinuous.
const N_PARTS: usize = 6;

/// Leaves blocks out, as an adapter: their weights are not there, and those behind them move up.
#[derive(Debug)]
pub struct WithoutBlocks {
    /// Numbers of the blocks that stay.
    kept: Vec<usize>,
    /// Whether the last block is left out: another becomes the last one.
    ends_early: bool,
}

impl WithoutBlocks {
    /// The checkpoint whose transformer does without these blocks, counted from 0; all else stays.
    ///
    /// A block that becomes the last one gives its text to nobody, so what makes that is left out too.
    ///
    /// # Errors
    /// [`CheckpointError::Adapter`] for blocks that the transformer has not, and where none would be left; otherwise as
    /// [`Checkpoint::network`].
    pub fn of(checkpoint: Checkpoint, blocks: &[usize]) -> Result<Checkpoint, CheckpointError> {
        let role = Role::Mmdit;
        let NetworkConfig::Mmdit(whole) = checkpoint.network(role)? else {
            return Err(CheckpointError::Adapter(format!("the {role} is not a transformer of blocks to leave out")));
        };
        let n_layers = whole.n_layers;
        let kept = kept(&whole, blocks)?;
        let mut config = checkpoint.config_json(role)?;
        config["num_layers"] = kept.len().into();
        let dual = (0..kept.len()).filter(|&idx| whole.dual_layers.contains(&kept[idx]));
        config["dual_attention_layers"] = dual.collect::<Vec<_>>().into();
        let made = BTreeMap::from([(format!("{}/config.json", role.spec().folder), config)]);
        let ends_early = kept.last() != Some(&(n_layers - 1));
        let root = checkpoint.root().to_owned();
        let named = checkpoint.with_names_of(role, NetworkConfig::Mmdit(whole));
        Ok(named.with_made(made, &root).with(Self { kept, ends_early }))
    }
}

/// The blocks that stay.
fn kept(config: &MmditConfig, blocks: &[usize]) -> Result<Vec<usize>, CheckpointError> {
    let n = config.n_layers;
    if let Some(block) = blocks.iter().find(|block| **block >= n) {
        return Err(CheckpointError::Adapter(format!(
            "the transformer has no block {block} to leave out: it has {n}, 0 to {}",
            n.saturating_sub(1)
        )));
    }
    let kept: Vec<usize> = (0..n).filter(|block| !blocks.contains(block)).collect();
    match kept.is_empty() {
        true => Err(CheckpointError::Adapter(format!(
            "all {n} blocks of the transformer are to be left out; leave at least one of them in"
        ))),
        false => Ok(kept),
    }
}

impl Adapter for WithoutBlocks {
    fn adapt(&self, role: Role, weights: &mut Weights) -> Result<(), CheckpointError> {
        if role != Role::Mmdit {
            return Ok(());
        }
        let keys: Vec<String> = weights.iter().map(|(key, _)| key.to_owned()).collect();
        let of_blocks = keys.iter().filter_map(|key| Some((key, block_of(key)?)));
        let taken: Vec<_> =
            of_blocks.filter_map(|(key, at)| weights.remove(key).map(|weight| (key, at, weight))).collect();
        for (key, (block, rest), weight) in taken {
            let Some(place) = self.kept.iter().position(|kept| *kept == block) else { continue };
            let is_new_last = self.ends_early && place + 1 == self.kept.len();
            if is_new_last && OF_TEXT.iter().any(|prefix| rest.starts_with(prefix)) {
                continue;
            }
            let weight = match is_new_last && TEXT_NORM.contains(&rest) {
                // Scale before shift, the other way round than in the blocks before.
                true => equal_parts(&weight, &[1, 0], N_PARTS)
                    .map_err(|error| CheckpointError::Adapter(format!("{key}: {error}")))?,
                false => weight,
            };
            weights.insert(format!("{PREFIX}{place}.{rest}"), weight);
        }
        Ok(())
    }
}

/// Number of the block that a weight belongs to, and its name in the block.
fn block_of(key: &str) -> Option<(usize, &str)> {
    let (block, rest) = key.strip_prefix(PREFIX)?.split_once('.')?;
    Some((block.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Weight;

    fn tiny(golden: &std::path::Path) -> Checkpoint {
        Checkpoint::open(golden.join("checkpoints/tiny-sd35-medium")).unwrap()
    }

    fn bytes(weight: &Weight) -> Vec<u8> {
        weight.constant().read().bytes().to_vec()
    }

    fn without(checkpoint: &Checkpoint, blocks: &[usize]) -> (MmditConfig, Weights) {
        let left = WithoutBlocks::of(checkpoint.clone(), blocks).unwrap();
        let NetworkConfig::Mmdit(config) = left.network(Role::Mmdit).unwrap() else { panic!("a transformer") };
        (config, left.weights(Role::Mmdit).unwrap())
    }

    #[test]
    fn blocks_behind_those_left_out_move_up_with_what_is_said_of_them() {
        let Some(golden) = testkit::golden() else { return };
        let (whole, all) = (tiny(&golden), tiny(&golden).weights(Role::Mmdit).unwrap());
        // Blocks 0 and 1 of 4 are dual.
        let (config, weights) = without(&whole, &[0, 2]);
        assert_eq!((config.n_layers, &config.dual_layers[..]), (2, &[0][..]));
        for (new, old) in [(0, 1), (1, 3)] {
            let of = |weights: &Weights, block: usize| -> Vec<(String, Vec<u8>)> {
                let prefix = format!("{PREFIX}{block}.");
                let own = weights.iter().filter_map(|(key, w)| Some((key.strip_prefix(&prefix)?.to_owned(), bytes(w))));
                own.collect()
            };
            let (new, old) = (of(&weights, new), of(&all, old));
            assert!(!new.is_empty() && new == old);
        }
        assert!(weights.iter().all(|(key, _)| block_of(key).is_none_or(|(block, _)| block < 2)));
    }

    #[test]
    fn a_block_that_becomes_the_last_one_gives_no_text() {
        let Some(golden) = testkit::golden() else { return };
        let (config, weights) = without(&tiny(&golden), &[3]);
        let all = tiny(&golden).weights(Role::Mmdit).unwrap();
        assert_eq!(config.n_layers, 3);
        let has = |prefix: &str| weights.iter().any(|(key, _)| key.starts_with(prefix));
        assert!(has("transformer_blocks.1.attn.to_add_out.") && has("transformer_blocks.1.ff_context."));
        assert!(!has("transformer_blocks.2.attn.to_add_out.") && !has("transformer_blocks.2.ff_context."));
        for name in TEXT_NORM {
            let key = format!("{PREFIX}2.{name}");
            let (was, is) = (bytes(all.get(&key).unwrap()), bytes(weights.get(&key).unwrap()));
            let part = was.len() / N_PARTS;
            // Shift, scale before; scale, shift now.
            assert_eq!(is, [&was[part..2 * part], &was[..part]].concat(), "{name}");
        }
    }

    #[test]
    fn a_file_keeps_its_names_whatever_is_left_out() {
        let Some(golden) = testkit::golden() else { return };
        let path = golden.join("single-file/sd3_no_encoders.safetensors");
        let whole = Checkpoint::open(path).unwrap();
        let all = whole.weights(Role::Mmdit).unwrap();
        let NetworkConfig::Mmdit(config) = whole.network(Role::Mmdit).unwrap() else { panic!("a transformer") };
        let (_, weights) = without(&whole, &[0]);
        let n_kept = config.n_layers - 1;
        for name in ["attn.to_q.weight", "norm1_context.linear.weight"] {
            let key = |block: usize| format!("{PREFIX}{block}.{name}");
            for block in 0..n_kept {
                let (new, old) = (weights.get(&key(block)).unwrap(), all.get(&key(block + 1)).unwrap());
                assert!(bytes(new) == bytes(old), "{block} {name}");
            }
            assert!(weights.get(&key(n_kept)).is_none());
        }
    }

    #[test]
    fn blocks_that_cannot_be_left_out_are_named() {
        let Some(golden) = testkit::golden() else { return };
        for (blocks, fact) in [(&[4][..], "no block 4"), (&[0, 1, 2, 3], "all 4 blocks")] {
            let error = WithoutBlocks::of(tiny(&golden), blocks).unwrap_err().to_string();
            assert!(error.contains(fact), "{error}");
        }
        let other = Checkpoint::open(golden.join("checkpoints/tiny-sd15")).unwrap();
        assert!(WithoutBlocks::of(other, &[0]).is_err());
    }
}
