//! Who is calling: certificate and token are checked against each other here, and named by [`Identify`]. A method that is
//! not public is not reached without a caller.

use std::sync::Arc;

use freehold_domain::{Error, Reason, Result};
use freehold_proto::{Method, common::v1::MethodKind};
use http::{HeaderMap, header::AUTHORIZATION};

use super::{Next, Request, RequestId, Response, Step, TenantHeader, TraceId, refuse, trace::Who};
use crate::{
    identity::{Caller as _, Credentials, Identify, RequestFacts},
    peer::{Peer, SourceAddr},
    policy::Surface,
    tokens::{Claims, TokenKeys},
};

pub(crate) struct Authenticate<I> {
    pub(crate) surface: Surface,
    pub(crate) tokens: Arc<TokenKeys>,
    pub(crate) identity: Arc<I>,
}

impl<I: Identify> Step for Authenticate<I> {
    async fn run(&self, mut request: Request, next: &impl Next) -> Response {
        let method = *request.extensions().get::<&'static Method>().expect("found by the policy layer");
        if !method.public && self.surface != Surface::Admin {
            // Not one expression: a request is not `Sync`, so nothing may borrow it across the await.
            let found = match self.credentials(method, &request) {
                Ok(credentials) => self.identity.identify(credentials).await,
                Err(error) => Err(error),
            };
            match found {
                Ok(caller) => {
                    if let Some(who) = request.extensions().get::<Who>() {
                        let tenant = caller.tenant().unwrap_or_default().into_owned();
                        who.is(caller.principal().into_owned(), tenant, method.kind == MethodKind::Read);
                    }
                    request.extensions_mut().insert(caller);
                }
                Err(error) => return refuse(request.extensions().get::<RequestId>(), &error),
            }
        }
        next.run(request).await
    }
}

impl<I: Identify> Authenticate<I> {
    /// What the call has proven.
    fn credentials(&self, method: &'static Method, request: &Request) -> Result<Credentials> {
        let extensions = request.extensions();
        let peer = extensions.get::<Peer>().cloned();
        let token = bearer(request.headers())?.map(|token| self.tokens.verify(token)).transpose()?;
        self.fit(peer.as_ref(), token.as_ref())?;
        Ok(Credentials {
            peer,
            token,
            method,
            request: RequestFacts {
                request_id: extensions.get::<RequestId>().map(ToString::to_string).unwrap_or_default(),
                trace_id: extensions.get::<TraceId>().map(|id| id.as_str().to_owned()).unwrap_or_default(),
                source_addr: extensions.get::<SourceAddr>().expect("every connection has an address").0,
                tenant_header: extensions.get::<TenantHeader>().map(|header| header.0.clone()),
            },
        })
    }

    /// Whether what was proven is what this listener asks for, and belongs together.
    fn fit(&self, peer: Option<&Peer>, token: Option<&Claims>) -> Result<()> {
        if self.surface.wants_certificate() {
            let peer = peer.ok_or_else(|| Error::new(Reason::CredentialsMissing, "connect with a client certificate"))?;
            if peer.spiffe_id().is_none() {
                return Err(Error::new(
                    Reason::CertUnknown,
                    "the client certificate names nobody: it needs exactly one URI, a SPIFFE id",
                ));
            }
            // A token that anybody could have copied is worth nothing beside a certificate (RFC 8705, section 3).
            return match token {
                Some(token) if token.certificate.as_ref() != Some(peer.cert_sha256()) => Err(mismatch()),
                _ => Ok(()),
            };
        }
        // Terraform sends a certificate or a password, whichever it was given.
        if self.surface == Surface::State && token.is_none() && peer.is_some_and(|peer| peer.spiffe_id().is_some()) {
            return Ok(());
        }
        match token {
            None => Err(Error::new(
                Reason::CredentialsMissing,
                "send `authorization: Bearer …`; ExchangeToken gives a token for an API key",
            )),
            Some(token) if token.certificate.is_some() => Err(mismatch()),
            Some(_) => Ok(()),
        }
    }
}

fn mismatch() -> Error {
    Error::new(
        Reason::TokenCertMismatch,
        "the token is not bound to this connection's certificate; exchange for a new one over the connection that uses it",
    )
}

/// The bearer token of the call, if it has one.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    };
    let parts = value.and_then(|text| text.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    match parts {
        Some((_, token)) => Ok(Some(token.trim())),
        None => Err(Error::new(Reason::TokenInvalid, "send one header `authorization: Bearer …` and no other scheme")),
    }
}
