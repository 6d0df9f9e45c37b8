//! The tenant that a caller says it is about, in a header, so that it can be limited and logged before decoding.

use freehold_domain::{Error, names::Id};

use super::{Next, Request, RequestId, Response, Step, refuse};

/// Id in the header `x-freehold-tenant`, in the extensions when there is one. It proves nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantHeader(pub Id);

pub(crate) struct ReadTenant;

impl Step for ReadTenant {
    async fn run(&self, mut request: Request, next: &impl Next) -> Response {
        let mut values = request.headers().get_all("x-freehold-tenant").iter();
        let read = match (values.next(), values.next()) {
            (None, _) => None,
            (Some(value), None) => Some(value.to_str().map_err(|_| "is not text".to_owned()).and_then(str::parse::<Id>)),
            _ => Some(Err("is there twice".to_owned())),
        };
        match read {
            None => {}
            Some(Ok(id)) => {
                request.extensions_mut().insert(TenantHeader(id));
            }
            Some(Err(why)) => return refuse(request.extensions().get::<RequestId>(), &Error::field("x-freehold-tenant", why)),
        }
        next.run(request).await
    }
}
