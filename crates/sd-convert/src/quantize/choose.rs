//! Which layers are quantized.

use super::{Fixed, Layer};
use crate::ConvertError;
use mil_compress::WorkKind;

/// What outputs lose.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loss {
    /// Mean square of the difference.
    pub mean_square: f64,
    /// Peak signal-to-noise ratio in dB, a mean over the samples.
    pub psnr: f64,
}

/// What the choice is for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// Layers that lose no more when they alone are quantized, and those that rules want.
    Thresholds {
        /// Least PSNR in dB of layers with weights.
        layers: f64,
        /// Least PSNR in dB of the products of attention.
        attention: f64,
    },
    /// As much work as can be while the whole keeps this PSNR in dB.
    Floor(f64),
    /// At least this share of the work, 0 to 1, with as little loss as can be.
    Share(f64),
}

/// What was chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// Layers whose activations are quantized, by place.
    pub quantized: Vec<usize>,
    /// What the whole loses, where that had to be measured.
    pub loss: Option<Loss>,
}

/// Chooses layers by what each of them loses alone.
///
/// Losses of layers add up as those of independent noise do, so layers are taken in the order of what they lose for the work
/// that they do. How many may be for a floor is measured: `together` tells what the whole loses with some of them.
///
/// # Errors
/// What `together` returns; [`ConvertError::Option`] where no layer can be quantized.
pub fn choose(
    layers: &[Layer],
    losses: &[Option<Loss>],
    goal: Goal,
    together: &mut dyn FnMut(&[usize]) -> Result<Loss, ConvertError>,
) -> Result<Choice, ConvertError> {
    match goal {
        Goal::Thresholds { layers: least, attention } => {
            let is_good = |idx: &usize| {
                let layer = &layers[*idx];
                let least = if layer.work == WorkKind::Attention { attention } else { least };
                match layer.fixed {
                    Some(fixed) => fixed == Fixed::Quantized,
                    None => losses[*idx].is_none_or(|loss| loss.psnr >= least),
                }
            };
            Ok(Choice { quantized: (0..layers.len()).filter(is_good).collect(), loss: None })
        }
        Goal::Floor(floor) => within(&by_cost(layers, losses), floor, together),
        Goal::Share(share) => {
            let order = by_cost(layers, losses);
            let total: u64 = layers.iter().map(|layer| layer.multiplications).sum();
            let wanted = (share.clamp(0.0, 1.0) * total as f64).ceil() as u64;
            let mut done = 0;
            let is_needed = |idx: &&usize| {
                let is_needed = done < wanted;
                done += layers[**idx].multiplications;
                is_needed
            };
            let quantized = sorted(&order.iter().take_while(is_needed).copied().collect::<Vec<_>>());
            Ok(Choice { quantized, loss: None })
        }
    }
}

/// Layers from the one that loses least for its work on.
fn by_cost(layers: &[Layer], losses: &[Option<Loss>]) -> Vec<usize> {
    let cost = |idx: usize| {
        let loss = losses[idx].map_or(0.0, |loss| loss.mean_square);
        loss / layers[idx].multiplications.max(1) as f64
    };
    let mut order: Vec<usize> = (0..layers.len()).collect();
    order.sort_by(|a, b| cost(*a).total_cmp(&cost(*b)));
    order
}

fn sorted(quantized: &[usize]) -> Vec<usize> {
    let mut sorted = quantized.to_vec();
    sorted.sort_unstable();
    sorted
}

/// The most layers of an order that keep a floor, by bisection.
fn within(
    order: &[usize],
    floor: f64,
    together: &mut dyn FnMut(&[usize]) -> Result<Loss, ConvertError>,
) -> Result<Choice, ConvertError> {
    let all = sorted(order);
    let loss = together(&all)?;
    if loss.psnr >= floor {
        return Ok(Choice { quantized: all, loss: Some(loss) });
    }
    let none = together(&[])?;
    if none.psnr < floor {
        return Err(ConvertError::Option(format!(
            "weights of 8 bits alone leave {:.1} dB, and {floor} dB were asked for; ask for less",
            none.psnr
        )));
    }
    let mut best = Choice { quantized: Vec::new(), loss: Some(none) };
    let (mut good, mut bad) = (0, order.len());
    while bad - good > 1 {
        let middle = good.midpoint(bad);
        let quantized = sorted(&order[..middle]);
        let loss = together(&quantized)?;
        if loss.psnr >= floor {
            good = middle;
            best = Choice { quantized, loss: Some(loss) };
        } else {
            bad = middle;
        }
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(name: &str, multiplications: u64, work: WorkKind, fixed: Option<Fixed>) -> Layer {
        Layer { name: name.to_owned(), work, ops: Vec::new(), multiplications, fixed }
    }

    fn loss(psnr: f64) -> Loss {
        Loss { mean_square: 10f64.powf(-psnr / 10.0), psnr }
    }

    fn case() -> (Vec<Layer>, Vec<Option<Loss>>) {
        let layers = vec![
            layer("a", 100, WorkKind::Layer, None),
            layer("b", 100, WorkKind::Layer, None),
            layer("c", 10, WorkKind::Attention, None),
            layer("up_blocks_0_upsamplers", 50, WorkKind::Layer, Some(Fixed::Quantized)),
            layer("to_out", 50, WorkKind::Layer, Some(Fixed::Kept)),
        ];
        (layers, [45.0, 39.0, 31.0, 20.0, 50.0].map(|psnr| Some(loss(psnr))).to_vec())
    }

    fn choice(goal: Goal) -> (Vec<usize>, usize) {
        let (layers, losses) = case();
        let mut n_asked = 0;
        let mut together = |chosen: &[usize]| {
            n_asked += 1;
            let sum: f64 = chosen.iter().filter_map(|idx| losses[*idx]).map(|loss| loss.mean_square).sum();
            Ok(loss(-10.0 * (sum + 1e-7).log10()))
        };
        (choose(&layers, &losses, goal, &mut together).unwrap().quantized, n_asked)
    }

    #[test]
    fn thresholds_are_for_each_kind_and_rules_go_before_them() {
        assert_eq!(choice(Goal::Thresholds { layers: 40.0, attention: 30.0 }), (vec![0, 2, 3], 0));
        assert_eq!(choice(Goal::Thresholds { layers: 30.0, attention: 35.0 }).0, [0, 1, 3]);
    }

    #[test]
    fn a_floor_takes_what_loses_least_for_its_work_as_long_as_it_holds() {
        // The order is 4, 0, 1, 2, 3: by loss for each multiplication.
        for (floor, want) in
            [(65.0, vec![]), (49.0, vec![4]), (43.0, vec![0, 4]), (35.0, vec![0, 1, 4]), (10.0, vec![0, 1, 2, 3, 4])]
        {
            assert_eq!(choice(Goal::Floor(floor)).0, want, "{floor}");
        }
        assert_eq!(choice(Goal::Floor(10.0)).1, 1);
        let (layers, losses) = case();
        let error = choose(&layers, &losses, Goal::Floor(80.0), &mut |_| Ok(loss(60.0))).unwrap_err();
        assert!(error.to_string().contains("60.0 dB, and 80 dB"), "{error}");
    }

    #[test]
    fn a_share_is_reached_with_the_least_loss() {
        assert_eq!(choice(Goal::Share(0.0)).0, Vec::<usize>::new());
        assert_eq!(choice(Goal::Share(0.4)).0, [0, 4]);
        assert_eq!(choice(Goal::Share(1.0)).0, [0, 1, 2, 3, 4]);
    }
}
