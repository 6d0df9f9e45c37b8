//! Quotas: how much of everything a tenant may hold.

use freehold_proto::quotas::v1 as pb;
use jiff::Timestamp;

use crate::{
    call::{Call, options, present, request, service},
    channel::new_id,
    list::{List, list},
    names::Kind,
    wire::{Lift, resource, values},
};

resource! {
    /// Limit and use of one dimension.
    Quota = pb::Quota {
        /// Resource name: `tenants/{tenant}/quotas/{dimension}`.
        name: String,
        /// What is counted.
        dimension: Dimension,
        /// The most there can be; absent means no limit, 0 means none at all.
        limit: Option<i64>,
        /// What there is.
        used: i64,
        /// What runs under way have put aside.
        reserved: i64,
        /// What is left, never below 0; absent without a limit.
        available: Option<i64>,
        /// Changes with the limit.
        etag: String,
        /// When a window starts anew; absent for what does not come back by itself.
        reset_time: Option<Timestamp>,
        /// When it last changed.
        update_time: Option<Timestamp>,
    }
}

resource! {
    /// What a run under way has put aside.
    Reservation = pb::Reservation {
        /// Resource name: `tenants/{tenant}/reservations/{uid}`.
        name: String,
        /// Of which dimension.
        dimension: Dimension,
        /// How much.
        amount: i64,
        /// The run it is for.
        owner: String,
        /// Held, or how it ended.
        state: ReservationState,
        /// Since when.
        create_time: Option<Timestamp>,
    }
}

values! {
    /// What is counted and limited for each tenant.
    Dimension {
        /// Projects that exist now.
        Projects = 1 "PROJECTS",
        /// Blueprints that exist now.
        Blueprints = 2 "BLUEPRINTS",
        /// Deployments that exist now.
        Deployments = 3 "DEPLOYMENTS",
        /// Users that exist now.
        Users = 4 "USERS",
        /// Bytes of blueprints, plans, logs and state kept now.
        StorageBytes = 5 "STORAGE_BYTES",
        /// Calls in one day, UTC.
        ApiCallsPerDay = 6 "API_CALLS_PER_DAY",
        /// Environments that exist now.
        Environments = 7 "ENVIRONMENTS",
        /// Runs that a runner is working on now.
        ConcurrentRuns = 8 "CONCURRENT_RUNS",
        /// Runs that wait for a runner to begin with them.
        QueuedRuns = 9 "QUEUED_RUNS",
        /// Looks for drift in one day, UTC.
        DriftChecksPerDay = 10 "DRIFT_CHECKS_PER_DAY",
        /// Webhook endpoints that exist now.
        WebhookEndpoints = 11 "WEBHOOK_ENDPOINTS",
        /// Notification rules that exist now.
        NotificationRules = 12 "NOTIFICATION_RULES",
        /// Connections that exist now.
        Connections = 13 "CONNECTIONS",
    }
}

values! {
    /// What became of a reservation.
    ReservationState {
        /// Put aside for the owner.
        Held = 1 "HELD",
        /// Turned into use.
        Committed = 2 "COMMITTED",
        /// Given back.
        Released = 3 "RELEASED",
    }
}

/// A quota counted again.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct Recount {
    /// The quota as it is now.
    pub quota: Quota,
    /// Counter minus count, before it was mended: always 0 unless there is a fault to report.
    pub difference: i64,
}

service! {
    /// Quotas; see [`Client::quotas`](crate::Client::quotas).
    Quotas
}

impl Quotas {
    /// Reads one quota, by its dimension: `projects`.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn get(&self, name: impl AsRef<str>) -> GetQuota {
        let call = Call::new(&self.core, pb::GetQuotaRequest::default());
        GetQuota { call: call.name(Kind::Quota, name.as_ref(), |request, name| request.name = name) }
    }

    /// Lists all quotas of the client's tenant; they fit into one answer.
    pub fn list(&self) -> ListQuotas {
        ListQuotas {
            call: Call::new(&self.core, pb::ListQuotasRequest::default()).in_tenant(|request, parent| request.parent = parent),
        }
    }

    /// Sets a limit, or with `None` removes it. It may go below what is used: nothing is lost, and only growth is refused.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_etag_mismatch`](crate::Error::is_etag_mismatch).
    ///
    /// # Example
    /// ```no_run
    /// # async fn example(freehold: freehold::Client) -> freehold::Result<()> {
    /// let quota = freehold.quotas().set_limit("projects", 10).send().await?;
    /// assert_eq!(quota.limit, Some(10));
    /// # Ok(()) }
    /// ```
    pub fn set_limit(&self, name: impl AsRef<str>, limit: impl Into<Option<i64>>) -> SetQuotaLimit {
        let request = pb::SetQuotaLimitRequest { limit: limit.into(), request_id: new_id(), ..Default::default() };
        SetQuotaLimit {
            call: Call::new(&self.core, request).name(Kind::Quota, name.as_ref(), |request, name| request.name = name),
        }
    }

    /// Lists what runs under way have put aside in the client's tenant, oldest first.
    pub fn reservations(&self) -> List<Reservation> {
        let call =
            Call::new(&self.core, pb::ListReservationsRequest::default()).in_tenant(|request, parent| request.parent = parent);
        list!(call, "/freehold.quotas.v1.QuotaService/ListReservations", pb::ListReservationsResponse { reservations })
    }

    /// Counts again from the rows themselves, mends the counter, and says what it was off by.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn recount(&self, name: impl AsRef<str>) -> RecountQuota {
        let request = pb::RecountQuotaRequest { request_id: new_id(), ..Default::default() };
        RecountQuota {
            call: Call::new(&self.core, request).name(Kind::Quota, name.as_ref(), |request, name| request.name = name),
        }
    }
}

request! {
    /// A quota to read; see [`Quotas::get`].
    GetQuota(pb::GetQuotaRequest) -> Quota = "/freehold.quotas.v1.QuotaService/GetQuota", pb::GetQuotaResponse { quota }
}

request! {
    /// Quotas to list; see [`Quotas::list`].
    ListQuotas(pb::ListQuotasRequest) -> Vec<Quota> =
        "/freehold.quotas.v1.QuotaService/ListQuotas", |answer: pb::ListQuotasResponse| Ok(answer.quotas.lift())
}

request! {
    /// A limit to set; see [`Quotas::set_limit`].
    SetQuotaLimit(pb::SetQuotaLimitRequest) -> Quota =
        "/freehold.quotas.v1.QuotaService/SetQuotaLimit", pb::SetQuotaLimitResponse { quota }
}
options!(SetQuotaLimit: request_id, etag);

request! {
    /// A quota to count again; see [`Quotas::recount`].
    RecountQuota(pb::RecountQuotaRequest) -> Recount =
        "/freehold.quotas.v1.QuotaService/RecountQuota",
        |answer: pb::RecountQuotaResponse| Ok(Recount {
            quota: present(answer.quota, "quota")?.lift(),
            difference: answer.difference,
        })
}
options!(RecountQuota: request_id);
