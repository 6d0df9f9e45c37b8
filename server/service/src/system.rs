//! The clock and the random source of the machine. Nothing else in the server may read either.

use freehold_domain::{
    fault,
    time::{Clock, Random, Timestamp, Uid},
};
use ring::rand::{SecureRandom as _, SystemRandom as RingRandom};

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(jiff::Timestamp::now().as_microsecond() + fault::clock() * 1_000_000)
    }
}

/// The random source of the machine.
#[derive(Debug)]
pub struct SystemRandom(RingRandom);

impl SystemRandom {
    /// The random source.
    #[expect(clippy::new_without_default, reason = "a random source is chosen, never a default")]
    pub fn new() -> Self {
        Self(RingRandom::new())
    }
}

impl Random for SystemRandom {
    fn uid(&self) -> Uid {
        Uid(uuid::Uuid::now_v7())
    }

    fn fill(&self, bytes: &mut [u8]) {
        self.0.fill(bytes).expect("the kernel's random source does not fail once it has been seeded");
    }
}
