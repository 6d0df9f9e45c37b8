//! Crashes and sabotage on demand, so that tests can show what survives them, and that they would notice if it did not.
//!
//! Only programs built with the feature `faults` have any of it. They read the environment once: `FREEHOLD_FAULT=NAME:COUNT`
//! kills the process when it reaches that point for that time, `NAME:COUNT:freeze` stops it there until somebody lets it go on,
//! `FREEHOLD_MUTANT=NAME,NAME` takes safeguards away, `FREEHOLD_TIME=NAME:SECONDS,NAME:SECONDS` makes long waits short, and
//! `FREEHOLD_CLOCK=SECONDS` has the clock of the machine go wrong by so much.

#[cfg(not(feature = "faults"))]
use std::time::Duration;

#[cfg(feature = "faults")]
mod armed {
    use std::{
        env,
        process::Command,
        sync::{
            LazyLock,
            atomic::{AtomicU32, Ordering},
        },
        time::Duration,
    };

    /// What is read of the environment, and handed on to processes that otherwise inherit nothing.
    const VARIABLES: [&str; 4] = ["FREEHOLD_FAULT", "FREEHOLD_MUTANT", "FREEHOLD_TIME", "FREEHOLD_CLOCK"];

    /// A point to stop at.
    struct Fault {
        point: String,
        /// How often it is still to be passed, plus one.
        left: AtomicU32,
        freezes: bool,
    }

    static FAULT: LazyLock<Option<Fault>> = LazyLock::new(|| {
        let text = env::var("FREEHOLD_FAULT").ok()?;
        let mut parts = text.split(':');
        let point = parts.next().unwrap_or_default().to_owned();
        let count = parts.next().unwrap_or("1").parse();
        let count = count.unwrap_or_else(|_| panic!("FREEHOLD_FAULT={text}: the part after the colon is not a count"));
        Some(Fault { point, left: AtomicU32::new(count), freezes: parts.next() == Some("freeze") })
    });

    static MUTANT: LazyLock<Option<String>> = LazyLock::new(|| env::var("FREEHOLD_MUTANT").ok());

    static TIME: LazyLock<Vec<(String, Duration)>> = LazyLock::new(|| {
        let text = env::var("FREEHOLD_TIME").unwrap_or_default();
        let time = |part: &str| {
            let (name, seconds) = part.split_once(':')?;
            Some((name.to_owned(), Duration::from_secs(seconds.parse().ok()?)))
        };
        let parts = text.split(',').filter(|part| !part.is_empty());
        parts.map(|part| time(part).unwrap_or_else(|| panic!("FREEHOLD_TIME={text}: {part} is not NAME:SECONDS"))).collect()
    });

    static CLOCK: LazyLock<i64> = LazyLock::new(|| {
        let text = env::var("FREEHOLD_CLOCK").unwrap_or_else(|_| "0".to_owned());
        text.parse().unwrap_or_else(|_| panic!("FREEHOLD_CLOCK={text}: it is no number of seconds"))
    });

    /// Ends or stops the process here, as a loss of power or a machine that is suspended would, when the environment says so.
    pub fn point(name: &str) {
        let Some(fault) = FAULT.as_ref().filter(|fault| fault.point == name) else { return };
        if fault.left.fetch_sub(1, Ordering::SeqCst) != 1 {
            return;
        }
        if !fault.freezes {
            std::process::abort();
        }
        // Every thread of this process stops while the command runs.
        let stopped = Command::new("kill").args(["-STOP", &std::process::id().to_string()]).status();
        assert!(stopped.is_ok_and(|status| status.success()), "there is a command `kill`");
    }

    /// Whether this safeguard is taken away.
    pub fn mutant(name: &str) -> bool {
        MUTANT.as_deref().is_some_and(|chosen| chosen.split(',').any(|chosen| chosen == name))
    }

    /// This time, unless the environment names another one for it.
    pub fn time(name: &str, real: Duration) -> Duration {
        TIME.iter().find(|(chosen, _)| chosen == name).map_or(real, |(_, short)| *short)
    }

    /// By how many seconds the clock is wrong.
    pub fn clock() -> i64 {
        *CLOCK
    }

    /// The variables that say all this.
    pub fn environment() -> Vec<(&'static str, String)> {
        VARIABLES.into_iter().filter_map(|name| Some((name, env::var(name).ok()?))).collect()
    }
}

#[cfg(feature = "faults")]
pub use armed::{clock, environment, mutant, point, time};

/// Ends the process here when it was built for that; this one was not.
#[cfg(not(feature = "faults"))]
#[inline]
pub const fn point(_name: &str) {}

/// Whether this safeguard is taken away; never in this build.
#[cfg(not(feature = "faults"))]
#[inline]
pub const fn mutant(_name: &str) -> bool {
    false
}

/// This time; in this build there is no other one.
#[cfg(not(feature = "faults"))]
#[inline]
pub const fn time(_name: &str, real: Duration) -> Duration {
    real
}

/// By how many seconds the clock is wrong; in this build it is the machine's.
#[cfg(not(feature = "faults"))]
#[inline]
pub const fn clock() -> i64 {
    0
}

/// The variables that say all this; in this build there are none.
#[cfg(not(feature = "faults"))]
#[inline]
pub const fn environment() -> Vec<(&'static str, String)> {
    Vec::new()
}
