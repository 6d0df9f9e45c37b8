//! Answers the question of the layers: who is this?

use freehold_domain::{
    Error, Reason, Result,
    access::{CallFacts, Caller},
};
use freehold_proto::{Method, common::v1::MethodKind};
use freehold_service::identify::{Proven, identify};

use super::Wire;
use crate::{
    identity::{Credentials, Identify, RequestFacts},
    peer::Peer,
};

impl Identify for Wire {
    type Caller = Caller;

    async fn identify(&self, credentials: Credentials) -> Result<Caller> {
        let Credentials { peer, token, method, request } = credentials;
        let call = facts(method, request);
        let certificate = peer.as_ref().and_then(certificate);
        let proven = match (token, certificate) {
            (Some(token), certificate) => Proven::Token {
                principal: token.principal,
                spiffe_id: certificate.map(|(spiffe_id, _)| spiffe_id),
                expire_time: token.expire_time,
            },
            (None, Some((spiffe_id, expire_time))) => Proven::Certificate { spiffe_id, expire_time },
            (None, None) => {
                return Err(Error::new(
                    Reason::CredentialsMissing,
                    "connect with a client certificate, or send a token of this server",
                ));
            }
        };
        identify(&self.app, proven, call).await
    }
}

/// Identity and end of a certificate, if it names somebody.
pub(super) fn certificate(peer: &Peer) -> Option<(String, freehold_domain::time::Timestamp)> {
    peer.spiffe_id().map(|id| (id.to_string(), peer.not_after()))
}

/// A call as audit and rules see it.
pub(super) fn facts(method: &'static Method, request: RequestFacts) -> CallFacts {
    CallFacts {
        request_id: request.request_id,
        trace_id: request.trace_id,
        source_address: request.source_addr.to_string(),
        method: method.path.trim_start_matches('/'),
        permission: method.permission,
        reads: method.kind == MethodKind::Read,
        tenant: request.tenant_header,
    }
}
