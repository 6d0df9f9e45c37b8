//! Crashes and sabotage on demand, so that tests can show what survives them, and that they would notice if it did not.
//!
//! Only programs built with the feature `faults` have any of it. They read the environment once: `FREEHOLD_FAULT=NAME:COUNT`
//! kills the process when it reaches that point for that time, `FREEHOLD_MUTANT=NAME,NAME` takes safeguards away.

#[cfg(feature = "faults")]
mod armed {
    use std::{
        env,
        sync::{
            LazyLock,
            atomic::{AtomicU32, Ordering},
        },
    };

    /// The point to die at, and how often it is still to be passed, plus one.
    static FAULT: LazyLock<Option<(String, AtomicU32)>> = LazyLock::new(|| {
        let text = env::var("FREEHOLD_FAULT").ok()?;
        let (name, count) = text.split_once(':').unwrap_or((&text, "1"));
        let count = count.parse().unwrap_or_else(|_| panic!("FREEHOLD_FAULT={text}: the part after the colon is not a count"));
        Some((name.to_owned(), AtomicU32::new(count)))
    });

    static MUTANT: LazyLock<Option<String>> = LazyLock::new(|| env::var("FREEHOLD_MUTANT").ok());

    /// Ends the process here, as a loss of power would, when the environment says so.
    pub fn point(name: &str) {
        if let Some((chosen, left)) = FAULT.as_ref()
            && chosen == name
            && left.fetch_sub(1, Ordering::SeqCst) == 1
        {
            std::process::abort();
        }
    }

    /// Whether this safeguard is taken away.
    pub fn mutant(name: &str) -> bool {
        MUTANT.as_deref().is_some_and(|chosen| chosen.split(',').any(|chosen| chosen == name))
    }
}

#[cfg(feature = "faults")]
pub use armed::{mutant, point};

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
