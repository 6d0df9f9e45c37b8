//! AuditService.

use freehold_domain::{
    Result,
    audit::AuditRecord,
    names::{AuditRecordName, InstallationRecordName, TenantName},
    time::Uid,
};
use freehold_proto::audit::v1 as pb;
use freehold_service::audit;
use tonic::{Request, Response, Status};

use super::{Wire, parse, render};

#[tonic::async_trait]
impl pb::audit_service_server::AuditService for Wire {
    async fn list_audit_records(
        &self,
        request: Request<pb::ListAuditRecordsRequest>,
    ) -> Result<Response<pb::ListAuditRecordsResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let list = format!("auditRecords|{}|{}", body.parent, body.newest_first);
            let mut fields = parse::Fields::new();
            let parent = fields.optional::<TenantName>("parent", &body.parent);
            let page = fields.page(body.page_size, &body.page_token, body.newest_first, &list)?;
            let parent = fields.finish(|| Some(parent))?;
            let listed = audit::list(&self.app, &caller, parent.as_ref(), page).await?;
            Ok(pb::ListAuditRecordsResponse {
                audit_records: listed.items.iter().map(|record| message(parent.as_ref(), record)).collect(),
                next_page_token: parse::next_page_token(listed.next, &list),
            })
        })
        .await
    }

    async fn get_audit_record(
        &self,
        request: Request<pb::GetAuditRecordRequest>,
    ) -> Result<Response<pb::GetAuditRecordResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (parent, uid) = name(&body.name)?;
            let record = audit::get(&self.app, &caller, parent.as_ref(), uid).await?;
            Ok(pb::GetAuditRecordResponse { audit_record: Some(message(parent.as_ref(), &record)) })
        })
        .await
    }
}

/// A record's tenant, none for the installation, and its uid.
fn name(text: &str) -> Result<(Option<TenantName>, Uid)> {
    if let Ok(name) = text.parse::<InstallationRecordName>() {
        return Ok((None, name.audit_record));
    }
    let name = parse::name::<AuditRecordName>("name", text)?;
    Ok((Some(name.tenant_name()), name.audit_record))
}

fn message(parent: Option<&TenantName>, record: &AuditRecord) -> pb::AuditRecord {
    let decision = if record.denied.is_some() { pb::AuditDecision::Denied } else { pb::AuditDecision::Allowed };
    pb::AuditRecord {
        name: audit::name(parent, record.uid),
        time: Some(render::time(record.time)),
        principal: record.principal.clone(),
        proof: record.proof.clone(),
        method: record.method.clone(),
        permission: record.permission.clone(),
        resource: record.resource.clone(),
        decision: decision.into(),
        reason: record.denied.clone().unwrap_or_default(),
        request_id: record.request_id.clone(),
        trace_id: record.trace_id.clone(),
        source_address: record.source_address.clone(),
        change: record.change.clone(),
        receipt_digest: record.receipt_digest.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_tenants_and_of_the_installation_are_told_apart_by_their_names() {
        let uid: Uid = "01890a5d-ac96-774b-bcce-b302099a8057".parse().expect("valid");
        let acme: TenantName = "tenants/acme".parse().expect("valid");
        for parent in [None, Some(&acme)] {
            assert_eq!(name(&audit::name(parent, uid)).expect("valid"), (parent.cloned(), uid));
        }
        for wrong in [
            "",
            "auditRecords/",
            "tenants/acme/auditRecords/x",
            "projects/acme/auditRecords/01890a5d-ac96-774b-bcce-b302099a8057",
        ] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
    }
}
