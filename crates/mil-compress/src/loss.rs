//! How much of a weight compression keeps.

/// Squared error and signal of one weight.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Loss {
    /// Sum of squared differences from the weight.
    pub squared_error: f64,
    /// Sum of squares of the weight.
    pub signal: f64,
}

impl Loss {
    /// Signal-to-noise ratio in dB; infinite when nothing is lost.
    #[must_use]
    pub fn snr_db(&self) -> f64 {
        if self.squared_error == 0.0 { f64::INFINITY } else { 10.0 * (self.signal / self.squared_error).log10() }
    }
}

impl std::ops::AddAssign for Loss {
    fn add_assign(&mut self, other: Self) {
        self.squared_error += other.squared_error;
        self.signal += other.signal;
    }
}
