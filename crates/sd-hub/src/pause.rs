//! How long is waited before something is tried again, and how often.

use std::time::{Duration, SystemTime};

use host_tensor::Stop;
use ureq::http::HeaderMap;

use crate::HubError;

/// How patient the client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Patience {
    /// Tries of one file without any progress, the first one included.
    pub tries: u32,
    /// The first pause; each one after it is twice as long.
    pub pause: Duration,
    /// The longest pause that a server may ask for.
    pub longest: Duration,
    /// How long a connection may be silent.
    pub silence: Duration,
}

/// Tries of a server that cannot be reached at all: names that are not resolved seldom are a minute later.
pub(crate) const TRIES_TO_REACH: u32 = 3;
/// The longest pause that is made of oneself.
const LONGEST_OWN: Duration = Duration::from_secs(30);
/// How often a pause asks whether it should end.
const TICK: Duration = Duration::from_millis(100);

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { tries: 6, pause: seconds(1), longest: seconds(300), silence: seconds(30) }
    }
}

impl Patience {
    /// The same with another first pause, and another limit to pauses that servers ask for.
    #[must_use]
    pub fn with_pauses(self, pause: Duration, longest: Duration) -> Self {
        Self { pause, longest, ..self }
    }

    /// The same with another length of silence.
    #[must_use]
    pub fn with_silence(self, silence: Duration) -> Self {
        Self { silence, ..self }
    }

    /// The pause behind so many failed tries.
    pub(crate) fn pause_behind(self, n_failed: u32) -> Duration {
        let doubled = self.pause.saturating_mul(1 << n_failed.saturating_sub(1).min(16));
        doubled.min(LONGEST_OWN.max(self.pause))
    }
}

/// Waits, unless it is told to stop.
pub(crate) fn wait(pause: Duration, stop: &Stop) -> Result<(), HubError> {
    let mut left = pause;
    while !stop.is_set() {
        if left.is_zero() {
            return Ok(());
        }
        let now = left.min(TICK);
        std::thread::sleep(now);
        left -= now;
    }
    Err(HubError::Stopped)
}

/// The pause that a server asks for: `Retry-After` in seconds or as a date, else the `t` of the Hub's `RateLimit`, which is
/// the draft's (draft-ietf-httpapi-ratelimit-headers-10): `"api";r=0;t=55`.
pub(crate) fn asked_for(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    if let Some(after) = text("retry-after") {
        if let Ok(seconds) = after.parse() {
            return Some(Duration::from_secs(seconds));
        }
        if let Ok(date) = httpdate::parse_http_date(after) {
            return Some(date.duration_since(SystemTime::now()).unwrap_or_default());
        }
    }
    let parts = text("ratelimit")?.split(';');
    parts.filter_map(|part| part.trim().strip_prefix("t=")?.parse().ok()).next().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_ask_for_pauses_in_three_ways() {
        let check = |name: &'static str, value: &str, range: std::ops::RangeInclusive<u64>| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            let seconds = asked_for(&headers).unwrap().as_secs();
            assert!(range.contains(&seconds), "{name}: {value}: {seconds}");
        };
        check("retry-after", "17", 17..=17);
        check("retry-after", &httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(60)), 57..=60);
        check("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT", 0..=0);
        check("ratelimit", "\"api\";r=0;t=55", 55..=55);
        assert_eq!(asked_for(&HeaderMap::new()), None);
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", "soon".parse().unwrap());
        assert_eq!(asked_for(&headers), None);
    }

    #[test]
    fn pauses_grow_to_a_limit() {
        let patience = Patience::default();
        let pauses: Vec<u64> = (1..8).map(|n| patience.pause_behind(n).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn a_pause_ends_when_it_should() {
        let stop = Stop::new();
        stop.set();
        assert!(matches!(wait(Duration::from_secs(3600), &stop), Err(HubError::Stopped)));
        wait(Duration::ZERO, &Stop::never()).unwrap();
    }
}
