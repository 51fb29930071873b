//! How quick a drawing is, and how long it will still take.
//!
//! Steps and what follows the last one of a picture, its decoding above all, are timed apart: a step is no measure of that.

use std::time::Duration;

/// Times of what is done so far.
#[derive(Debug, Default)]
pub(in crate::command) struct Pace {
    /// When something was done last, since the beginning.
    last: Duration,
    steps: Timed,
    /// From latents to files.
    pictures: Timed,
}

/// How often something was done, and how long it took in all.
#[derive(Debug, Default)]
struct Timed {
    n: u32,
    total: Duration,
}

impl Timed {
    fn add(&mut self, time: Duration) {
        (self.n, self.total) = (self.n + 1, self.total + time);
    }

    fn mean(&self) -> Option<Duration> {
        self.total.checked_div(self.n)
    }
}

impl Pace {
    /// A step is done, at that time since the beginning.
    pub(in crate::command) fn step(&mut self, now: Duration) {
        let time = self.since(now);
        self.steps.add(time);
    }

    /// A picture is written.
    pub(super) fn picture(&mut self, now: Duration) {
        let time = self.since(now);
        self.pictures.add(time);
    }

    fn since(&mut self, now: Duration) -> Duration {
        now.saturating_sub(std::mem::replace(&mut self.last, now))
    }

    /// How many steps are done.
    pub(super) const fn n_steps(&self) -> u32 {
        self.steps.n
    }

    /// What a step takes.
    pub(super) fn mean(&self) -> Option<Duration> {
        self.steps.mean()
    }

    /// Steps per second.
    pub(in crate::command) fn rate(&self) -> Option<f64> {
        self.mean().map(|mean| mean.as_secs_f64().recip()).filter(|rate| rate.is_finite())
    }

    /// What so many steps and pictures will still take. Until a picture is finished, that is thought to take as long as a
    /// step.
    pub(in crate::command) fn left(&self, n_steps: usize, n_pictures: usize) -> Option<Duration> {
        let step = self.mean()?;
        let picture = self.pictures.mean().unwrap_or(step);
        Some(step.mul_f64(n_steps as f64) + picture.mul_f64(n_pictures as f64))
    }
}

/// A rate as people read it: iterations per second, or seconds per iteration where that is more than one.
pub(in crate::command) fn it_per_s(rate: f64) -> String {
    match rate < 1.0 {
        true => format!("{:.2} s/it", rate.recip()),
        false => format!("{rate:.2} it/s"),
    }
}

/// A time that is left, which is never known to a part of a second.
pub(in crate::command) fn left(time: Duration) -> String {
    let s = time.as_secs_f64().round() as u64;
    match (s / 3600, s / 60 % 60, s % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s:02} s"),
        (h, m, _) => format!("{h} h {m:02} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_steps_and_pictures_at_their_own_pace() {
        let s = Duration::from_secs;
        let mut pace = Pace::default();
        assert_eq!((pace.left(3, 1), pace.rate()), (None, None));
        pace.step(s(2));
        pace.step(s(4));
        assert_eq!((pace.rate(), pace.left(2, 1)), (Some(0.5), Some(s(6))));
        pace.picture(s(14));
        assert_eq!((pace.mean(), pace.left(2, 1)), (Some(s(2)), Some(s(14))));
    }

    #[test]
    fn slow_steps_are_told_in_seconds_each() {
        assert_eq!([4.0, 1.0, 0.99, 0.1].map(it_per_s), ["4.00 it/s", "1.00 it/s", "1.01 s/it", "10.00 s/it"]);
        assert_eq!([0.4, 59.6, 3725.0].map(|s| left(Duration::from_secs_f64(s))), ["0 s", "1 min 00 s", "1 h 02 min"]);
    }
}
