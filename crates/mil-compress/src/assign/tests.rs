//! Assignments beside all that there are, and large problems.

use super::*;
use proptest::prelude::*;
use testkit::Rng;

fn group(choices: &[(u64, f64)]) -> Group {
    Group { choices: choices.iter().map(|&(bytes, loss)| Choice { bytes, loss }).collect() }
}

/// Every assignment.
fn all(groups: &[Group]) -> Vec<(u64, f64)> {
    groups.iter().fold(vec![(0, 0.0)], |so_far, group| {
        let with = |&(bytes, loss): &(u64, f64)| group.choices.iter().map(move |c| (bytes + c.bytes, loss + c.loss));
        so_far.iter().flat_map(with).collect()
    })
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-11 * a.abs().max(b.abs())
}

fn check_sums(groups: &[Group], found: &Assignment) {
    let taken: Vec<Choice> = groups.iter().zip(&found.chosen).map(|(group, &i)| group.choices[i]).collect();
    assert_eq!(taken.len(), groups.len());
    assert_eq!(found.bytes, taken.iter().map(|c| c.bytes).sum::<u64>());
    assert!(near(found.loss, taken.iter().map(|c| c.loss).sum()));
}

fn check(groups: &[Group], budget: u64, ceiling: f64) {
    let all = all(groups);
    let least = all.iter().filter(|(bytes, _)| *bytes <= budget).map(|(_, loss)| *loss).min_by(f64::total_cmp);
    match (within_bytes(groups, budget), least) {
        (None, None) => {}
        (Some(found), Some(least)) => {
            check_sums(groups, &found);
            assert!(found.bytes <= budget && found.gap == 0.0 && near(found.loss, least), "{found:?}, not {least}");
        }
        other => panic!("{other:?}"),
    }
    let fewest = all.iter().filter(|(_, loss)| *loss <= ceiling * (1.0 + DIGITS)).map(|(bytes, _)| *bytes).min();
    match (within_loss(groups, ceiling), fewest) {
        (None, None) => {}
        (Some(found), Some(fewest)) => {
            check_sums(groups, &found);
            assert!(found.loss <= ceiling * (1.0 + 2.0 * DIGITS) && found.gap == 0.0, "{found:?}");
            assert_eq!(found.bytes, fewest);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_beaten_is_never_chosen() {
    // The second takes more and loses more, the third has no loss that could be compared.
    let groups = [group(&[(10, 2.0), (12, 3.0), (1, f64::NAN), (20, 1.0), (20, 0.5)]), group(&[(5, 0.0)])];
    for (budget, chosen) in [(15, vec![0, 0]), (24, vec![0, 0]), (25, vec![4, 0]), (1000, vec![4, 0])] {
        assert_eq!(within_bytes(&groups, budget).unwrap().chosen, chosen, "{budget}");
    }
    assert_eq!(within_bytes(&groups, 14), None);
    assert_eq!(within_loss(&groups, 0.4), None);
    assert_eq!(within_loss(&groups, 2.0).unwrap().chosen, [0, 0]);
    assert_eq!(within_bytes(&[group(&[])], 9), None);
    assert_eq!(within_bytes(&[], 0).unwrap().bytes, 0);
}

#[test]
fn the_choice_that_no_price_would_make_is_found() {
    // (5, 6.0) lies above the line from (0, 10) to (10, 0), and fits best.
    let groups = [group(&[(0, 10.0), (5, 6.0), (10, 0.0)]), group(&[(0, 1.0), (3, 0.9)])];
    let found = within_bytes(&groups, 8).unwrap();
    assert_eq!((found.chosen, found.bytes), (vec![1, 1], 8));
    assert!(!curve(&groups).iter().any(|&(bytes, _)| bytes == 8));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn small_problems_reach_the_optimum(
        sizes in proptest::collection::vec(1usize..5, 1..7),
        bytes in proptest::collection::vec(0u64..60, 28),
        decades in proptest::collection::vec(-8.0f64..0.0, 28),
        budget in 0u64..200, ceiling in -7.0f64..1.0, scale in 1u64..1_000_000,
    ) {
        let mut values = bytes.iter().zip(&decades).map(|(&b, &d)| (b * scale, 10f64.powf(d)));
        let groups: Vec<Group> = sizes.iter().map(|&n| group(&values.by_ref().take(n).collect::<Vec<_>>())).collect();
        check(&groups, budget * scale, 10f64.powf(ceiling));
    }

    #[test]
    fn ties_reach_the_optimum(
        sizes in proptest::collection::vec(1usize..5, 1..7),
        bytes in proptest::collection::vec(0u64..4, 28),
        losses in proptest::collection::vec(0u8..4, 28),
        budget in 0u64..16, ceiling in 0u8..16,
    ) {
        let mut values = bytes.iter().zip(&losses).map(|(&b, &l)| (b, f64::from(l)));
        let groups: Vec<Group> = sizes.iter().map(|&n| group(&values.by_ref().take(n).collect::<Vec<_>>())).collect();
        check(&groups, budget, f64::from(ceiling));
    }
}

/// Groups as a large network has them: few shapes, nine ways, losses over eight decades.
fn network(n: usize, seed: u64, shapes: usize) -> Vec<Group> {
    let mut rng = Rng::new(seed);
    let mut unit = || f64::from(rng.unit());
    let sizes: Vec<f64> = (0..shapes).map(|_| (10f64.powf(4.0 + 3.0 * unit())).round()).collect();
    let one = |i: usize, unit: &mut dyn FnMut() -> f64| {
        let (elements, sensitivity) = (sizes[i % shapes], 10f64.powf(-8.0 * unit()));
        let ways = [1.0, 2.0, 3.0, 4.0, 4.25, 6.0, 8.0, 8.5].map(|bits: f64| {
            let loss = sensitivity * (0.3 + unit()) * 4f64.powf(-bits);
            ((elements * bits / 8.0) as u64 + 64, loss)
        });
        let mut ways = ways.to_vec();
        ways.push(((elements * 2.0) as u64, 0.0));
        group(&ways)
    };
    (0..n).map(|i| one(i, &mut unit)).collect()
}

#[test]
fn a_thousand_groups_are_solved_to_the_proof_whatever_the_budget() {
    for (seed, shapes) in [(1, 12), (2, 1000)] {
        let groups = network(1000, seed, shapes);
        let curve = curve(&groups);
        let (least, most) = (curve[0].0, curve[curve.len() - 1].0);
        for part in [0.02, 0.1, 0.25, 0.5, 0.9] {
            let budget = least + ((most - least) as f64 * part) as u64;
            let found = within_bytes(&groups, budget).unwrap();
            assert!(found.bytes <= budget && found.gap == 0.0, "{part}: {} bytes, gap {}", found.bytes, found.gap);
            // No price would do better: between its neighbours on the curve.
            let after = curve.iter().find(|&&(bytes, _)| bytes > budget).unwrap().1;
            assert!(found.loss >= after, "{} < {after}", found.loss);
            let back = within_loss(&groups, found.loss).unwrap();
            assert!(back.gap == 0.0 && back.bytes <= found.bytes && back.loss <= found.loss * (1.0 + 2.0 * DIGITS));
        }
    }
}

#[test]
fn a_search_that_is_broken_off_says_what_is_not_proven() {
    let groups = network(300, 5, 300);
    let curve = curve(&groups);
    let budget = curve[curve.len() / 2].0 + 12_345;
    let best = within_bytes(&groups, budget).unwrap();
    let problem = Problem::new(&groups, budget as f64, |c| (c.bytes as f64, c.loss)).unwrap();
    let mut gaps = Vec::new();
    for work in [0, 10, 100, 1000] {
        let (chosen, gap) = search::solve_within(&problem, 0.0, work).unwrap();
        let found = assignment(&groups, chosen, gap);
        check_sums(&groups, &found);
        assert!(found.bytes <= budget);
        assert!(found.loss >= best.loss * (1.0 - 1e-12) && found.loss - gap <= best.loss * (1.0 + 1e-12), "{found:?}");
        gaps.push(gap);
    }
    assert!(gaps[0] > 0.0 && gaps.windows(2).all(|pair| pair[1] <= pair[0]), "{gaps:?}");
}

#[test]
fn the_curve_has_the_best_for_its_bytes() {
    let groups = network(40, 3, 40);
    let curve = curve(&groups);
    assert!(curve.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 >= pair[1].1));
    for &(bytes, loss) in curve.iter().step_by(7) {
        let found = within_bytes(&groups, bytes).unwrap();
        assert!(near(found.loss, loss) || (found.loss - loss).abs() < 1e-15, "{bytes}: {} and {loss}", found.loss);
    }
}
