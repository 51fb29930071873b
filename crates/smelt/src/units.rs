//! How sizes, times, counts and ratios are spelt in messages, reports and pages.

use std::time::Duration;

/// A size in decimal units, three digits.
#[must_use]
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if n < 1000 {
        return format!("{n} B");
    }
    let mut value = n as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.digits$} {}", UNITS[unit])
}

/// A size as people type it: `1500000000`, `1500M`, `1.5G`, `1.5GB`; decimal units, as [`bytes`] has them, and binary ones
/// (`GiB`). `None` for anything else.
#[must_use]
pub fn parse_bytes(text: &str) -> Option<u64> {
    const UNITS: [(&str, f64); 13] = [
        ("", 1.0),
        ("B", 1.0),
        ("K", 1e3),
        ("KB", 1e3),
        ("KIB", 1024.0),
        ("M", 1e6),
        ("MB", 1e6),
        ("MIB", 1_048_576.0),
        ("G", 1e9),
        ("GB", 1e9),
        ("GIB", 1_073_741_824.0),
        ("T", 1e12),
        ("TB", 1e12),
    ];
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (text[..at].parse::<f64>().ok()?, text[at..].trim().to_uppercase());
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let size = number * factor;
    (1.0..1e18).contains(&size).then_some(size as u64)
}

/// A time, to a precision that matters.
#[must_use]
pub fn seconds(time: Duration) -> String {
    let s = time.as_secs_f64();
    if s < 0.9995 {
        format!("{:.0} ms", s * 1000.0)
    } else if s < 99.95 {
        format!("{s:.1} s")
    } else {
        format!("{} min {:02} s", (s.round() as u64) / 60, (s.round() as u64) % 60)
    }
}

/// A count with its noun in the right number.
#[must_use]
pub fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// A peak signal-to-noise ratio in words.
#[must_use]
pub fn decibels(psnr: f64) -> String {
    if psnr == f64::INFINITY {
        "identical".into()
    } else if psnr == f64::NEG_INFINITY {
        "not comparable".into()
    } else {
        format!("{psnr:.1} dB")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        let cases = [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (9_999, "10.0 kB"), (99_999, "100 kB")];
        for (n, text) in
            cases.into_iter().chain([(1_719_000_000, "1.72 GB"), (999_999, "1.00 MB"), (u64::MAX, "18447 PB")])
        {
            assert_eq!(bytes(n), text);
        }
    }

    #[test]
    fn sizes_are_read_as_they_are_typed() {
        let cases = [
            ("1500", 1500),
            ("1500M", 1_500_000_000),
            ("1.5G", 1_500_000_000),
            ("2 GiB", 2 << 30),
            ("800mb", 800_000_000),
        ];
        for (text, n) in cases {
            assert_eq!(parse_bytes(text), Some(n), "{text}");
        }
        for text in ["", "G", "-1", "1.5X", "1e9", "0", "nan"] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
    }

    #[test]
    fn times_are_milliseconds_seconds_or_minutes() {
        for (ms, text) in [(0, "0 ms"), (999, "999 ms"), (1000, "1.0 s"), (99_900, "99.9 s"), (100_000, "1 min 40 s")] {
            assert_eq!(seconds(Duration::from_millis(ms)), text);
        }
    }
}
