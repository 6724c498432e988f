//! What the agent tells its operator: one line on stderr, dated in UTC, per change of state and per answer.

use std::fmt;
use std::io::Write as _;

use crate::clock;

/// Writes one line. A line that cannot be written is lost: nothing else may fail because of it.
pub(crate) fn line(message: fmt::Arguments<'_>) {
    let at = Utc(clock::epoch_millis());
    // One write, so that lines of several processes on one terminal do not mix.
    let text = format!("{at} {}\n", OneLine(&message.to_string()));
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// A text without control characters: what a server says may not forge a line of its own, or move the cursor.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        self.0
            .chars()
            .try_for_each(|c| f.write_char(if c.is_control() { ' ' } else { c }))
    }
}

/// A point in time as `2026-11-25T08:59:58Z`, from milliseconds since the epoch.
struct Utc(u64);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.0 / 1000;
        let (year, month, day) = date(secs / 86_400);
        let (hour, minute, second) = (secs / 3600 % 24, secs / 60 % 60, secs % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// The date `n_days` after 1970-01-01, counted in years that begin in March, so that the leap day is a year's last.
fn date(n_days: u64) -> (u64, u64, u64) {
    let since_march_year_0 = n_days + 719_468;
    let (era, day_of_era) = (since_march_year_0 / 146_097, since_march_year_0 % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_in_time_read_as_dates() {
        for (millis, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399_999, "2000-02-28T23:59:59Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_542_697_506_269, "2018-11-20T07:05:06Z"),
            (1_709_251_199_000, "2024-02-29T23:59:59Z"),
            (1_735_689_599_000, "2024-12-31T23:59:59Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(Utc(millis).to_string(), expected);
        }
    }

    #[test]
    fn what_a_server_says_stays_on_one_line() {
        assert_eq!(
            OneLine("bad\n2026 accepted\u{1b}[2J").to_string(),
            "bad 2026 accepted [2J"
        );
    }
}
