//! What keeps a run from being taken although there may be a runner for it.

use crate::{
    deployments::Deployment,
    names::{DeploymentName, QuotaName, RunName, TenantName},
    quotas::{Dimension, Quota},
    runs::{Run, RunKind, RunPhase, WaitingOn, WaitingReason},
    state::StateLock,
    tenants::{Tenant, TenantState},
};

/// What keeps a run from being taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// Nothing of the tenant begins.
    TenantStopped(TenantName, TenantState),
    /// The tenant has as many runs under way as it may.
    NoSlot {
        /// The quota.
        quota: QuotaName,
        /// Its limit.
        limit: i64,
    },
    /// Another run is changing the deployment.
    Locked(RunName),
    /// Somebody holds the state of the deployment, to change it by hand.
    StateLocked(DeploymentName, StateLock),
    /// The deployment may not be destroyed.
    Protected(DeploymentName),
}

impl Hindrance {
    /// The first thing that keeps a run that waits for a runner from being taken. The deployment matters to an apply only.
    pub fn first(run: &Run, tenant: &Tenant, slots: Option<&Quota>, deployment: Option<&Deployment>) -> Option<Self> {
        Self::all(run, tenant, slots, deployment).next()
    }

    /// Everything that does.
    pub fn all(
        run: &Run,
        tenant: &Tenant,
        slots: Option<&Quota>,
        deployment: Option<&Deployment>,
    ) -> impl Iterator<Item = Self> + use<> {
        // An apply that has begun is finished whatever becomes of its tenant: what it left half made is somebody's.
        let stopped = Self::stopped(tenant).filter(|_| run.phase != RunPhase::Recovering);
        let full = slots.filter(|quota| quota.available() == Some(0)).map(|quota| Self::NoSlot {
            quota: QuotaName { tenant: tenant.name.tenant.clone(), dimension: Dimension::ConcurrentRuns },
            limit: quota.limit.unwrap_or_default(),
        });
        let deployment = deployment.filter(|_| run.phase == RunPhase::ApplyQueued);
        let locked = deployment.and_then(|deployment| {
            let holder = deployment.active_run.filter(|holder| *holder != run.uid())?;
            Some(Self::Locked(deployment.run_name(holder)))
        });
        let held =
            deployment.and_then(|deployment| Some(Self::StateLocked(deployment.name.clone(), deployment.state_lock.clone()?)));
        let protected = deployment
            .filter(|deployment| run.kind == RunKind::Destroy && deployment.deletion_protection)
            .map(|deployment| Self::Protected(deployment.name.clone()));
        [stopped, full, locked, held, protected].into_iter().flatten()
    }

    /// That nothing of the tenant begins.
    pub fn stopped(tenant: &Tenant) -> Option<Self> {
        (tenant.state != TenantState::Active).then(|| Self::TenantStopped(tenant.name.clone(), tenant.state))
    }

    /// It keeps all runs of the tenant waiting.
    pub const fn is_of_tenant(&self) -> bool {
        matches!(self, Self::TenantStopped(..) | Self::NoSlot { .. })
    }

    /// The same as what the run says it waits for.
    pub fn waiting_on(&self, run: &Run) -> WaitingOn {
        let (reason, detail, resource) = match self {
            Self::TenantStopped(tenant, state) => (
                WaitingReason::TenantSuspended,
                format!("{tenant} to be active again; it is {}", state.as_str()),
                tenant.to_string(),
            ),
            Self::NoSlot { quota, limit } => (
                WaitingReason::Quota,
                format!("a free place among {limit} concurrent runs of the tenant; one ends or the limit is raised"),
                quota.to_string(),
            ),
            Self::Locked(holder) => (WaitingReason::Lock, format!("the end of {holder}"), holder.to_string()),
            Self::StateLocked(deployment, lock) => (
                WaitingReason::Lock,
                format!("{} to let go of the state, which it holds since {}", lock.principal, lock.create_time),
                deployment.to_string(),
            ),
            Self::Protected(deployment) => (
                WaitingReason::Protection,
                format!("the deletion protection of {deployment} to be switched off"),
                deployment.to_string(),
            ),
        };
        let since = run.waiting_on.as_ref().map_or(run.update_time, |on| on.since);
        WaitingOn { reason, detail, resource, since }
    }
}
