//! What a server is and can do.

use std::{sync::Arc, time::Duration};

use freehold_proto::meta::v1 as pb;
use jiff::Timestamp;

use crate::{
    call::{Call, Core, request},
    wire::resource,
};

resource! {
    /// A server, as its clients need to know it.
    ServerInfo = pb::ServerInfo {
        /// Version of the server.
        version: String,
        /// Name of the installation, the trust domain of its identities.
        installation: String,
        /// What it can do beyond the contract, for example `engine.native`.
        capabilities: Vec<String>,
        /// Largest request it takes, in bytes.
        max_request_bytes: i64,
        /// How long a change of roles, keys or tenants may take to reach every replica.
        access_cache_time: Option<Duration>,
        /// Its clock.
        time: Option<Timestamp>,
    }
}

request! {
    /// The question what the server is; see [`Client::server_info`](crate::Client::server_info).
    GetServerInfo(pb::GetServerInfoRequest) -> ServerInfo =
        "/freehold.meta.v1.ServerInfoService/GetServerInfo", pb::GetServerInfoResponse { server_info }
}

impl GetServerInfo {
    pub(crate) fn new(core: &Arc<Core>) -> Self {
        Self { call: Call::new(core, pb::GetServerInfoRequest {}) }
    }
}
