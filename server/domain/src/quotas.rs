//! How much of everything a tenant may hold.

use std::{fmt, str::FromStr, time::Duration};

use crate::{
    error::{Error, Reason, Result},
    names::text_serde,
    time::{Timestamp, Uid},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// What is counted and limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is described in proto/freehold/common/v1/policy.proto")]
pub enum Dimension {
    Projects,
    Environments,
    Blueprints,
    Deployments,
    Users,
    StorageBytes,
    ApiCallsPerDay,
    ConcurrentRuns,
    QueuedRuns,
    DriftChecksPerDay,
    WebhookEndpoints,
    NotificationRules,
    Connections,
}

impl Dimension {
    /// Every dimension.
    pub const ALL: [Self; 13] = [
        Self::Projects,
        Self::Environments,
        Self::Blueprints,
        Self::Deployments,
        Self::Users,
        Self::StorageBytes,
        Self::ApiCallsPerDay,
        Self::ConcurrentRuns,
        Self::QueuedRuns,
        Self::DriftChecksPerDay,
        Self::WebhookEndpoints,
        Self::NotificationRules,
        Self::Connections,
    ];

    /// Its name in resource names and errors.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Projects => "projects",
            Self::Environments => "environments",
            Self::Blueprints => "blueprints",
            Self::Deployments => "deployments",
            Self::Users => "users",
            Self::StorageBytes => "storage_bytes",
            Self::ApiCallsPerDay => "api_calls_per_day",
            Self::ConcurrentRuns => "concurrent_runs",
            Self::QueuedRuns => "queued_runs",
            Self::DriftChecksPerDay => "drift_checks_per_day",
            Self::WebhookEndpoints => "webhook_endpoints",
            Self::NotificationRules => "notification_rules",
            Self::Connections => "connections",
        }
    }

    /// The limit of a new tenant.
    pub const fn default_limit(self) -> i64 {
        match self {
            Self::Projects | Self::WebhookEndpoints => 20,
            Self::Environments | Self::Blueprints | Self::NotificationRules | Self::Connections => 100,
            Self::Deployments => 500,
            Self::Users => 100,
            Self::StorageBytes => 1 << 30,
            Self::ApiCallsPerDay => 1_000_000,
            Self::ConcurrentRuns => 10,
            Self::QueuedRuns => 1000,
            Self::DriftChecksPerDay => 2000,
        }
    }

    /// Comes back by itself at the end of a window, so its use is not counted from rows.
    pub const fn is_window(self) -> bool {
        matches!(self, Self::ApiCallsPerDay | Self::DriftChecksPerDay)
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Dimension {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|dimension| dimension.as_str() == text).ok_or_else(|| {
            let all: Vec<&str> = Self::ALL.iter().map(|dimension| dimension.as_str()).collect();
            format!("`{}` is not a quota; there are {}", crate::names::shown(text), all.join(", "))
        })
    }
}

text_serde!(Dimension);

/// Limit and use of one dimension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// What is counted.
    pub dimension: Dimension,
    /// The most there can be; `None` is no limit.
    pub limit: Option<i64>,
    /// What there is.
    pub used: i64,
    /// What runs under way have put aside.
    pub reserved: i64,
    /// Grows with every change of the limit.
    pub version: i64,
    /// The window that `used` belongs to, as its first moment; only for windows.
    pub window: Option<Timestamp>,
    /// When anything of it last changed.
    pub update_time: Timestamp,
}

impl Quota {
    /// What is left, never below zero.
    pub fn available(&self) -> Option<i64> {
        self.limit.map(|limit| (limit - self.used - self.reserved).max(0))
    }

    /// Changes with the limit.
    pub fn etag(&self) -> String {
        format!("{:x}", self.version)
    }

    /// Fails unless the reader's etag, if there is one, is the present one.
    pub fn expect_etag(&self, etag: Option<&str>) -> Result<()> {
        match etag {
            Some(seen) if seen != self.etag() => Err(self.etag_mismatch()),
            _ => Ok(()),
        }
    }

    /// Somebody else was first.
    pub fn etag_mismatch(&self) -> Error {
        Error::new(Reason::EtagMismatch, "the limit has changed since you read it; read it again and repeat the change")
            .with("current_etag", self.etag())
    }

    /// As it is at this time: nothing of a new window is used before its first call.
    #[must_use]
    pub fn at(mut self, now: Timestamp) -> Self {
        let today = Timestamp::from_day(now.day());
        if let Some(start) = self.window.as_mut().filter(|start| **start < today) {
            *start = today;
            self.used = 0;
        }
        self
    }

    /// When the window starts anew.
    pub fn reset_time(&self) -> Option<Timestamp> {
        self.window.map(|start| Timestamp::from_day(start.day() + 1))
    }

    /// The refusal of a request for more than is left.
    pub fn exceeded(&self, requested: i64, now: Timestamp) -> Error {
        let Self { dimension, used, reserved, .. } = self;
        let limit = self.limit.unwrap_or(i64::MAX);
        let error = Error::new(
            Reason::QuotaExceeded,
            format!(
                "the quota `{dimension}` is used up: {used} of {limit} used, {reserved} reserved, {requested} more wanted; \
                 remove something or ask a platform administrator for a higher limit"
            ),
        )
        .with("dimension", dimension)
        .with("limit", limit)
        .with("used", used)
        .with("reserved", reserved)
        .with("requested", requested);
        match self.reset_time() {
            Some(reset) => error.retry_after(reset.since(now).max(Duration::from_secs(1))),
            None => error,
        }
    }
}

/// What a run under way has put aside.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct Reservation {
    pub uid: Uid,
    pub dimension: Dimension,
    pub amount: i64,
    pub owner: String,
    pub create_time: Timestamp,
}

/// Checks a limit.
pub fn limit(value: i64) -> Result<i64, String> {
    if value < 0 { Err("a limit is 0 or more; leave it out for no limit".to_owned()) } else { Ok(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_that_is_over_has_nothing_used_and_another_counter_is_left_alone() {
        let day = Timestamp::from_day;
        let calls = Quota {
            dimension: Dimension::ApiCallsPerDay,
            limit: Some(10),
            used: 7,
            reserved: 0,
            version: 1,
            window: Some(day(100)),
            update_time: day(100),
        };
        let same_day = calls.clone().at(day(100).plus(Duration::from_secs(86_399)));
        assert_eq!((same_day.used, same_day.reset_time()), (7, Some(day(101))));
        let later = calls.clone().at(day(103));
        assert_eq!((later.used, later.available(), later.reset_time()), (0, Some(10), Some(day(104))));
        let projects = Quota { dimension: Dimension::Projects, window: None, ..calls }.at(day(103));
        assert_eq!(projects.used, 7);
    }
}
