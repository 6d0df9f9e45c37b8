//! Secrets of tenants, read by this runner and by nobody else.
//!
//! A job names secrets and says where their stores are; both come from a tenant. Whether this runner goes there, for whom, and what it
//! proves itself with, is said by its own operator, and nothing is read that is not. What is read goes into the inputs of the
//! engine and nowhere else: not into a log, an error or a plan that leaves this process unsealed.

mod allowed;
mod exchange;
mod local;
mod sealed;
mod vault;

use std::{collections::BTreeMap, path::Path, time::Duration};

use freehold_domain::{
    names::DeploymentName,
    secret_stores::Driver,
    secrets::{MAX_SECRET, SecretRead},
};
use freehold_engines::StepError;
use serde_json::Value;

use allowed::{Allowed, Place};
pub(crate) use sealed::{Opener, PlanKey, is_sealed, open, reads_of, seal};
use vault::Vault;

/// How long all secrets of one job may take.
const DEADLINE: Duration = Duration::from_secs(45);

/// Which secrets this runner reads; none unless its operator says so.
#[derive(Clone, Debug, Default)]
pub struct Secrets(Vec<Allowed>);

/// What was read, by the name of the input.
pub(crate) struct Found {
    /// The values, as the stores have them.
    pub values: BTreeMap<String, Value>,
    /// What was read, each with the version that it was, where the store keeps versions.
    pub reads: BTreeMap<String, SecretRead>,
}

impl Secrets {
    /// Reads the file that says which secrets this runner reads.
    ///
    /// # Errors
    /// Everything that is wrong with it. The files that it names are read with each job, and need not be there yet.
    pub fn open(file: &Path) -> Result<Self, String> {
        allowed::read(file).map(Self)
    }

    /// Reads what a deployment names.
    ///
    /// # Errors
    /// Everything that cannot be read, each with its input, its store and what to do. Nothing is asked of any store while one of
    /// them is not allowed.
    pub(crate) async fn read(
        &self,
        deployment: &DeploymentName,
        reads: &BTreeMap<String, SecretRead>,
    ) -> Result<Found, StepError> {
        let mut planned = Vec::new();
        let mut wrong = Vec::new();
        for (input, read) in reads {
            match self.place(deployment, read) {
                Ok(place) => planned.push((input, read, place)),
                Err(error) => wrong.push(of_input(input, error)),
            }
        }
        if !wrong.is_empty() {
            return Err(all(wrong));
        }
        let read = self.read_planned(planned);
        tokio::time::timeout(DEADLINE, read).await.unwrap_or_else(|_| {
            let why = format!("the stores of secrets did not answer within {} seconds", DEADLINE.as_secs());
            Err(StepError::new("secret-store-unavailable", why).hint("look at the stores, and plan again").retryable())
        })
    }

    async fn read_planned(&self, planned: Vec<(&String, &SecretRead, &Place)>) -> Result<Found, StepError> {
        let mut vault = Vault::default();
        let (mut found, mut wrong) = (Found { values: BTreeMap::new(), reads: BTreeMap::new() }, Vec::new());
        for (input, read, place) in planned {
            let reference = &read.reference;
            let value = match (place, &read.driver) {
                (Place::Vault(allowed), Some(Driver::Vault(driver))) => vault.read(allowed, driver, reference).await,
                (Place::Environment(_), Some(Driver::Environment(driver))) => {
                    local::variable(driver, reference).map(|value| (value, None))
                }
                (Place::Directory(allowed), Some(Driver::Directory(driver))) => {
                    local::file(allowed, driver, reference).map(|value| (value, None))
                }
                _ => Err(not_allowed(read, "it is of another kind than what is allowed")),
            };
            match value {
                Ok((value, version)) if size(&value) <= MAX_SECRET => {
                    let mut pinned = read.clone();
                    pinned.reference.version = version;
                    found.values.insert(input.clone(), value);
                    found.reads.insert(input.clone(), pinned);
                }
                Ok((value, _)) => {
                    let why = format!("{} has {} bytes; {MAX_SECRET} are possible", reference.shown(), size(&value));
                    wrong.push(of_input(input, StepError::new("secret-invalid", why)));
                }
                Err(error) => wrong.push(of_input(input, error)),
            }
        }
        vault.close().await;
        if wrong.is_empty() { Ok(found) } else { Err(all(wrong)) }
    }

    /// What the operator allows of this, before anything is connected to.
    fn place(&self, deployment: &DeploymentName, read: &SecretRead) -> Result<&Place, StepError> {
        let reference = &read.reference;
        let Some(driver) = &read.driver else {
            let why = format!("there is no secret store `{}` any more", reference.store);
            return Err(StepError::new("secret-store-missing", why).hint("create it, or name the secret elsewhere"));
        };
        // What a server sends is held to the form all the same: it is not the server that answers for this machine.
        let whole = freehold_domain::secrets::SecretRef::read(&reference.to_value()).map_err(|wrong| wrong.join("; "));
        let mut fields = freehold_domain::Violations::new();
        driver.check("store", &mut fields);
        let fits = fields.finish().map_err(|error| error.message().to_owned());
        let unfit = reference.unfit(driver);
        let unfit = if unfit.is_empty() { Ok(()) } else { Err(unfit.join("; ")) };
        if let Err(why) = whole.map(drop).and(fits).and(unfit) {
            return Err(StepError::new("secret-invalid", format!("{}: {why}", reference.shown())));
        }
        let found = self.0.iter().find(|allowed| allowed.covers(deployment) && allowed.place.holds(driver, &reference.path));
        found.map(|allowed| &allowed.place).ok_or_else(|| not_allowed(read, "its operator has not allowed that"))
    }
}

/// Bytes of a value.
fn size(value: &Value) -> usize {
    value.as_str().map_or_else(|| value.to_string().len(), str::len)
}

fn not_allowed(read: &SecretRead, why: &str) -> StepError {
    let message = format!("this runner does not read {} for this deployment: {why}", read.reference.shown());
    StepError::new("secret-not-allowed", message)
        .hint("have the operator of the runner allow it (`--secrets`), or give the environment a pool whose runners may")
}

fn of_input(input: &str, mut error: StepError) -> StepError {
    error.message = format!("input `{input}`: {}", error.message);
    error
}

/// One error that names every problem; a new run may well succeed when all of them may pass.
fn all(mut errors: Vec<StepError>) -> StepError {
    let retryable = errors.iter().all(|error| error.retryable);
    let mut first = errors.remove(0);
    for other in errors {
        first.message.push_str(&format!("; {}", other.message));
        if !first.hint.contains(&other.hint) {
            first.hint.push_str(&format!("; {}", other.hint));
        }
    }
    first.retryable = retryable;
    first
}

/// What was read, for the log of a run.
pub(crate) fn told(found: &Found) -> Vec<String> {
    let line = |(input, read): (&String, &SecretRead)| match read.reference.version {
        Some(version) => format!("input `{input}`: version {version} of {}", read.reference.shown()),
        None => format!("input `{input}`: {}", read.reference.shown()),
    };
    found.reads.iter().map(line).collect()
}

#[cfg(test)]
mod tests;
