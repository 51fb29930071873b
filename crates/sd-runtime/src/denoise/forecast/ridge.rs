//! Ridge regression on Chebyshev polynomials of the step: what each sample weighs in the value of the fit at another step.
//!
//! The fit is linear in the samples, so one set of weights serves all values of a sample, and nothing here sees samples.

/// Half of the steps that the polynomials' domain [−1, 1] spans, as stable-diffusion.cpp has it whatever the number of steps.
const HALF_SPAN: f64 = 25.0;

/// What the samples of these steps weigh in the fit's value at `at`: `T(at) · (XᵀX + ridge·I)⁻¹ · Xᵀ`.
///
/// `None` where the equations have no solution, which a positive ridge excludes.
pub(super) fn shares(steps: &[usize], at: usize, degree: usize, ridge: f64) -> Option<Vec<f64>> {
    let rows: Vec<Vec<f64>> = steps.iter().map(|&step| chebyshev(step, degree)).collect();
    let size = degree + 1;
    let normal = |i: usize, j: usize| -> f64 {
        rows.iter().map(|row| row[i] * row[j]).sum::<f64>() + if i == j { ridge } else { 0.0 }
    };
    let matrix = (0..size).map(|i| (0..size).map(|j| normal(i, j)).collect()).collect();
    // The matrix is symmetric, so what it makes of T(at) serves every row.
    let weights = solve(matrix, chebyshev(at, degree))?;
    Some(rows.iter().map(|row| row.iter().zip(&weights).map(|(x, w)| x * w).sum()).collect())
}

/// T₀ to T of the degree, at a step.
fn chebyshev(step: usize, degree: usize) -> Vec<f64> {
    let t = step as f64 / HALF_SPAN - 1.0;
    let terms = std::iter::successors(Some((1.0, t)), |&(last, next)| Some((next, 2.0 * t * next - last)));
    terms.map(|(term, _)| term).take(degree + 1).collect()
}

/// Gauss' elimination with the largest pivots.
fn solve(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Option<Vec<f64>> {
    let n = right.len();
    for column in 0..n {
        let largest = (column..n).max_by(|&a, &b| matrix[a][column].abs().total_cmp(&matrix[b][column].abs()))?;
        matrix.swap(column, largest);
        right.swap(column, largest);
        if matrix[column][column] == 0.0 {
            return None;
        }
        for row in column + 1..n {
            let factor = matrix[row][column] / matrix[column][column];
            let (above, below) = matrix.split_at_mut(row);
            below[0].iter_mut().zip(&above[column]).skip(column).for_each(|(x, pivot)| *x -= factor * pivot);
            right[row] -= factor * right[column];
        }
    }
    for row in (0..n).rev() {
        let known: f64 = (row + 1..n).map(|i| matrix[row][i] * right[i]).sum();
        right[row] = (right[row] - known) / matrix[row][row];
    }
    Some(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_polynomial_is_continued_where_nothing_holds_it_back() {
        let cubic = |step: usize| {
            let t = step as f64;
            0.01 * t * t * t - 0.3 * t * t + t - 4.0
        };
        let steps = [0, 1, 2, 3, 5, 7];
        let shares = shares(&steps, 9, 3, 1e-12).unwrap();
        let value: f64 = steps.iter().zip(&shares).map(|(&step, share)| share * cubic(step)).sum();
        assert!((value - cubic(9)).abs() < 1e-3, "{value} for {}", cubic(9));
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{shares:?}");
    }

    #[test]
    fn equations_without_a_solution_give_nothing() {
        assert!(shares(&[4], 5, 3, 0.0).is_none());
        assert!(shares(&[4], 5, 3, 1.0).is_some());
    }
}
