//! Points in time as interfaces have them.

use std::time::SystemTime;

/// Seconds since 1970.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Year, month, day, hour, minute and second (UTC) of a point in time.
// Howard Hinnant's civil_from_days, for the proleptic Gregorian calendar.
pub(crate) fn date(seconds: f64) -> [i64; 6] {
    let seconds = seconds as i64;
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    [year, month, day, rest / 3600, rest / 60 % 60, rest % 60]
}

/// `YYYYMMDDHHMMSS`, as AUTOMATIC1111 writes it.
pub(crate) fn stamp(seconds: f64) -> String {
    let [year, month, day, hour, minute, second] = date(seconds);
    format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}")
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
