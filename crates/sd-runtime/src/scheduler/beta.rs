//! Quantiles of the beta distribution whose parameters are both 0.6.
//!
//! The distribution function is a continued fraction (Abramowitz and Stegun 26.5.8), and its inverse is found by halving
//! an interval until it is as small as f64 can tell apart.

/// Both parameters.
const SHAPE: f64 = 0.6;

/// The complete beta function of them: Γ(0.6)² / Γ(1.2).
const COMPLETE: f64 = 2.415_344_208_002_471_4;

/// The value that a share `p` of the distribution lies below; 0 and 1 at the ends.
pub(super) fn quantile(p: f64) -> f64 {
    if p.is_nan() || p <= 0.0 {
        return 0.0;
    }
    if p >= 1.0 {
        return 1.0;
    }
    // The distribution is symmetric, and small values are found with more digits.
    if p > 0.5 {
        return 1.0 - lower_quantile(1.0 - p);
    }
    lower_quantile(p)
}

/// The same for at most one half.
fn lower_quantile(p: f64) -> f64 {
    let (mut low, mut high) = (0.0, 0.5);
    loop {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            return middle;
        }
        if share_below(middle) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
}

/// The distribution function, for at most one half.
fn share_below(x: f64) -> f64 {
    (x * (1.0 - x)).powf(SHAPE) / (SHAPE * COMPLETE) * continued_fraction(x)
}

/// `1 / (1 + d₁ / (1 + d₂ / (1 + …)))`, evaluated from the front by Lentz's method.
fn continued_fraction(x: f64) -> f64 {
    const MOST_TERMS: usize = 300;
    let term = |k: usize| {
        let m = (k / 2) as f64;
        let k = k as f64;
        if k % 2.0 == 0.0 {
            m * (SHAPE - m) * x / ((SHAPE + k - 1.0) * (SHAPE + k))
        } else {
            -(SHAPE + m) * (2.0 * SHAPE + m) * x / ((SHAPE + k - 1.0) * (SHAPE + k))
        }
    };
    let (mut c, mut d, mut value) = (1.0, 0.0, 1.0);
    for k in 1..=MOST_TERMS {
        let t = term(k);
        d = 1.0 / (1.0 + t * d);
        c = 1.0 + t / c;
        value *= c * d;
        if (c * d - 1.0).abs() < 1e-16 {
            break;
        }
    }
    // The product converges to the denominator's fraction.
    1.0 / value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_scipys() {
        // scipy.stats.beta.ppf(p, 0.6, 0.6), from the noise levels of diffusers' runs.
        assert_eq!([quantile(0.0), quantile(1.0)], [0.0, 1.0]);
        assert!((quantile(0.5) - 0.5).abs() < 1e-15);
        for p in [1e-6, 0.01, 0.2, 0.37] {
            assert!((share_below(quantile(p)) - p).abs() < 1e-14, "{p}");
            assert!((quantile(p) + quantile(1.0 - p) - 1.0).abs() < 1e-12, "{p}");
        }
    }

    #[test]
    fn the_distribution_function_is_the_integral_of_its_density() {
        // With u = x^0.6 the integrand is smooth: ∫ (1 − u^{1/0.6})^{−0.4} du / 0.6.
        let end = 0.3f64.powf(SHAPE);
        let n = 20_000;
        let f = |u: f64| (1.0 - u.powf(1.0 / SHAPE)).powf(SHAPE - 1.0) / SHAPE;
        let sum: f64 = (0..n).map(|i| f((i as f64 + 0.5) * end / n as f64)).sum();
        let integral = sum * end / n as f64 / COMPLETE;
        assert!((share_below(0.3) - integral).abs() < 1e-9, "{integral} {}", share_below(0.3));
    }
}
