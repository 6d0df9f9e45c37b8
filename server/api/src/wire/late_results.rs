//! Late results: as runners offer them, and as the contract shows them.

use std::pin::Pin;

use freehold_domain::{
    Error, Result,
    names::{RunName, RunnerName},
    runs::LateResult,
};
use freehold_proto::{deployments::v1 as pb, runners::v1 as runners};
use freehold_service::late_results::{self, Offer, Offered};
use futures::{Stream, stream};
use tonic::Status;

use super::{
    Wire,
    jobs::{LINES, new_state, run_error},
    log, parse, render,
};

/// Bytes of one piece of a state.
const PIECE: usize = 256 << 10;
/// Lines in one message: with each as long as it may be, that is less than a message may have.
const BATCH: usize = 100;

pub(super) type Pieces = Pin<Box<dyn Stream<Item = Result<pb::DownloadLateResultResponse, Status>> + Send>>;

impl Wire {
    /// What a runner says of an apply that it has lost.
    pub(super) async fn offer_late(
        &self,
        caller: &freehold_domain::access::Caller,
        (runner, run): (RunnerName, RunName),
        body: runners::OfferLateResultRequest,
    ) -> Result<runners::OfferLateResultResponse> {
        if body.lines.len() > LINES {
            return Err(Error::field("lines", format!("at most {LINES} lines")));
        }
        let lines = body.lines.into_iter().map(log::kept).collect();
        let offer = body.apply.map(|apply| Offer {
            changed: apply.changed,
            cancelled: apply.cancelled,
            error: apply.error.map(run_error),
            unknown: apply.unknown_addresses,
            state: new_state(apply.state, apply.resources, apply.addresses),
            lines,
        });
        let run_done = late_results::offer(&self.app, caller, &runner, &run, body.epoch, offer).await?;
        Ok(runners::OfferLateResultResponse { run_done })
    }

    /// What was offered, in pieces.
    pub(super) async fn download_late(
        &self,
        caller: &freehold_domain::access::Caller,
        body: &pb::DownloadLateResultRequest,
    ) -> Result<Pieces> {
        let mut fields = parse::Fields::new();
        let name = fields.text::<RunName>("name", &body.name);
        if body.epoch < 0 {
            fields.wrong("epoch", "0 or more");
        }
        let found = late_results::download(&self.app, caller, &fields.finish(|| name)?, body.epoch).await?;
        Ok(Box::pin(stream::iter(found.map(pieces).unwrap_or_default().into_iter().map(Ok))))
    }
}

/// The state, then the lines; the first piece says what it is.
fn pieces(offered: Offered) -> Vec<pb::DownloadLateResultResponse> {
    let first = pb::DownloadLateResultResponse { late_result: Some(message(&offered.late_result)), ..Default::default() };
    let state = offered
        .state
        .chunks(PIECE)
        .map(|content| pb::DownloadLateResultResponse { content: content.to_vec(), ..Default::default() });
    let lines = offered
        .lines
        .chunks(BATCH)
        .map(|lines| pb::DownloadLateResultResponse { lines: lines.iter().map(log::message).collect(), ..Default::default() });
    std::iter::once(first).chain(state).chain(lines).collect()
}

/// A late result as the contract shows it.
pub(super) fn message(late: &LateResult) -> pb::LateResult {
    pb::LateResult {
        epoch: late.epoch,
        runner: late.runner.to_string(),
        digest: late.digest.clone(),
        size_bytes: late.size_bytes,
        changed: late.changed,
        cancelled: late.cancelled,
        error: late.error.as_ref().map(super::runs::error_message),
        unrecorded: late
            .unrecorded
            .iter()
            .map(|resource| pb::UnrecordedResource {
                address: resource.address.clone(),
                r#type: resource.kind.clone(),
                id: resource.id.clone(),
            })
            .collect(),
        unrecorded_count: late.unrecorded_count,
        unknown_addresses: late.unknown.clone(),
        create_time: Some(render::time(late.create_time)),
    }
}
