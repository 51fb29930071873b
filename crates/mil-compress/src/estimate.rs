//! What several schemes lose of each weight, computed from the weights alone: each is read once for all of them, and its
//! values are counted once for all widths of palettes.

use crate::{
    Axes, CompressError, Loss, PaletteMode, Palettize, Plan, Progress, Scheme, encode,
    palettize::losses as palette_losses,
    run::{chains_of, in_order, read},
};
use host_tensor::HostTensor;
use mil::Program;
use std::ops::ControlFlow;

impl Plan {
    /// What is lost of each of the plan's weights by each of its schemes, of which there is a list for every weight; `None`
    /// where a scheme leaves the weight as it is.
    ///
    /// Few weights are in memory at a time. `progress` is called after each and several times a second, and may break off.
    ///
    /// # Errors
    /// [`CompressError::Stopped`] when `progress` breaks off, [`CompressError::Decode`] for weights that are compressed
    /// already in a way that cannot be decoded.
    pub fn losses(
        &self,
        program: &Program,
        schemes: &[Vec<Scheme>],
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Vec<Vec<Option<Loss>>>, CompressError> {
        let chains = chains_of(program);
        let work: Vec<_> = self.jobs.iter().zip(schemes).collect();
        let (mut done, total, mut losses) = (0, self.n_elements(), Vec::with_capacity(work.len()));
        let measure = |(job, schemes): &(&crate::select::Job, &Vec<Scheme>)| {
            read(&job.weight, &chains).map(|values| all_losses(&values, schemes, job.axes))
        };
        in_order(&work, rayon::current_num_threads(), measure, |event| {
            if let Some(((job, _), found)) = event {
                losses.push(found?);
                done += job.weight.len() as u64;
            }
            match progress(Progress { done, total }) {
                ControlFlow::Continue(()) => Ok(()),
                ControlFlow::Break(()) => Err(CompressError::Stopped),
            }
        })?;
        Ok(losses)
    }
}

/// What each scheme loses of a weight; `None` where it leaves it as it is.
fn all_losses(weight: &HostTensor, schemes: &[Scheme], axes: Axes) -> Vec<Option<Loss>> {
    let mut found: Vec<Option<Loss>> = vec![None; schemes.len()];
    let mut is_done = vec![false; schemes.len()];
    for i in 0..schemes.len() {
        if is_done[i] {
            continue;
        }
        let Some((groups, _)) = counted(&schemes[i]) else {
            found[i] = encode(weight, &schemes[i], axes, true).ok().and_then(|(_, loss)| loss);
            continue;
        };
        // All widths with these groups.
        let of_groups = |j: &usize| counted(&schemes[*j]).filter(|(other, _)| *other == groups);
        let (same, widths): (Vec<usize>, Vec<u8>) =
            (i..schemes.len()).filter_map(|j| Some((j, of_groups(&j)?.1))).unzip();
        let losses = palette_losses(weight, groups, axes, &widths);
        for (n, j) in same.into_iter().enumerate() {
            is_done[j] = true;
            found[j] = losses.as_ref().ok().and_then(|losses| losses.get(n).copied());
        }
    }
    found
}

/// Groups and width of palettes that only need the counts of values.
const fn counted(scheme: &Scheme) -> Option<(crate::PaletteGroups, u8)> {
    match *scheme {
        Scheme::Palettize(Palettize {
            mode: PaletteMode::KMeans { bits },
            groups,
            cluster_dim: 1,
            per_channel_scale: false,
        }) => Some((groups, bits)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::Rng;

    #[test]
    fn losses_of_all_schemes_are_those_of_each_alone() {
        let schemes: Vec<Scheme> = ["4", "4g8", "1", "2s", "8", "int8", "2g8", "6", "int4b16", "3"]
            .map(|name| name.parse::<crate::Named>().unwrap().scheme())
            .to_vec();
        let values = Rng::new(5).normals(64 * 48);
        for weight in [HostTensor::from_f16([64, 48], &values), HostTensor::from_f32([64, 48], values.clone())] {
            let axes = Axes { output: 0, input: 1 };
            let together = all_losses(&weight, &schemes, axes);
            for (scheme, loss) in schemes.iter().zip(together) {
                let (_, alone) = encode(&weight, scheme, axes, true).unwrap();
                assert_eq!(loss, alone, "{scheme:?}");
            }
        }
        let infinite = HostTensor::from_f32([2, 2], vec![1.0, f32::INFINITY, 2.0, 3.0]);
        let found = all_losses(&infinite, &schemes, Axes { output: 0, input: 1 });
        assert!(found.iter().all(Option::is_none), "{found:?}");
    }
}
