//! OperationService.

use std::time::Duration;

use freehold_domain::{Result, names::TenantName, operations::Operation};
use freehold_proto::operations::v1 as pb;
use freehold_service::operations;
use tonic::{Request, Response, Status};

use super::{Wire, parse, render, wait_end};

/// How long a call waits before it says "not yet".
const WAIT: Duration = Duration::from_secs(60);

#[tonic::async_trait]
impl pb::operation_service_server::OperationService for Wire {
    async fn get_operation(
        &self,
        request: Request<pb::GetOperationRequest>,
    ) -> Result<Response<pb::GetOperationResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let operation = operations::get(&self.app, &caller, &parse::name("name", &body.name)?).await?;
            Ok(pb::GetOperationResponse { operation: Some(message(&operation)) })
        })
        .await
    }

    async fn list_operations(
        &self,
        request: Request<pb::ListOperationsRequest>,
    ) -> Result<Response<pb::ListOperationsResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let list = format!("operations|{}", body.parent);
            let mut fields = parse::Fields::new();
            let parent = fields.text::<TenantName>("parent", &body.parent);
            let page = fields.page(body.page_size, &body.page_token, false, &list)?;
            let listed = operations::list(&self.app, &caller, &fields.finish(|| parent)?, page).await?;
            Ok(pb::ListOperationsResponse {
                operations: listed.items.iter().map(message).collect(),
                next_page_token: parse::next_page_token(listed.next, &list),
            })
        })
        .await
    }

    async fn wait_operation(
        &self,
        request: Request<pb::WaitOperationRequest>,
    ) -> Result<Response<pb::WaitOperationResponse>, Status> {
        let end = wait_end(&request, WAIT);
        self.serve(request, |caller, body| async move {
            let operation = operations::wait(&self.app, &caller, &parse::name("name", &body.name)?, end).await?;
            Ok(pb::WaitOperationResponse { operation: Some(message(&operation)) })
        })
        .await
    }
}

/// An operation, as every method that begins one answers it.
pub(super) fn message(operation: &Operation) -> pb::Operation {
    let error = operation.error.clone().map(|(reason, message)| pb::OperationError { reason, message });
    pb::Operation {
        name: operation.name.to_string(),
        kind: operation.kind.clone(),
        target: operation.target.clone(),
        done: operation.done,
        error,
        result_names: operation.result_names.clone(),
        create_time: Some(render::time(operation.create_time)),
        update_time: Some(render::time(operation.update_time)),
    }
}
