//! A panic ends its own call with INTERNAL, and no other call of the connection.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use freehold_domain::Error;
use futures::FutureExt as _;
use http_body::{Frame, SizeHint};
use tonic::{Status, body::Body};

use super::{Next, Request, RequestId, Response, Step, refuse};
use crate::status;

pub(crate) struct CatchPanic;

impl Step for CatchPanic {
    async fn run(&self, request: Request, next: &impl Next) -> Response {
        let id = request.extensions().get::<RequestId>().cloned();
        // Whatever the call has touched half way is dropped with it; shared state is behind locks that recover.
        match AssertUnwindSafe(next.run(request)).catch_unwind().await {
            Ok(response) => response.map(|body| Body::new(Caught { body, id, over: false })),
            Err(panic) => refuse(id.as_ref(), &fault(&*panic)),
        }
    }
}

/// The body of an answer, which may panic as well when it is a stream.
struct Caught {
    body: Body,
    id: Option<RequestId>,
    over: bool,
}

impl http_body::Body for Caught {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut this.body).poll_frame(cx))) {
            Ok(polled) => polled,
            Err(panic) => {
                this.over = true;
                let id = this.id.as_ref().map_or("", RequestId::as_str);
                Poll::Ready(Some(Ok(Frame::trailers(status::trailers(&fault(&*panic), id)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn fault(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    Error::internal(format!("panic: {}", text.unwrap_or("of another kind than text")))
}
