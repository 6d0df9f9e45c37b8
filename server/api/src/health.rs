//! `grpc.health.v1`: whether this replica should get calls.
//!
//! Not the service of `tonic-health`, which says SERVING from its first moment and ends a watch of an unknown service,
//! where the protocol wants SERVICE_UNKNOWN and patience.

use std::{collections::HashSet, pin::Pin, sync::Arc};

use futures::{Stream, StreamExt as _, stream};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{Health, HealthServer},
};

/// Service name that is SERVING as long as the process answers at all; for restarts, where the others are for traffic.
pub const LIVENESS: &str = "freehold.liveness";

/// Says whether the server is ready. Clones speak of the same server; it starts as not ready.
#[derive(Clone, Debug)]
pub struct Readiness(watch::Sender<bool>);

impl Readiness {
    /// Not ready yet.
    pub fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Says that calls are welcome, or, before a drain or while the database is away, that they are not.
    pub fn set(&self, ready: bool) {
        self.0.send_if_modified(|now| std::mem::replace(now, ready) != ready);
    }

    /// Whether calls are welcome.
    pub fn is_ready(&self) -> bool {
        *self.0.borrow()
    }

    /// The health service over this readiness. It knows the whole server as ``, each service of the contract, and
    /// [`LIVENESS`].
    pub fn service(&self) -> HealthServer<impl Health> {
        let contract = freehold_proto::METHODS.iter().filter_map(|method| method.path.strip_prefix('/')?.split_once('/'));
        let services = contract.map(|(service, _)| service).chain([""]).collect();
        HealthServer::new(Service { readiness: self.0.clone(), services: Arc::new(services) })
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

struct Service {
    readiness: watch::Sender<bool>,
    services: Arc<HashSet<&'static str>>,
}

#[tonic::async_trait]
impl Health for Service {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        let status = if service == LIVENESS {
            ServingStatus::Serving
        } else if self.services.contains(service.as_str()) {
            serving(*self.readiness.borrow())
        } else {
            return Err(Status::not_found(
                "no such service; ask for the empty name, a service of the contract or `freehold.liveness`",
            ));
        };
        Ok(Response::new(answer(status)))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let service = request.into_inner().service;
        let statuses: Pin<Box<dyn Stream<Item = ServingStatus> + Send>> = if service == LIVENESS {
            Box::pin(stream::iter([ServingStatus::Serving]).chain(stream::pending()))
        } else if self.services.contains(service.as_str()) {
            Box::pin(WatchStream::new(self.readiness.subscribe()).map(serving))
        } else {
            Box::pin(stream::iter([ServingStatus::ServiceUnknown]).chain(stream::pending()))
        };
        Ok(Response::new(Box::pin(statuses.map(|status| Ok(answer(status))))))
    }
}

fn serving(ready: bool) -> ServingStatus {
    if ready { ServingStatus::Serving } else { ServingStatus::NotServing }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
