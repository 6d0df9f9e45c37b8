//! ReceiptService.

use freehold_domain::{
    Error, Reason, Result,
    names::TenantName,
    receipts::{Receipt, ReceiptKey, ReceiptKind},
};
use freehold_proto::approvals::v1 as pb;
use freehold_service::receipts;
use tonic::{Request, Response, Status};

use super::{Wire, parse, render, write};

#[tonic::async_trait]
impl pb::receipt_service_server::ReceiptService for Wire {
    async fn list_receipts(
        &self,
        request: Request<pb::ListReceiptsRequest>,
    ) -> Result<Response<pb::ListReceiptsResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let mut fields = parse::Fields::new();
            let parent = fields.text::<TenantName>("parent", &body.parent);
            // A chain has no gaps, so the token is the last place seen.
            let page = fields.page(body.page_size, "", false, "")?;
            let after = match body.page_token.as_str() {
                "" => 0,
                token => token.parse().map_err(|_| {
                    Error::new(Reason::PageTokenInvalid, "this page token is not one of this list; begin again without a token")
                })?,
            };
            let mut found = receipts::list(&self.app, &caller, &fields.finish(|| parent)?, after, page.size).await?;
            let more = found.len() > page.size as usize;
            found.truncate(page.size as usize);
            let next = found.last().filter(|_| more).map(|last| last.name.sequence.to_string()).unwrap_or_default();
            Ok(pb::ListReceiptsResponse { receipts: found.iter().map(message).collect(), next_page_token: next })
        })
        .await
    }

    async fn list_run_receipts(
        &self,
        request: Request<pb::ListRunReceiptsRequest>,
    ) -> Result<Response<pb::ListRunReceiptsResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let found = receipts::of_run(&self.app, &caller, &parse::name("name", &body.name)?).await?;
            Ok(pb::ListRunReceiptsResponse { receipts: found.iter().map(message).collect() })
        })
        .await
    }

    async fn list_receipt_keys(
        &self,
        request: Request<pb::ListReceiptKeysRequest>,
    ) -> Result<Response<pb::ListReceiptKeysResponse>, Status> {
        self.serve(request, |_caller, _body| async move {
            let keys = receipts::list_keys(&self.app).await?;
            Ok(pb::ListReceiptKeysResponse { receipt_keys: keys.iter().map(key_message).collect() })
        })
        .await
    }

    async fn rotate_receipt_key(
        &self,
        request: Request<pb::RotateReceiptKeyRequest>,
    ) -> Result<Response<pb::RotateReceiptKeyResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let key = receipts::rotate_key(&self.app, &caller, &write(&body, &body.request_id, false, "")?).await?;
            Ok(pb::RotateReceiptKeyResponse { receipt_key: Some(key_message(&key)) })
        })
        .await
    }
}

fn message(receipt: &Receipt) -> pb::Receipt {
    let kind = match receipt.kind {
        ReceiptKind::Begun => pb::ReceiptKind::Begun,
        ReceiptKind::Ended => pb::ReceiptKind::Ended,
    };
    pb::Receipt {
        name: receipt.name.to_string(),
        sequence: receipt.name.sequence,
        run: receipt.run.to_string(),
        kind: kind.into(),
        digest: receipt.digest.clone(),
        key_id: receipt.key_id.clone(),
        create_time: Some(render::time(receipt.create_time)),
        envelope: receipt.envelope.clone(),
    }
}

fn key_message(key: &ReceiptKey) -> pb::ReceiptKey {
    pb::ReceiptKey {
        name: receipts::name(key),
        key_id: receipts::key_id(key),
        public_key_pem: receipts::pem(key),
        create_time: Some(render::time(key.create_time)),
    }
}
