//! Draws at random without favour.

use freehold_domain::time::Random;

/// A number below `limit`, each with the same chance; `limit` is from 1 to 256.
pub(crate) fn below(random: &dyn Random, limit: usize) -> usize {
    debug_assert!((1..=256).contains(&limit));
    // Bytes from the last, incomplete stretch of `limit` values would favour small numbers: they are drawn anew.
    let fair = 256 - 256 % limit;
    loop {
        let mut byte = [0];
        random.fill(&mut byte);
        if usize::from(byte[0]) < fair {
            return usize::from(byte[0]) % limit;
        }
    }
}

/// One of these, each with the same chance.
pub(crate) fn one_of<'a, T>(random: &dyn Random, items: &'a [T]) -> &'a T {
    &items[below(random, items.len())]
}

/// Puts items in an order drawn at random, each order with the same chance (Fisher-Yates).
pub(crate) fn shuffle<T>(random: &dyn Random, items: &mut [T]) {
    for last in (1..items.len()).rev() {
        items.swap(last, below(random, last + 1));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use freehold_domain::time::Uid;

    use super::*;

    /// Gives each byte in turn.
    struct Counting(Mutex<u8>);

    impl Random for Counting {
        fn uid(&self) -> Uid {
            unreachable!("nothing here draws identities")
        }

        fn fill(&self, bytes: &mut [u8]) {
            let mut next = self.0.lock().expect("no test panics with the lock");
            for byte in bytes {
                *byte = *next;
                *next = next.wrapping_add(1);
            }
        }
    }

    #[test]
    fn each_number_has_the_same_chance() {
        for limit in [1, 3, 10, 64, 94, 200, 256] {
            let random = Counting(Mutex::new(0));
            let rounds = (256 / limit) * limit;
            let mut counts = vec![0; limit];
            for _ in 0..rounds {
                counts[below(&random, limit)] += 1;
            }
            assert!(counts.iter().all(|count| *count == 256 / limit), "limit {limit}: {counts:?}");
        }
    }
}
