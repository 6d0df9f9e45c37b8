//! How runners join a pool: by a token, once.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Reason, Result},
    names::{RegistrationTokenName, RunnerName, RunnerPoolName},
    time::Timestamp,
};

/// The longest life of a registration token.
pub const TOKEN_LIFE: Duration = Duration::from_secs(30 * 86_400);
/// How long a runner's certificate lasts. A runner asks for the next one at half of it, so it can be away for the other half.
pub const CERTIFICATE_LIFE: Duration = Duration::from_secs(14 * 86_400);

/// A secret by which one runner joins a pool, once. Only a digest of the secret is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct RegistrationToken {
    pub name: RegistrationTokenName,
    pub prefix: String,
    pub create_time: Timestamp,
    pub expire_time: Timestamp,
    pub revoke_time: Option<Timestamp>,
    /// The runner that joined by it.
    pub used: Option<Joined>,
    pub creator: String,
}

/// A runner that joined by a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// The runner.
    pub runner: RunnerName,
    /// SHA-256 of its public key: a repeat by the same runner has the same.
    pub key_digest: String,
    /// What it was answered.
    pub certificate: Certificate,
    /// When.
    pub time: Timestamp,
}

/// A certificate of a runner; it holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// As PEM.
    pub pem: String,
    /// When it ends.
    pub expire_time: Timestamp,
}

impl RegistrationToken {
    /// What a runner of this name with this key is to be answered: nothing new when it comes again, as after an answer that was lost.
    ///
    /// Fails with `TOKEN_INVALID`, and the same words, for a token that is over, revoked, used by another, or of another pool.
    pub fn join(&self, pool: &RunnerPoolName, runner: &RunnerName, key_digest: &str, now: Timestamp) -> Result<Option<&Joined>> {
        let live = self.revoke_time.is_none() && now < self.expire_time && self.name.runner_pool_name() == *pool;
        match &self.used {
            _ if !live => Err(refused()),
            None => Ok(None),
            Some(joined) if joined.runner == *runner && joined.key_digest == key_digest => Ok(Some(joined)),
            Some(_) => Err(refused()),
        }
    }
}

/// The one answer to every token that does not do.
pub fn refused() -> Error {
    Error::new(
        Reason::TokenInvalid,
        "the registration token is not valid for this pool, is over, or was used; make a new one by `freehold runner-pool token POOL`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_once_for_its_pool_in_its_time_and_again_for_who_used_it() {
        let at = Timestamp::from_micros;
        let (pool, other): (RunnerPoolName, RunnerPoolName) =
            ("runnerPools/a".parse().expect("a name"), "runnerPools/b".parse().expect("a name"));
        let one: RunnerName = "runnerPools/a/runners/one".parse().expect("a name");
        let two: RunnerName = "runnerPools/a/runners/two".parse().expect("a name");
        let token = RegistrationToken {
            name: "runnerPools/a/registrationTokens/0199a000-0000-7000-8000-000000000001".parse().expect("a name"),
            prefix: String::new(),
            create_time: at(0),
            expire_time: at(10),
            revoke_time: None,
            used: None,
            creator: String::new(),
        };
        assert_eq!(token.join(&pool, &one, "k", at(9)).expect("good"), None);
        token.join(&pool, &one, "k", at(10)).expect_err("over");
        token.join(&other, &one, "k", at(1)).expect_err("of another pool");
        let revoked = RegistrationToken { revoke_time: Some(at(1)), ..token.clone() };
        revoked.join(&pool, &one, "k", at(2)).expect_err("revoked");
        let certificate = Certificate { pem: String::new(), expire_time: at(99) };
        let joined = Joined { runner: one.clone(), key_digest: "k".to_owned(), certificate, time: at(1) };
        let used = RegistrationToken { used: Some(joined.clone()), ..token };
        assert_eq!(used.join(&pool, &one, "k", at(9)).expect("a repeat"), Some(&joined));
        used.join(&pool, &one, "other", at(9)).expect_err("another key");
        used.join(&pool, &two, "k", at(9)).expect_err("another runner");
    }
}
