//! Which method is called, and whether this listener has it. What is not in the table does not exist.

use super::{Next, Request, Response, Step};
use crate::policy::Surface;
use tonic::Status;

pub(crate) struct FindMethod {
    pub(crate) surface: Surface,
}

impl Step for FindMethod {
    async fn run(&self, mut request: Request, next: &impl Next) -> Response {
        let Some(method) = self.surface.method(request.uri().path()) else {
            // Not an error of the domain: the contract has no reason for what is outside of it.
            let text =
                format!("the listener `{}` has no such method; see the contract for its name and listener", self.surface.name());
            return Status::unimplemented(text).into_http();
        };
        // A proxy's word for a certificate is nobody's proof here, and must not look like one further in.
        request.headers_mut().remove("x-forwarded-client-cert");
        request.extensions_mut().insert(method);
        next.run(request).await
    }
}
