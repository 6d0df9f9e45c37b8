//! ServerInfoService.

use freehold_domain::Result;
use freehold_proto::meta::v1 as pb;
use freehold_service::ACCESS_CACHE;
use tonic::{Request, Response, Status};

use super::{Wire, render};

#[tonic::async_trait]
impl pb::server_info_service_server::ServerInfoService for Wire {
    async fn get_server_info(&self, _: Request<pb::GetServerInfoRequest>) -> Result<Response<pb::GetServerInfoResponse>, Status> {
        let server_info = pb::ServerInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            installation: self.app.trust_domain().to_owned(),
            capabilities: vec!["engine.native".to_owned()],
            max_request_bytes: i64::try_from(self.max_request_bytes).unwrap_or(i64::MAX),
            access_cache_time: Some(prost_types::Duration { seconds: ACCESS_CACHE.as_secs().cast_signed(), nanos: 0 }),
            time: Some(render::time(self.app.now())),
        };
        Ok(Response::new(pb::GetServerInfoResponse { server_info: Some(server_info) }))
    }
}
