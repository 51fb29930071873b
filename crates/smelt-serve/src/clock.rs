//! Points in time as interfaces have them.

use std::time::SystemTime;

use time::OffsetDateTime;

/// Seconds since 1970.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// `YYYYMMDDHHMMSS` (UTC), as AUTOMATIC1111 writes it.
pub(crate) fn stamp(seconds: f64) -> String {
    let at = OffsetDateTime::from_unix_timestamp(seconds as i64).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (date, (hour, minute, second)) = (at.date(), at.to_hms());
    format!("{:04}{:02}{:02}{hour:02}{minute:02}{second:02}", date.year(), u8::from(date.month()), date.day())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_in_time_have_dates() {
        assert_eq!(stamp(0.0), "19700101000000");
        assert_eq!(stamp(951_827_696.9), "20000229123456");
        assert_eq!(stamp(1_796_169_599.0), "20261201235959");
    }
}
