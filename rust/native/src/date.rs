//! The `Date` of a response, rendered once a second.

use crate::kernel;

/// An IMF-fixdate (RFC 9110 5.6.7) is always this long.
const DATE_LEN: usize = 29;

/// The date as it was rendered last.
#[derive(Debug)]
pub struct Date {
    seconds: i64,
    text: [u8; DATE_LEN],
}

impl Default for Date {
    fn default() -> Self {
        Self {
            seconds: i64::MIN,
            text: [0; DATE_LEN],
        }
    }
}

impl Date {
    /// The current date.
    pub fn now(&mut self) -> &[u8] {
        let seconds = kernel::wall_seconds();
        if self.seconds != seconds {
            self.text = render(seconds);
            self.seconds = seconds;
        }
        &self.text
    }
}

/// `seconds` since 1970 as `Sun, 06 Nov 1994 08:49:37 GMT`.
fn render(seconds: i64) -> [u8; DATE_LEN] {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    // A year has four digits here: until the year 9999.
    let seconds = seconds.clamp(0, 253_402_300_799);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let text = format!(
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        DAYS[index((days + 4) % 7)],
        MONTHS[index(month - 1)],
        second / 3600,
        second / 60 % 60,
        second % 60,
    );
    let mut date = [b' '; DATE_LEN];
    date.copy_from_slice(text.as_bytes());
    date
}

fn index(small: i64) -> usize {
    usize::try_from(small).unwrap_or(0)
}

/// Year, month and day of a day counted from 1970-01-01 in the Gregorian calendar.
///
/// Counts in eras of 400 years that start on the first of March, so that the leap day comes last.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, date) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"), // the example of RFC 9110
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_799, "Tue, 29 Feb 2000 23:59:59 GMT"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (-1, "Thu, 01 Jan 1970 00:00:00 GMT"),
        ] {
            assert_eq!(String::from_utf8_lossy(&render(seconds)), date, "{seconds}");
        }
    }
}
