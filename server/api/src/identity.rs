//! The question the edge asks the rest of the server: who is this, given what it has proven?

use std::{borrow::Cow, future::Future, net::SocketAddr};

use freehold_domain::Result;
use freehold_proto::Method;

use crate::{peer::Peer, tokens::Claims};

/// Finds out who is calling. Called once for each call of a method that is not public, after certificate and token have
/// been verified and found to belong together.
pub trait Identify: Send + Sync + 'static {
    /// The caller, as handlers find it in the extensions of a request.
    type Caller: Caller;

    /// Resolves what was proven to a caller.
    ///
    /// # Errors
    /// `CertUnknown` when the certificate's identity is nobody here, `TokenInvalid` when the token's principal is gone, and
    /// whatever the look-up itself fails with.
    fn identify(&self, credentials: Credentials) -> impl Future<Output = Result<Self::Caller>> + Send;
}

/// What the edge needs to know of a caller, to limit its rate and to name it in the log.
pub trait Caller: Clone + Send + Sync + 'static {
    /// Its name, such as `tenants/acme/users/ada`.
    fn principal(&self) -> Cow<'_, str>;

    /// Name of its tenant.
    fn tenant(&self) -> Option<Cow<'_, str>>;
}

impl Caller for freehold_domain::access::Caller {
    fn principal(&self) -> Cow<'_, str> {
        self.principal.to_string().into()
    }

    fn tenant(&self) -> Option<Cow<'_, str>> {
        self.principal.tenant().map(|name| name.to_string().into())
    }
}

/// What a call has proven. At least one of `peer` and `token` is there.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The client certificate of the connection.
    pub peer: Option<Peer>,
    /// The bearer token; bound to `peer` if that is there.
    pub token: Option<Claims>,
    /// What is called.
    pub method: &'static Method,
    /// The call itself.
    pub request: RequestFacts,
}

/// Facts of a call that do not prove anything.
#[derive(Clone, Debug)]
pub struct RequestFacts {
    /// Id of the request, in every log line and error of it.
    pub request_id: String,
    /// W3C trace id, 32 hex digits; empty when the caller traces nothing.
    pub trace_id: String,
    /// Where it came from.
    pub source_addr: SocketAddr,
    /// Tenant that the header `x-freehold-tenant` names.
    pub tenant_header: Option<freehold_domain::names::Id>,
}
