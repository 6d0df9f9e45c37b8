//! The contract's services: parse, call, render. One file per entity; what they share is here and in `parse`.

mod access;
mod api_keys;
mod approval_policies;
mod approvals;
mod audit;
mod blueprints;
mod connection_accounts;
mod connections;
mod dependencies;
mod deployments;
mod drift;
mod drift_policy;
mod environments;
mod events;
mod explanation;
mod identify;
mod jobs;
mod late_results;
mod log;
mod notification_rules;
mod notifications;
mod operations;
mod parse;
mod projects;
mod quotas;
mod receipts;
mod registration;
mod render;
mod routes;
mod runners;
mod runs;
mod secret_stores;
mod server_info;
mod service_accounts;
mod sign_in;
mod state;
mod tenants;
mod tokens;
mod users;
mod webhook_deliveries;
mod webhook_endpoints;

pub use routes::{MESSAGE, RUNNER_MESSAGE};

use std::{sync::Arc, time::Duration};

use freehold_domain::{Error, Reason, Result, access::Caller, time::Uid};
use freehold_service::{App, RequestKey, Write, audit::denied};
use prost::Message;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::{
    layers::{Deadline, LimitRate},
    status,
    tokens::TokenKeys,
};

/// When a call that waits answers at the latest: in time for its deadline, and after this long at most.
fn wait_end<T>(request: &Request<T>, most: Duration) -> Instant {
    let longest = Instant::now() + most;
    match request.extensions().get::<Deadline>() {
        Some(Deadline(deadline)) => longest.min(deadline.checked_sub(Duration::from_secs(1)).unwrap_or(longest)),
        None => longest,
    }
}

/// How a write is meant: its request id, the digest of its body, and what else it says of itself.
fn write<T: Message>(body: &T, request_id: &str, validate_only: bool, etag: &str) -> Result<Write> {
    let request_id = match request_id {
        "" => None,
        text => Some(text.parse::<Uid>().map_err(|why| Error::field("request_id", why))?),
    };
    let digest = parse::sha256(&body.encode_to_vec());
    let etag = Some(etag).filter(|etag| !etag.is_empty()).map(str::to_owned);
    Ok(Write { key: RequestKey { request_id, digest }, validate_only, etag })
}

/// Implements the services of the contract on the application.
#[derive(Clone)]
pub struct Wire {
    app: Arc<App>,
    tokens: Arc<TokenKeys>,
    sign_ins: Arc<LimitRate>,
    max_request_bytes: usize,
}

impl Wire {
    /// The services over this application. They sign tokens with the first of these keys, and tell clients how large a request
    /// may be.
    pub fn new(app: Arc<App>, tokens: Arc<TokenKeys>, max_request_bytes: usize) -> Self {
        Self { app, tokens, sign_ins: Arc::new(sign_in::limit()), max_request_bytes }
    }

    /// Answers a request: who calls and what it says go in, a message or the status of an error comes out. A call that lacks a
    /// permission is kept in the audit trail.
    async fn serve<Q, A, F>(&self, request: Request<Q>, work: impl FnOnce(Arc<Caller>, Q) -> F) -> Result<Response<A>, Status>
    where
        F: Future<Output = Result<A>>,
    {
        let (_, mut extensions, body) = request.into_parts();
        let Some(caller) = extensions.remove::<Caller>() else {
            let error = Error::new(Reason::CredentialsMissing, "this call needs a client certificate or a token of this server");
            return Err(status::render(&error, ""));
        };
        let caller = Arc::new(caller);
        match work(Arc::clone(&caller), body).await {
            Ok(answer) => Ok(Response::new(answer)),
            Err(error) => {
                if error.reason() == Reason::PermissionMissing {
                    denied(&self.app, &caller, &error).await;
                }
                Err(status::render(&error, &caller.call.request_id))
            }
        }
    }
}
