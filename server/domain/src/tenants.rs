//! Tenants: customers or teams that see nothing of each other.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    access::{Caller, Principal, TenantScope},
    error::{Error, Reason, Result},
    names::TenantName,
    queue::MAX_WEIGHT,
    resource::{Described, Labels, Meta},
    time::{Timestamp, Uid},
};

/// How long a deleted tenant is kept.
pub const RETENTION: Duration = Duration::from_secs(30 * 86_400);

/// A customer or team.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct Tenant {
    pub name: TenantName,
    pub meta: Meta,
    pub state: TenantState,
    pub suspend_reason: String,
    pub delete_time: Option<Timestamp>,
    /// What it may have of the runners, compared with other tenants.
    #[serde(default = "plain_weight")]
    pub queue_weight: u32,
}

/// The weight of a tenant for which none was chosen.
pub const fn plain_weight() -> u32 {
    1
}

/// Checks a weight.
pub fn queue_weight(value: i32) -> Result<u32, String> {
    let weight = u32::try_from(value).ok().filter(|weight| (1..=MAX_WEIGHT).contains(weight));
    weight.ok_or_else(|| format!("1 to {MAX_WEIGHT}"))
}

/// What a tenant may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TenantState {
    /// Everything.
    Active,
    /// Reads only, but for what a platform administrator does to limits and people.
    Suspended,
    /// Nothing.
    Deleted,
}

impl TenantState {
    /// Its name in the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Suspended => "SUSPENDED",
            Self::Deleted => "DELETED",
        }
    }
}

impl Tenant {
    /// A new tenant.
    pub fn new(name: TenantName, described: Described, uid: Uid, by: &Principal, now: Timestamp) -> Self {
        Self {
            name,
            meta: Meta::new(uid, described, by, now),
            state: TenantState::Active,
            suspend_reason: String::new(),
            delete_time: None,
            queue_weight: plain_weight(),
        }
    }

    /// Key of its rows.
    pub fn scope(&self) -> TenantScope {
        TenantScope(self.meta.uid)
    }

    /// When a deleted tenant is forgotten.
    pub fn purge_time(&self) -> Option<Timestamp> {
        self.delete_time.map(|deleted| deleted.plus(RETENTION))
    }

    /// Takes over a new display name, new labels and another weight, where there are some.
    pub fn describe(
        &mut self,
        display_name: Option<String>,
        labels: Option<Labels>,
        queue_weight: Option<u32>,
        now: Timestamp,
    ) -> Result<()> {
        self.alive()?;
        let before = self.clone();
        self.meta.describe(display_name, labels);
        self.queue_weight = queue_weight.unwrap_or(self.queue_weight);
        if *self != before {
            self.meta.touch(now);
        }
        Ok(())
    }

    /// Stops new writes and runs. A suspended tenant stays suspended, with the newer reason.
    pub fn suspend(&mut self, reason: String, now: Timestamp) -> Result<()> {
        self.alive()?;
        self.state = TenantState::Suspended;
        self.suspend_reason = reason;
        self.meta.touch(now);
        Ok(())
    }

    /// Lets it go on; changes nothing when it is active.
    pub fn resume(&mut self, now: Timestamp) -> Result<()> {
        self.alive()?;
        if self.state == TenantState::Suspended {
            self.state = TenantState::Active;
            self.suspend_reason.clear();
            self.meta.touch(now);
        }
        Ok(())
    }

    /// Deletes it; it is kept for [`RETENTION`].
    pub fn delete(&mut self, now: Timestamp) -> Result<()> {
        self.alive()?;
        self.state = TenantState::Deleted;
        self.delete_time = Some(now);
        self.meta.touch(now);
        Ok(())
    }

    /// Fails when the caller may not write to it. Of a suspended tenant, platform administrators still change the limits, and the
    /// people and what they may do, and cancel runs: that is often what has to be put right before it can go on.
    pub fn expect_writable(&self, caller: &Caller) -> Result<()> {
        let mending = ["quotas.", "iam.", "deployments.runs.cancel"].iter().any(|area| caller.call.permission.starts_with(area));
        match self.state {
            TenantState::Active => Ok(()),
            TenantState::Suspended if caller.is_platform() && mending => Ok(()),
            TenantState::Suspended => Err(Error::new(
                Reason::TenantSuspended,
                format!(
                    "{} is suspended ({}); only reads are possible until a platform administrator resumes it",
                    self.name, self.suspend_reason
                ),
            )),
            TenantState::Deleted => Err(Error::not_found(&self.name)),
        }
    }

    fn alive(&self) -> Result<()> {
        if self.state == TenantState::Deleted { Err(Error::not_found(&self.name)) } else { Ok(()) }
    }
}
