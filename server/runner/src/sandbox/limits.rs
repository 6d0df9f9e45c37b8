//! How much a program may take of the machine.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// How much a program and everything it starts may take, together where the machine can count so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Processes and threads.
    pub processes: u64,
    /// Bytes of memory.
    pub memory: u64,
    /// Processor time.
    pub cpu_time: Duration,
    /// Time.
    pub time: Duration,
    /// Bytes in its folder and in its `/tmp`; every file counts for 4 KiB at least.
    pub disk: u64,
    /// Bytes of standard output and standard error.
    pub output: u64,
    /// Open files of one process.
    pub open_files: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            processes: 2048,
            memory: 4 << 30,
            cpu_time: Duration::from_secs(6 * 3600),
            time: Duration::from_secs(6 * 3600),
            disk: 10 << 30,
            output: 64 << 20,
            open_files: 65_536,
        }
    }
}

/// One of the limits with its value, as an operator gives it: `memory=8GiB`, `processes=4096`, `time=12h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// See [`Limits::processes`].
    Processes(u64),
    /// See [`Limits::memory`].
    Memory(u64),
    /// See [`Limits::cpu_time`].
    CpuTime(Duration),
    /// See [`Limits::time`].
    Time(Duration),
    /// See [`Limits::disk`].
    Disk(u64),
    /// See [`Limits::output`].
    Output(u64),
    /// See [`Limits::open_files`].
    OpenFiles(u64),
}

impl Limits {
    /// These limits with some of them changed.
    pub fn with(mut self, changes: &[Limit]) -> Self {
        for change in changes {
            match *change {
                Limit::Processes(n) => self.processes = n,
                Limit::Memory(n) => self.memory = n,
                Limit::CpuTime(time) => self.cpu_time = time,
                Limit::Time(time) => self.time = time,
                Limit::Disk(n) => self.disk = n,
                Limit::Output(n) => self.output = n,
                Limit::OpenFiles(n) => self.open_files = n,
            }
        }
        self
    }
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("NAME=VALUE, for example memory=8GiB")?;
        Ok(match name {
            "processes" => Self::Processes(count(value)?),
            "memory" => Self::Memory(bytes(value)?),
            "cpu-time" => Self::CpuTime(time(value)?),
            "time" => Self::Time(time(value)?),
            "disk" => Self::Disk(bytes(value)?),
            "output" => Self::Output(bytes(value)?),
            "open-files" => Self::OpenFiles(count(value)?),
            _ => {
                return Err(format!(
                    "`{name}` is no limit; there are processes, memory, cpu-time, time, disk, output, open-files"
                ));
            }
        })
    }
}

fn count(text: &str) -> Result<u64, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| format!("`{text}` is no number above 0"))
}

fn bytes(text: &str) -> Result<u64, String> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
    let (number, shift) = units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift))).unwrap_or((text, 0));
    count(number)
        .ok()
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| format!("`{text}` is no size; write it as 512MiB or 8GiB"))
}

fn time(text: &str) -> Result<Duration, String> {
    let units = [('s', 1), ('m', 60), ('h', 3600)];
    let found = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(*unit)?, *seconds)));
    found
        .and_then(|(number, seconds)| count(number).ok()?.checked_mul(seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| format!("`{text}` is no time; write it as 90s, 30m or 6h"))
}

/// What to tell of a limit that was reached.
pub(super) fn reached(name: &str, value: impl fmt::Display, what: &str) -> String {
    format!("the limit `{name}` of {value} was reached: {what}; raise it by `runner --limit {name}=…`")
}

/// Bytes for people.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        n if n >= 1 << 30 && n.is_multiple_of(1 << 30) => format!("{} GiB", n >> 30),
        n if n >= 1 << 20 => format!("{} MiB", n >> 20),
        n => format!("{n} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_written_with_units_and_refused_without_sense() {
        let good = [
            ("memory=8GiB", Limit::Memory(8 << 30)),
            ("disk=512MiB", Limit::Disk(512 << 20)),
            ("output=4096", Limit::Output(4096)),
            ("processes=64", Limit::Processes(64)),
            ("cpu-time=90s", Limit::CpuTime(Duration::from_secs(90))),
            ("time=6h", Limit::Time(Duration::from_secs(21_600))),
        ];
        for (text, limit) in good {
            assert_eq!(text.parse(), Ok(limit), "{text}");
        }
        for text in ["memory", "memory=", "memory=0", "memory=-1", "memory=8GB", "disk=99999999999999TiB", "time=6", "speed=1"] {
            assert!(text.parse::<Limit>().is_err(), "{text}");
        }
    }
}
