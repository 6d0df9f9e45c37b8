//! Schedules of five fields, `minute hour day-of-month month day-of-week`, in a time zone.

use std::{ops::RangeInclusive, sync::LazyLock};

use jiff::{
    civil::Date,
    tz::{TimeZone, TimeZoneDatabase},
};
use serde::{Deserialize, Serialize};

use crate::{names::shown, time::Timestamp};

/// The time zones of the IANA database, as they were when this program was built.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// Days after which a schedule that has not come never does: the longest time between two 29ths of February.
const MOST_DAYS: u32 = 8 * 366;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Times by the clock on a wall: five fields as `crontab(5)` of POSIX has them, with steps and the names of months and weekdays,
/// in a time zone. It comes once an hour at most.
///
/// Where the clock is put forward over such a time, it comes as much later; where it is put back over one, it comes the first time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Text", into = "Text")]
pub struct Cron {
    text: Text,
    minute: i8,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// A day must be right by both fields, not by either: one of them says nothing.
    both_days: bool,
}

/// As it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Text {
    expression: String,
    zone: String,
}

impl Cron {
    /// Reads a schedule; `zone` is a name of the IANA database, empty for UTC.
    ///
    /// Fails with what is wrong and what would be right.
    pub fn new(expression: &str, zone: &str) -> Result<Self, String> {
        let zone = if zone.is_empty() { "UTC" } else { zone };
        ZONES.get(zone).map_err(|_| format!("`{}` is no time zone; name one like Europe/Berlin", shown(zone)))?;
        let fields: Vec<&str> = expression.split_ascii_whitespace().collect();
        let [minute, hours, days, months, weekdays] = fields[..] else {
            return Err(format!(
                "`{}` has {} fields; give five: minute hour day-of-month month day-of-week",
                shown(expression),
                fields.len()
            ));
        };
        let minutes = set("minute", minute, 0..=59, &[])?;
        if minutes.count_ones() != 1 {
            return Err(format!("the minute `{}` is not one number: it can come once an hour at most", shown(minute)));
        }
        let weekdays = set("day of the week", weekdays, 0..=7, &WEEKDAYS)?;
        let cron = Self {
            text: Text { expression: fields.join(" "), zone: zone.to_owned() },
            minute: i8::try_from(minutes.trailing_zeros()).expect("below 60"),
            hours: set("hour", hours, 0..=23, &[])?,
            days: set("day of the month", days, 1..=31, &[])?,
            months: set("month", months, 1..=12, &MONTHS)?,
            // Sunday is 0 and 7.
            weekdays: weekdays | weekdays >> 7,
            both_days: fields[2].starts_with('*') || fields[4].starts_with('*'),
        };
        match cron.next(Timestamp::from_micros(0)) {
            Some(_) => Ok(cron),
            None => Err(format!("`{}` never comes: no such day is in the calendar", shown(expression))),
        }
    }

    /// The five fields.
    pub fn expression(&self) -> &str {
        &self.text.expression
    }

    /// Name of the time zone.
    pub fn zone(&self) -> &str {
        &self.text.zone
    }

    /// The first time after this one; `None` beyond the end of the calendar.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let zone = ZONES.get(&self.text.zone).ok()?;
        let start = jiff::Timestamp::from_microsecond(after.as_micros()).ok()?;
        let mut date = zone.to_datetime(start).date();
        for _ in 0..=MOST_DAYS {
            if self.comes_on(date) {
                let hours = (0..24).filter(|hour| self.hours & 1 << hour != 0);
                let times = hours.filter_map(|hour| self.at(&zone, date, hour));
                if let Some(time) = times.filter(|time| *time > after).min() {
                    return Some(time);
                }
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    fn comes_on(&self, date: Date) -> bool {
        let day = self.days & 1 << date.day() != 0;
        let weekday = self.weekdays & 1 << date.weekday().to_sunday_zero_offset() != 0;
        self.months & 1 << date.month() != 0 && if self.both_days { day && weekday } else { day || weekday }
    }

    fn at(&self, zone: &TimeZone, date: Date, hour: i8) -> Option<Timestamp> {
        let time = zone.to_ambiguous_timestamp(date.at(hour, self.minute, 0, 0)).compatible().ok()?;
        Some(Timestamp::from_micros(time.as_microsecond()))
    }
}

impl TryFrom<Text> for Cron {
    type Error = String;

    fn try_from(text: Text) -> Result<Self, String> {
        Self::new(&text.expression, &text.zone)
    }
}

impl From<Cron> for Text {
    fn from(cron: Cron) -> Self {
        cron.text
    }
}

/// The numbers of one field, a bit for each. `names` stand for the numbers from the first of the range on.
fn set(what: &str, field: &str, range: RangeInclusive<u32>, names: &[&str]) -> Result<u64, String> {
    let wrong = || {
        let (first, last) = (range.start(), range.end());
        format!("`{}` is no {what}: use {first} to {last}, *, lists with commas, ranges with -, and steps with /", shown(field))
    };
    let number = |text: &str| -> Option<u32> {
        let named = names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let number = match named {
            Some(at) => range.start() + u32::try_from(at).ok()?,
            None => text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))?,
        };
        range.contains(&number).then_some(number)
    };
    let mut all = 0;
    for part in field.split(',') {
        let (span, step) = match part.split_once('/') {
            Some((span, step)) => {
                (span, Some(step.parse::<usize>().ok().filter(|step| (1..=59).contains(step)).ok_or_else(wrong)?))
            }
            None => (part, None),
        };
        let (first, last) = match span.split_once('-') {
            _ if span == "*" => (*range.start(), *range.end()),
            Some((first, last)) => (number(first).ok_or_else(wrong)?, number(last).ok_or_else(wrong)?),
            None => {
                let first = number(span).ok_or_else(wrong)?;
                (first, if step.is_some() { *range.end() } else { first })
            }
        };
        if first > last {
            return Err(wrong());
        }
        all |= (first..=last).step_by(step.unwrap_or(1)).fold(0, |bits, number| bits | 1_u64 << number);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_micros(text.parse::<jiff::Timestamp>().expect(text).as_microsecond())
    }

    #[test]
    fn it_comes_when_the_clock_on_the_wall_says_so() {
        // Expression, zone, after, and the times that follow.
        let table: &[(&str, &str, &str, &[&str])] = &[
            ("0 3 * * *", "", "2026-01-01T03:00:00Z", &["2026-01-02T03:00:00Z", "2026-01-03T03:00:00Z"]),
            ("0 3 * * *", "Europe/Berlin", "2026-01-01T00:00:00Z", &["2026-01-01T02:00:00Z"]),
            // The clock goes forward on the 29th of March: 02:30 is not there, and comes as 03:30 of summer time.
            ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", &["2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"]),
            // It goes back on the 25th of October: 02:30 is there twice, and comes the first time.
            ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]),
            // Two wall times that the gap makes one come once.
            ("30 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", &["2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"]),
            (
                "15 */8 * * *",
                "",
                "2026-01-01T00:15:00Z",
                &["2026-01-01T08:15:00Z", "2026-01-01T16:15:00Z", "2026-01-02T00:15:00Z"],
            ),
            ("0 9 * * mon-fri", "", "2026-01-02T09:00:00Z", &["2026-01-05T09:00:00Z"]),
            ("0 9 * * 7", "", "2026-01-01T00:00:00Z", &["2026-01-04T09:00:00Z", "2026-01-11T09:00:00Z"]),
            ("0 0 13 * fri", "", "2026-02-01T00:00:00Z", &["2026-02-06T00:00:00Z", "2026-02-13T00:00:00Z"]),
            ("0 0 29 feb *", "", "2026-01-01T00:00:00Z", &["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]),
            ("5 0 1 1,7 *", "", "2026-01-01T00:05:00Z", &["2026-07-01T00:05:00Z", "2027-01-01T00:05:00Z"]),
        ];
        for (expression, zone, after, expected) in table {
            let cron = Cron::new(expression, zone).expect(expression);
            let mut time = at(after);
            for expected in *expected {
                time = cron.next(time).expect("it comes");
                assert_eq!(time.to_string(), *expected, "{expression} in {zone} after {after}");
            }
            let text = serde_json::to_string(&cron).expect("text");
            assert_eq!(serde_json::from_str::<Cron>(&text).expect("the same"), cron);
        }
    }

    #[test]
    fn what_is_no_schedule_is_refused_and_says_what_is_one() {
        let table = [
            ("", "", "five"),
            ("0 3 * *", "", "five"),
            ("* 3 * * *", "", "it can come once an hour at most"),
            ("0,30 3 * * *", "", "it can come once an hour at most"),
            ("60 3 * * *", "", "0 to 59"),
            ("0 24 * * *", "", "0 to 23"),
            ("0 5-3 * * *", "", "0 to 23"),
            ("0 */0 * * *", "", "steps"),
            ("0 3 0 * *", "", "1 to 31"),
            ("0 3 * 13 *", "", "1 to 12"),
            ("0 3 * * lun", "", "0 to 7"),
            ("0 3 +1 * *", "", "1 to 31"),
            ("0 3 30 2 *", "", "never comes"),
            ("0 3 * * *", "Europe/Atlantis", "no time zone"),
        ];
        for (expression, zone, why) in table {
            let error = Cron::new(expression, zone).expect_err(expression);
            assert!(error.contains(why), "{expression}: {error}");
        }
    }
}
