//! QuotaService.

use freehold_domain::{
    Result,
    names::{QuotaName, ReservationName, TenantName},
    quotas::{self as rules, Dimension, Quota, Reservation},
};
use freehold_proto::{common::v1 as common, quotas::v1 as pb};
use freehold_service::quotas;
use tonic::{Request, Response, Status};

use super::{Wire, parse, render, write};

#[tonic::async_trait]
impl pb::quota_service_server::QuotaService for Wire {
    async fn get_quota(&self, request: Request<pb::GetQuotaRequest>) -> Result<Response<pb::GetQuotaResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let name = parse::name::<QuotaName>("name", &body.name)?;
            let quota = quotas::get(&self.app, &caller, &name).await?;
            Ok(pb::GetQuotaResponse { quota: Some(message(&name.tenant_name(), &quota)) })
        })
        .await
    }

    async fn list_quotas(&self, request: Request<pb::ListQuotasRequest>) -> Result<Response<pb::ListQuotasResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let parent = parse::name("parent", &body.parent)?;
            let listed = quotas::list(&self.app, &caller, &parent).await?;
            Ok(pb::ListQuotasResponse { quotas: listed.iter().map(|quota| message(&parent, quota)).collect() })
        })
        .await
    }

    async fn set_quota_limit(
        &self,
        request: Request<pb::SetQuotaLimitRequest>,
    ) -> Result<Response<pb::SetQuotaLimitResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let write = write(&body, &body.request_id, false, &body.etag);
            let mut fields = parse::Fields::new();
            let name = fields.text::<QuotaName>("name", &body.name);
            let limit = body.limit.and_then(|limit| fields.check("limit", rules::limit(limit)));
            let (write, name) = parse::both(write, fields.finish(|| name))?;
            let quota = quotas::set_limit(&self.app, &caller, &name, limit, &write).await?;
            Ok(pb::SetQuotaLimitResponse { quota: Some(message(&name.tenant_name(), &quota)) })
        })
        .await
    }

    async fn list_reservations(
        &self,
        request: Request<pb::ListReservationsRequest>,
    ) -> Result<Response<pb::ListReservationsResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let list = format!("reservations|{}", body.parent);
            let mut fields = parse::Fields::new();
            let parent = fields.text::<TenantName>("parent", &body.parent);
            let page = fields.page(body.page_size, &body.page_token, false, &list)?;
            let parent = fields.finish(|| parent)?;
            let listed = quotas::list_reservations(&self.app, &caller, &parent, page).await?;
            Ok(pb::ListReservationsResponse {
                reservations: listed.items.iter().map(|reservation| reservation_message(&parent, reservation)).collect(),
                next_page_token: parse::next_page_token(listed.next, &list),
            })
        })
        .await
    }

    async fn recount_quota(
        &self,
        request: Request<pb::RecountQuotaRequest>,
    ) -> Result<Response<pb::RecountQuotaResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, name) =
                parse::both(write(&body, &body.request_id, false, ""), parse::name::<QuotaName>("name", &body.name))?;
            let (quota, difference) = quotas::recount(&self.app, &caller, &name, &write).await?;
            Ok(pb::RecountQuotaResponse { quota: Some(message(&name.tenant_name(), &quota)), difference })
        })
        .await
    }
}

fn dimension(dimension: Dimension) -> common::Dimension {
    match dimension {
        Dimension::Projects => common::Dimension::Projects,
        Dimension::Environments => common::Dimension::Environments,
        Dimension::Blueprints => common::Dimension::Blueprints,
        Dimension::Deployments => common::Dimension::Deployments,
        Dimension::Users => common::Dimension::Users,
        Dimension::StorageBytes => common::Dimension::StorageBytes,
        Dimension::ApiCallsPerDay => common::Dimension::ApiCallsPerDay,
        Dimension::ConcurrentRuns => common::Dimension::ConcurrentRuns,
        Dimension::QueuedRuns => common::Dimension::QueuedRuns,
        Dimension::DriftChecksPerDay => common::Dimension::DriftChecksPerDay,
        Dimension::WebhookEndpoints => common::Dimension::WebhookEndpoints,
        Dimension::NotificationRules => common::Dimension::NotificationRules,
        Dimension::Connections => common::Dimension::Connections,
    }
}

fn message(tenant: &TenantName, quota: &Quota) -> pb::Quota {
    pb::Quota {
        name: QuotaName { tenant: tenant.tenant.clone(), dimension: quota.dimension }.to_string(),
        dimension: dimension(quota.dimension).into(),
        limit: quota.limit,
        used: quota.used,
        reserved: quota.reserved,
        available: quota.available(),
        etag: quota.etag(),
        reset_time: quota.reset_time().map(render::time),
        update_time: Some(render::time(quota.update_time)),
    }
}

fn reservation_message(tenant: &TenantName, reservation: &Reservation) -> pb::Reservation {
    pb::Reservation {
        name: ReservationName { tenant: tenant.tenant.clone(), reservation: reservation.uid }.to_string(),
        dimension: dimension(reservation.dimension).into(),
        amount: reservation.amount,
        owner: reservation.owner.clone(),
        // What has ended is no longer a row.
        state: pb::ReservationState::Held.into(),
        create_time: Some(render::time(reservation.create_time)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dimension_has_one_name_in_the_contract_and_in_resource_names() {
        for ours in Dimension::ALL {
            let theirs = dimension(ours).as_str_name().trim_start_matches("DIMENSION_").to_lowercase();
            assert_eq!(theirs, ours.as_str());
        }
        let all = (1..).map_while(|number| common::Dimension::try_from(number).ok()).count();
        assert_eq!(all, Dimension::ALL.len(), "the contract has a dimension that is not counted");
    }
}
