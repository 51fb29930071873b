//! The optimal partition of weighted values on a line into k clusters.
//!
//! The least cost as a function of k is convex. So every cluster gets a price, and the price is searched at which the
//! best partition of *any* number of clusters has k of them. For one price that is a one-pass dynamic programme whose
//! cost is Monge: a later start overtakes an earlier one once and for all, so the starts that can still win form a
//! queue, and where one overtakes the next is found by bisection. Where the price at which k would appear is also one
//! at which fewer and more are as good, two partitions are spliced into one of exactly k.
//!
//! Source: Grønlund and others, "Fast exact k-means, k-medians and Bregman divergence clustering in 1D", 2017;
//! splicing: Aggarwal, Schieber and Tokuyama, "Finding a minimum-weight k-link path in graphs with the concave Monge
//! property", 1994.

use super::Distinct;

/// Prefix sums of counts and of counts times values, the values measured from their mean.
struct Line {
    /// Of the first `i` values: how many, and their sum.
    sums: Vec<(f64, f64)>,
}

impl Line {
    fn new(distinct: &Distinct) -> Self {
        let (mut n, mut total) = (0.0, 0.0);
        for (&value, &count) in distinct.values.iter().zip(&distinct.counts) {
            n += count as f64;
            total += count as f64 * value;
        }
        let mean = total / n;
        let mut sums = Vec::with_capacity(distinct.len() + 1);
        let (mut weight, mut sum) = (0.0, 0.0);
        sums.push((weight, sum));
        for (&value, &count) in distinct.values.iter().zip(&distinct.counts) {
            weight += count as f64;
            sum += count as f64 * (value - mean);
            sums.push((weight, sum));
        }
        Self { sums }
    }

    /// Number of values.
    fn len(&self) -> usize {
        self.sums.len() - 1
    }

    /// Squared error of the cluster `from..to` less the sum of its squares, which no partition changes.
    fn cost(&self, from: usize, to: usize) -> f64 {
        let ((w0, s0), (w1, s1)) = (self.sums[from], self.sums[to]);
        let sum = s1 - s0;
        -sum * sum / (w1 - w0)
    }

    fn path_cost(&self, ends: &[usize]) -> f64 {
        let starts = std::iter::once(&0).chain(ends);
        starts.zip(ends).map(|(&from, &to)| self.cost(from, to)).sum()
    }
}

/// The programme for one price, with its buffers.
struct Programme<'l> {
    line: &'l Line,
    /// Least cost of the first `j` values.
    best: Vec<f64>,
    /// Where the last cluster of the first `j` values starts.
    start: Vec<u32>,
    /// Starts that can still win, each with the first end at which it beats those before it.
    queue: Vec<(u32, u32)>,
}

impl<'l> Programme<'l> {
    fn new(line: &'l Line) -> Self {
        let n = line.len();
        Self { line, best: vec![0.0; n + 1], start: vec![0; n + 1], queue: Vec::new() }
    }

    fn total(&self, start: usize, end: usize) -> f64 {
        self.best[start] + self.line.cost(start, end)
    }

    /// The first end in `from..` at which `late` is at least as good as `early`; one beyond the last if none.
    fn overtakes(&self, early: usize, late: usize, from: usize) -> usize {
        let (mut lo, mut hi) = (from, self.line.len() + 1);
        while lo < hi {
            let mid = lo.midpoint(hi);
            if self.total(late, mid) <= self.total(early, mid) { hi = mid } else { lo = mid + 1 }
        }
        lo
    }

    /// Ends of the clusters of the best partition when each costs `price`.
    fn run(&mut self, price: f64) -> Vec<usize> {
        let n = self.line.len();
        self.queue.clear();
        self.queue.push((0, 1));
        let mut head = 0;
        for end in 1..=n {
            while head + 1 < self.queue.len() && self.queue[head + 1].1 as usize <= end {
                head += 1;
            }
            let start = self.queue[head].0 as usize;
            self.best[end] = self.total(start, end) + price;
            self.start[end] = start as u32;
            if end == n {
                break;
            }
            // `end` becomes a start. Those that it beats before they ever win are out.
            loop {
                let &(last, wins_from) = self.queue.last().expect("invariant: never empty");
                let from = (wins_from as usize).max(end + 1);
                if self.queue.len() > head + 1 && self.total(end, from) <= self.total(last as usize, from) {
                    self.queue.pop();
                    continue;
                }
                let at = self.overtakes(last as usize, end, from);
                if at <= n {
                    self.queue.push((end as u32, at as u32));
                }
                break;
            }
        }
        let mut ends = Vec::new();
        let mut end = n;
        while end > 0 {
            ends.push(end);
            end = self.start[end] as usize;
        }
        ends.reverse();
        ends
    }
}

/// Ends of the clusters of the optimal partition into `k` clusters: `k` increasing numbers, the last one the number of
/// distinct values; as many clusters as values when there are no more than `k`.
///
/// `k` is at least 1 and there is at least one value.
pub(crate) fn partition(distinct: &Distinct, k: usize) -> Vec<usize> {
    let n = distinct.len();
    if n <= k {
        return (1..=n).collect();
    }
    if k == 1 {
        return vec![n];
    }
    let line = Line::new(distinct);
    let mut programme = Programme::new(&line);
    let (mut low, mut high): (Option<Found>, Option<Found>) = (None, None);
    let mut price = first_price(distinct, &line, k);
    // The price falls with the cube of the count where values are dense, so the first steps come close.
    for round in 0..MAX_ROUNDS {
        let ends = programme.run(price);
        let m = ends.len();
        if m == k {
            return ends;
        }
        let found = Some(Found { price, ends });
        if m > k {
            low = found
        } else {
            high = found
        }
        price = match (&low, &high) {
            (Some(low), Some(high)) if high.price <= low.price * (1.0 + 1e-14) => break,
            (Some(low), Some(high)) if round < 16 => low.towards(high, k),
            (Some(low), Some(high)) => (low.price * high.price).sqrt(),
            (Some(_), None) => price * (m as f64 / k as f64).powi(3).clamp(1.2, 64.0),
            (None, _) => price * (m as f64 / k as f64).powi(3).clamp(1.0 / 64.0, 1.0 / 1.2),
        };
        if high.is_some() && low.is_none() && price < f64::MIN_POSITIVE {
            break;
        }
    }
    splice(&line, low, high, n, k)
}

const MAX_ROUNDS: usize = 200;

/// A partition that is best at a price.
struct Found {
    price: f64,
    ends: Vec<usize>,
}

impl Found {
    /// The price between this one and `high` at which k clusters would appear, were their number a power of it.
    fn towards(&self, high: &Self, k: usize) -> f64 {
        let [more, fewer, wanted] = [self.ends.len(), high.ends.len(), k].map(|n| (n as f64).ln());
        let part = ((more - wanted) / (more - fewer)).clamp(0.02, 0.98);
        self.price * (high.price / self.price).powf(part)
    }
}

/// An estimate of the price at which k clusters appear: twice the cost of k clusters over k, the derivative of a cost
/// that falls with the square of k.
fn first_price(distinct: &Distinct, line: &Line, k: usize) -> f64 {
    let squares: f64 = {
        let mean_of = |i: usize| {
            let ((w0, s0), (w1, s1)) = (line.sums[i], line.sums[i + 1]);
            ((s1 - s0) / (w1 - w0), w1 - w0)
        };
        (0..distinct.len()).map(mean_of).map(|(x, w)| w * x * x).sum()
    };
    // Entries of a good palette are as dense as the cube root of the values' density.
    let mut mass = Vec::with_capacity(distinct.len());
    let mut total = 0.0;
    for i in 0..distinct.len() {
        let gap = match i {
            0 => distinct.values[1] - distinct.values[0],
            i => distinct.values[i] - distinct.values[i - 1],
        };
        total += (distinct.counts[i] as f64 * gap * gap).cbrt();
        mass.push(total);
    }
    let mut ends: Vec<usize> =
        (1..k).map(|c| mass.partition_point(|&m| m < total * c as f64 / k as f64)).filter(|&e| e > 0).collect();
    ends.push(distinct.len());
    ends.dedup();
    let cost = squares + line.path_cost(&ends);
    (2.0 * cost / k as f64).max(squares * 1e-18).max(f64::MIN_POSITIVE)
}

/// A partition of exactly `k` clusters from one of more and one of fewer that cost the same.
fn splice(line: &Line, more: Option<Found>, fewer: Option<Found>, n: usize, k: usize) -> Vec<usize> {
    // At the least price every value is a cluster of its own; at the greatest there is one cluster.
    let more = more.map_or_else(|| (1..=n).collect(), |f| f.ends);
    let fewer = fewer.map_or_else(|| vec![n], |f| f.ends);
    let extra = k - fewer.len();
    let vertex = |ends: &[usize], i: usize| if i == 0 { 0 } else { ends[i - 1] };
    // An edge of `more` that lies inside the edge of `fewer` which is `extra` positions earlier.
    let inside = |&j: &usize| {
        vertex(&fewer, j) <= vertex(&more, j + extra) && vertex(&more, j + extra + 1) <= vertex(&fewer, j + 1)
    };
    let spliced = (0..fewer.len()).filter(inside).map(|j| [&more[..j + extra], &fewer[j..]].concat());
    let best = spliced.min_by(|a, b| line.path_cost(a).total_cmp(&line.path_cost(b)));
    best.expect("invariant: paths from 0 to n of fewer and of more edges nest somewhere")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cost(d: &Distinct, ends: &[usize]) -> f64 {
        let mut from = 0;
        let mut total = 0.0;
        for &to in ends {
            let w: f64 = d.counts[from..to].iter().map(|&c| c as f64).sum();
            let mean = (from..to).map(|i| d.counts[i] as f64 * d.values[i]).sum::<f64>() / w;
            total += (from..to).map(|i| d.counts[i] as f64 * (d.values[i] - mean).powi(2)).sum::<f64>();
            from = to;
        }
        total
    }

    /// The textbook programme over all rows.
    fn optimum(d: &Distinct, k: usize) -> f64 {
        let n = d.len();
        let one = |from: usize, to: usize| {
            let part = Distinct { values: d.values[from..to].to_vec(), counts: d.counts[from..to].to_vec() };
            cost(&part, &[to - from])
        };
        let mut row = vec![f64::INFINITY; n + 1];
        row[0] = 0.0;
        for _ in 0..k.min(n) {
            let mut next = vec![f64::INFINITY; n + 1];
            for (to, next) in next.iter_mut().enumerate() {
                *next = (0..to).map(|from| row[from] + one(from, to)).fold(f64::INFINITY, f64::min);
            }
            row = next;
        }
        row[n]
    }

    fn check(d: &Distinct, k: usize) {
        let ends = partition(d, k);
        assert_eq!(ends.len(), k.min(d.len()));
        assert!(ends.windows(2).all(|w| w[0] < w[1]) && ends.last() == Some(&d.len()));
        let (ours, best) = (cost(d, &ends), optimum(d, k));
        let scale = d.values.iter().zip(&d.counts).map(|(v, &c)| c as f64 * v * v).sum::<f64>();
        assert!(ours <= best + 1e-12 * scale, "k = {k}: {ours} > {best} on {d:?}");
    }

    fn evenly(n: usize, count: u64) -> Distinct {
        Distinct { values: (0..n).map(|i| i as f64).collect(), counts: vec![count; n] }
    }

    #[test]
    fn a_published_example() {
        let d = Distinct { values: vec![0.0, 0.1, 0.2, 1.0, 1.1, 5.0], counts: vec![1, 1, 1, 2, 1, 1] };
        assert_eq!(partition(&d, 3), [3, 5, 6]);
    }

    #[test]
    fn where_prices_tie_and_k_is_jumped_over_the_result_is_spliced() {
        // Clusters of equal shape split at the same price, all at once: seven of eleven must be asked for in between.
        for n in [4, 12, 30, 33] {
            for k in 1..=n {
                check(&evenly(n, 5), k);
            }
        }
        let pairs: Vec<f64> = (0..10).flat_map(|i| [f64::from(i) * 100.0, f64::from(i) * 100.0 + 1.0]).collect();
        let d = Distinct { counts: vec![3; pairs.len()], values: pairs };
        (1..=20).for_each(|k| check(&d, k));
        // 10 clusters are best down to a price at which all 20 are: the search alone never sees 15.
        let line = Line::new(&d);
        let mut programme = Programme::new(&line);
        let seen: Vec<usize> = (0..60).map(|i| programme.run(0.01 * 1.3f64.powi(i)).len()).collect();
        assert!(seen.contains(&20) && seen.contains(&10) && !seen.contains(&15), "{seen:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn small_problems_reach_the_optimum(
            mut values in proptest::collection::vec(-40i32..40, 1..24),
            counts in proptest::collection::vec(1u64..1000, 24),
            exponent in -14i32..6, k in 1usize..26,
        ) {
            values.sort_unstable();
            values.dedup();
            let values: Vec<f64> = values.iter().map(|&v| f64::from(v).powi(3) * 2f64.powi(exponent)).collect();
            let d = Distinct { counts: counts[..values.len()].to_vec(), values };
            check(&d, k);
        }

        #[test]
        fn equal_weights_reach_the_optimum(n in 1usize..28, k in 1usize..28, count in 1u64..3) {
            check(&evenly(n, count), k);
        }
    }
}
