//! Points in time as policies write them: ISO 8601, or seconds since the epoch.

/// Milliseconds since the epoch of `2026-01-02`, `2026-01-02T03:04:05Z`, `2026-01-02T03:04:05.678+01:00` or `1767322800`.
pub(crate) fn parsed(text: &str) -> Option<i64> {
    if let Ok(secs) = text.parse::<i64>() {
        return secs.checked_mul(1000);
    }
    let (date, time) = match text.split_once(['T', 't']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut parts = date.splitn(3, '-').map(|part| number(part, 4));
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let midnight = days_before(year, month, day) * 86_400_000;
    Some(midnight + time.map_or(Some(0), millis_of_day)?)
}

/// The point in ISO 8601 with milliseconds, in UTC.
pub(crate) fn written(millis: i64) -> String {
    let (days, millis) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
    let (year, month, day) = date_of(days);
    let (hour, minute) = (millis / 3_600_000, millis / 60_000 % 60);
    let (second, millis) = (millis / 1000 % 60, millis % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// `03:04Z`, `03:04:05.6Z`, `03:04:05+01:00`; UTC if it does not say.
fn millis_of_day(time: &str) -> Option<i64> {
    let zone_at = time.find(['Z', 'z', '+', '-']).unwrap_or(time.len());
    let (clock, zone) = time.split_at(zone_at);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut parts = clock.split(':').map(|part| number(part, 2));
    let (hour, minute) = (parts.next()??, parts.next()??);
    let second = parts.next().unwrap_or(Some(0))?;
    if parts.next().is_some() || 23 < hour || 59 < minute || 60 < second {
        return None;
    }
    number(fraction, 9)?;
    let millis = number(&format!("{fraction:0<3}")[..3], 3)?;
    let offset = match zone {
        "" | "Z" | "z" => 0,
        zone => {
            let (hours, minutes) = zone.get(1..)?.split_once(':')?;
            let minutes = number(hours, 2)? * 60 + number(minutes, 2)?;
            if zone.starts_with('-') { -minutes } else { minutes }
        }
    };
    Some(((hour * 60 + minute - offset) * 60 + second) * 1000 + millis)
}

fn number(digits: &str, n_digits_max: usize) -> Option<i64> {
    let is_number = (1..=n_digits_max).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

/// Days from 1970-01-01 to a day of the Gregorian calendar, whose years are taken to begin in March.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

/// The inverse of [`days_before`].
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates_are_read_as_policies_write_them() {
        for (text, expected) in [
            ("1970-01-01", Some(0)),
            ("2000-02-29T00:00:00Z", Some(951_782_400_000)),
            ("2026-01-02T03:04:05.678Z", Some(1_767_323_045_678)),
            ("2026-01-02T04:04:05.678+01:00", Some(1_767_323_045_678)),
            ("2026-01-01T22:04:05.678-05:00", Some(1_767_323_045_678)),
            ("2026-01-02T03:04Z", Some(1_767_323_040_000)),
            ("1767323045", Some(1_767_323_045_000)),
            ("2026-13-01", None),
            ("2026-01-02T24:00:00Z", None),
            ("2026-01-02T03:04:05é", None),
            ("2026-01-02T03:04:05.é", None),
            ("2026-01-02T03:04:05.12é", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(parsed(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(millis in 0..253_402_300_799_999_i64) {
            prop_assert_eq!(parsed(&written(millis)), Some(millis));
        }
    }
}
