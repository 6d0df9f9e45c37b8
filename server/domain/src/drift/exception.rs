//! Exceptions: drift that may stay, for a time. They change what alarms, never what a plan does.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    glob,
    item::{DriftItem, Finding, Values},
};
use crate::{
    access::Principal,
    error::Result,
    names::{DeploymentName, DriftExceptionName},
    resource::Labels,
    time::{Timestamp, Uid},
};

/// How long an exception lasts, at most.
pub const LONGEST_EXCEPTION: Duration = Duration::from_secs(366 * 86_400);

/// Drift that may stay, for a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct DriftException {
    pub name: DriftExceptionName,
    pub matcher: Matcher,
    pub reason: String,
    pub owner: Principal,
    pub expire_time: Timestamp,
    pub create_time: Timestamp,
    pub creator: Principal,
}

/// What an exception covers: what is right by all of these. Patterns have `*` for any text; an empty one is right for everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matcher {
    /// Names of deployments.
    pub deployment: String,
    /// Labels that the deployment must have.
    pub labels: Labels,
    /// Types of resources.
    pub kind: String,
    /// Addresses of resources.
    pub address: String,
    /// Paths of attributes.
    pub path: String,
    /// Values as they are now, as JSON, texts without quotes. Values that are hidden, or too long to be kept whole, are never right.
    pub value: String,
    /// Only while the value is the one that the item had when it was accepted.
    pub pinned: bool,
}

/// A finding, with what an exception may ask of it.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "as in an item")]
pub struct Seen<'a> {
    pub deployment: &'a DeploymentName,
    pub labels: &'a Labels,
    pub kind: &'a str,
    pub address: &'a str,
    pub path: &'a str,
    pub values: &'a Values,
    /// The value is the one that the item had before this look.
    pub unchanged: bool,
}

impl<'a> Seen<'a> {
    /// A finding of a check; `known` are the values that its item has.
    pub fn now(deployment: &'a DeploymentName, labels: &'a Labels, finding: &'a Finding, known: Option<&Values>) -> Self {
        let Finding { address, kind, path, values, .. } = finding;
        let unchanged = known.is_some_and(|known| known.digest == values.digest);
        Self { deployment, labels, kind, address, path, values, unchanged }
    }

    /// An item as the last check saw it.
    pub fn before(deployment: &'a DeploymentName, labels: &'a Labels, item: &'a DriftItem, values: &'a Values) -> Self {
        let DriftItem { address, kind, path, .. } = item;
        Self { deployment, labels, kind, address, path, values, unchanged: true }
    }
}

impl Matcher {
    /// What covers this item of this deployment alone; with `pinned`, only while its value stays.
    pub fn exactly(item: &DriftItem, pinned: bool) -> Self {
        Self {
            deployment: glob::exactly(&item.name.deployment_name().to_string()),
            address: glob::exactly(&item.address),
            path: glob::exactly(&item.path),
            pinned,
            ..Self::default()
        }
    }

    /// Covers everything, which nobody should be able to say by leaving something out.
    pub fn is_everything(&self) -> bool {
        let all = |pattern: &str| pattern.chars().all(|character| character == '*');
        self.labels.is_empty()
            && [&self.deployment, &self.kind, &self.address, &self.path, &self.value].into_iter().all(|pattern| all(pattern))
    }

    fn covers(&self, seen: &Seen<'_>) -> bool {
        let right = |pattern: &str, text: &str| pattern.is_empty() || glob::matches(pattern, text);
        let value = || {
            let text = serde_json::from_str::<String>(&seen.values.after).unwrap_or_else(|_| seen.values.after.clone());
            !seen.values.sensitive && !seen.values.cut && glob::matches(&self.value, &text)
        };
        right(&self.deployment, &seen.deployment.to_string())
            && self.labels.iter().all(|(key, value)| seen.labels.get(key) == Some(value))
            && right(&self.kind, seen.kind)
            && right(&self.address, seen.address)
            && right(&self.path, seen.path)
            && (self.value.is_empty() || value())
            && (!self.pinned || seen.unchanged)
    }
}

impl DriftException {
    /// Its uid.
    pub fn uid(&self) -> Uid {
        self.name.drift_exception
    }

    /// The first of these that covers what was seen.
    pub fn covering<'e>(exceptions: &'e [Self], seen: &Seen<'_>, now: Timestamp) -> Option<&'e Self> {
        exceptions.iter().find(|exception| now < exception.expire_time && exception.matcher.covers(seen))
    }
}

/// Checks when an exception is to end.
pub fn expiry(time: Timestamp, now: Timestamp) -> Result<Timestamp, String> {
    if time <= now {
        Err("a time in the future".to_owned())
    } else if time > now.plus(LONGEST_EXCEPTION) {
        Err("at most a year from now; look again then".to_owned())
    } else {
        Ok(time)
    }
}
