//! The audit trail: who did what.

use freehold_proto::audit::v1 as pb;
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    call::{Call, request, service},
    list::{List, list},
    names::Kind,
    wire::{resource, values},
};

resource! {
    /// One thing that somebody did or was refused.
    AuditRecord = pb::AuditRecord {
        /// Resource name: `tenants/{tenant}/auditRecords/{uid}`, or `auditRecords/{uid}` for the installation.
        name: String,
        /// When.
        time: Option<Timestamp>,
        /// Who.
        principal: String,
        /// How that was proven: `certificate`, `token`, `oidc` for a sign-in, or the connector of a linked account, such as `slack`.
        proof: String,
        /// The method, for example `freehold.tenants.v1.TenantService/CreateTenant`.
        method: String,
        /// The permission it needed.
        permission: String,
        /// The resource.
        resource: String,
        /// Allowed or denied.
        decision: AuditDecision,
        /// Why it was denied.
        reason: Option<String>,
        /// Id of the call, as in the logs.
        request_id: String,
        /// Trace of the call.
        trace_id: Option<String>,
        /// Address of the caller.
        source_address: String,
        /// What changed, without secrets.
        change: Option<Value>,
        /// Digest of the receipt that was signed with it, `sha256:…`; absent when none was.
        receipt_digest: Option<String>,
    }
}

values! {
    /// Allowed or denied.
    AuditDecision {
        /// It was done.
        Allowed = 1 "ALLOWED",
        /// It was refused.
        Denied = 2 "DENIED",
    }
}

service! {
    /// The audit trail; see [`Client::audit`](crate::Client::audit).
    AuditRecords
}

impl AuditRecords {
    /// Lists what was done in the client's tenant, oldest first.
    ///
    /// ```no_run
    /// # async fn example(freehold: freehold::Client) -> freehold::Result<()> {
    /// for record in freehold.audit().list().newest_first().collect_up_to(20).await? {
    ///     println!("{} {} {}", record.principal, record.method, record.decision);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn list(&self) -> List<AuditRecord> {
        let call =
            Call::new(&self.core, pb::ListAuditRecordsRequest::default()).in_tenant(|request, parent| request.parent = parent);
        list!(
            call,
            "/freehold.audit.v1.AuditService/ListAuditRecords",
            pb::ListAuditRecordsResponse { audit_records },
            newest_first: newest_first
        )
    }

    /// Lists what was done to the installation, oldest first; for platform administrators.
    pub fn list_installation(&self) -> List<AuditRecord> {
        list!(
            &self.core,
            pb::ListAuditRecordsRequest::default(),
            "/freehold.audit.v1.AuditService/ListAuditRecords",
            pb::ListAuditRecordsResponse { audit_records },
            newest_first: newest_first
        )
    }

    /// Reads one record.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn get(&self, name: impl AsRef<str>) -> GetAuditRecord {
        let call = Call::new(&self.core, pb::GetAuditRecordRequest::default());
        GetAuditRecord { call: call.name(Kind::AuditRecord, name.as_ref(), |request, name| request.name = name) }
    }
}

impl List<AuditRecord> {
    /// The other way round: newest first.
    pub fn newest_first(mut self) -> Self {
        self.ask.newest_first = true;
        self
    }
}

request! {
    /// A record to read; see [`AuditRecords::get`].
    GetAuditRecord(pb::GetAuditRecordRequest) -> AuditRecord =
        "/freehold.audit.v1.AuditService/GetAuditRecord", pb::GetAuditRecordResponse { audit_record }
}
