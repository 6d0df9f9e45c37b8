//! A span around each call, and one line when it is over, for whoever reads the logs; of reads that went well, only when the
//! target `freehold::access` is logged at DEBUG.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;
use tonic::{Code, Status, body::Body};
use tracing::{Instrument as _, Level, Span};

use super::{Next, Request, RequestId, Response, Step, TraceId};
use crate::{policy::Surface, status::code_name};

pub(crate) struct Trace {
    pub(crate) surface: Surface,
}

/// A read that took as long as this is news, even when it went well.
const SLOW: Duration = Duration::from_secs(1);

/// Who calls, filled in once that is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Who(Arc<OnceLock<Known>>);

#[derive(Debug)]
struct Known {
    principal: String,
    tenant: String,
    reads: bool,
}

impl Who {
    /// Names the principal and its tenant, empty when it has none, and says whether the call only reads.
    pub(crate) fn is(&self, principal: String, tenant: String, reads: bool) {
        // A call is authenticated once; a second name would be a second caller.
        let _ = self.0.set(Known { principal, tenant, reads });
    }

    /// The principal, once it is known.
    pub(crate) fn principal(&self) -> Option<String> {
        self.0.get().map(|known| known.principal.clone())
    }
}

impl Step for Trace {
    async fn run(&self, mut request: Request, next: &impl Next) -> Response {
        let who = Who::default();
        request.extensions_mut().insert(who.clone());
        let line = Line {
            request_id: request.extensions().get::<RequestId>().map(ToString::to_string).unwrap_or_default(),
            trace_id: request.extensions().get::<TraceId>().map(|id| id.as_str().to_owned()).unwrap_or_default(),
            // Bounded, since an unknown path is the caller's own text.
            method: request.uri().path().chars().take(200).collect(),
            surface: self.surface,
            who,
            start: Instant::now(),
            code: None,
        };
        let span = tracing::info_span!("call", request_id = line.request_id, trace_id = line.trace_id, method = line.method);
        let mut line = Guard { line, span: span.clone() };
        let response = next.run(request).instrument(span).await;
        // A failure before the first message has its status in the header.
        line.line.code = code(response.headers());
        response.map(|body| Body::new(Watched { body, guard: line }))
    }
}

/// What the log says of a call.
struct Line {
    request_id: String,
    trace_id: String,
    method: String,
    surface: Surface,
    who: Who,
    start: Instant,
    code: Option<Code>,
}

/// Writes the line when the call is over, however that came.
struct Guard {
    line: Line,
    span: Span,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let line = &self.line;
        let known = line.who.0.get();
        // Reads that went well are most of the calls and the least of the news.
        let quiet = known.is_some_and(|known| known.reads) && line.code == Some(Code::Ok) && line.start.elapsed() < SLOW;
        if quiet && !tracing::enabled!(target: "freehold::access", Level::DEBUG) {
            return;
        }
        let (principal, tenant) = known.map_or(("", ""), |known| (&known.principal, &known.tenant));
        // A call without a status was given up by its caller.
        let code = code_name(line.code.unwrap_or(Code::Cancelled));
        let duration_us = u64::try_from(line.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        tracing::info!(
            target: "freehold::access",
            parent: None,
            request_id = line.request_id,
            trace_id = line.trace_id,
            tenant,
            principal,
            method = line.method,
            listener = line.surface.name(),
            code,
            duration_us,
            "call"
        );
    }
}

/// The body of an answer, whose trailers have the status, polled inside the span.
struct Watched {
    body: Body,
    guard: Guard,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let polled = {
            let _inside = this.guard.span.enter();
            Pin::new(&mut this.body).poll_frame(cx)
        };
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(found) = frame.trailers_ref().and_then(code) {
                    this.guard.line.code = Some(found);
                }
            }
            Poll::Ready(Some(Err(status))) => this.guard.line.code = Some(status.code()),
            _ => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn code(headers: &HeaderMap) -> Option<Code> {
    headers.get(Status::GRPC_STATUS).map(|value| Code::from_bytes(value.as_bytes()))
}
