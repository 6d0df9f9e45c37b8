//! Every call ends: at the caller's deadline, or at the longest that the method's policy allows. Streams are cut as well, and
//! also when the server drains: they would hold it up, and their clients go on elsewhere.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use freehold_domain::{Error, Reason};
use freehold_proto::Method;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{Status, body::Body};

use super::{Next, Request, RequestId, Response, Step, refuse};
use crate::status;

/// The shortest deadline; a shorter one could only be missed.
const SHORTEST: Duration = Duration::from_millis(5);

/// When a call ends, in its extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(pub Instant);

impl Deadline {
    /// Time that is left; zero when it has passed.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

pub(crate) struct KeepDeadline {
    /// Cancelled when the server drains.
    pub(crate) drain: CancellationToken,
}

impl Step for KeepDeadline {
    async fn run(&self, mut request: Request, next: &impl Next) -> Response {
        let id = request.extensions().get::<RequestId>().cloned();
        let method = *request.extensions().get::<&'static Method>().expect("found by the policy layer");
        let wanted = match wanted(request.headers()) {
            Ok(wanted) => wanted.unwrap_or(method.max_deadline),
            Err(error) => return refuse(id.as_ref(), &error),
        };
        let end = Instant::now() + wanted.min(method.max_deadline).max(SHORTEST);
        request.extensions_mut().insert(Deadline(end));
        match timeout_at(end, next.run(request)).await {
            Ok(response) if method.streams => response.map(|body| {
                let (timer, drain) = (Box::pin(sleep_until(end)), Box::pin(self.drain.clone().cancelled_owned()));
                Body::new(Cut { body, timer, drain, last: false, id, over: false })
            }),
            // The one message of an answer is there already.
            Ok(response) => response,
            Err(_) => refuse(id.as_ref(), &missed()),
        }
    }
}

/// The header `grpc-timeout`: at most 8 digits and a unit (gRPC over HTTP/2, "Timeout").
fn wanted(headers: &HeaderMap) -> Result<Option<Duration>, Error> {
    let Some(value) = headers.get("grpc-timeout") else { return Ok(None) };
    let parse = || {
        let (digits, unit) = value.to_str().ok()?.split_at_checked(value.len() - 1)?;
        if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let amount = digits.parse::<u64>().ok()?;
        match unit {
            "H" => Some(Duration::from_secs(amount * 3600)),
            "M" => Some(Duration::from_secs(amount * 60)),
            "S" => Some(Duration::from_secs(amount)),
            "m" => Some(Duration::from_millis(amount)),
            "u" => Some(Duration::from_micros(amount)),
            "n" => Some(Duration::from_nanos(amount)),
            _ => None,
        }
    };
    let read = if value.is_empty() { None } else { parse() };
    read.map(Some)
        .ok_or_else(|| Error::field("grpc-timeout", "is not 1 to 8 digits and one of H, M, S, m, u, n; for example `500m`"))
}

fn missed() -> Error {
    Error::new(Reason::DeadlineExceeded, "not done within the deadline; it may still take effect, so look before you repeat it")
}

fn draining() -> Error {
    Error::new(Reason::ServerDraining, "this server is stopping; open the stream again, at another one or at its successor")
}

/// The body of a stream, which ends with DEADLINE_EXCEEDED when its time is over, and with UNAVAILABLE when the server drains.
struct Cut {
    body: Body,
    timer: Pin<Box<Sleep>>,
    drain: Pin<Box<WaitForCancellationFutureOwned>>,
    /// The server drains, and this has sent what it had.
    last: bool,
    id: Option<RequestId>,
    over: bool,
}

impl Cut {
    /// Ends it with this error.
    fn end(&mut self, error: &Error) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.over = true;
        self.body = Body::empty(); // Stops the handler's stream now rather than when the client has read the end.
        let id = self.id.as_ref().map_or("", RequestId::as_str);
        Poll::Ready(Some(Ok(Frame::trailers(status::trailers(error, id)))))
    }
}

impl http_body::Body for Cut {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        // The timer first: a stream that always has a message must end too.
        if this.timer.as_mut().poll(cx).is_ready() {
            return this.end(&missed());
        }
        let drained = this.drain.as_mut().poll(cx).is_ready();
        if drained && this.last {
            return this.end(&draining());
        }
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        if drained {
            // One message that is ready still goes out: to a watcher of health, that the server is not ready any more.
            this.last = true;
            if polled.is_pending() {
                return this.end(&draining());
            }
        }
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            this.over = frame.is_trailers();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        let read = |text: &str| {
            wanted(&HeaderMap::from_iter([(
                http::HeaderName::from_static("grpc-timeout"),
                HeaderValue::from_str(text).expect("valid"),
            )]))
        };
        for (text, expected) in [
            ("500m", Duration::from_millis(500)),
            ("1S", Duration::from_secs(1)),
            ("2M", Duration::from_secs(120)),
            ("99999999H", Duration::from_secs(99_999_999 * 3600)),
            ("7u", Duration::from_micros(7)),
            ("7n", Duration::from_nanos(7)),
        ] {
            assert_eq!(read(text).expect(text), Some(expected));
        }
        for wrong in ["", "S", "1", "1s", "-1S", "123456789S", "1.5S", "1 S"] {
            assert_eq!(read(wrong).expect_err(wrong).reason(), Reason::FieldInvalid);
        }
    }
}
