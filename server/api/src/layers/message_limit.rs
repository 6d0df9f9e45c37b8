//! No message of a request is larger than the server takes: known from its announced length, before it is buffered. One that is
//! no message is the fault of who sent it. One that nobody waits for the answer of is not read on: it holds memory and a stream
//! for as long as its sender likes to be slow.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use freehold_domain::{Error, Reason};
use freehold_proto::{Method, common::v1::MethodKind};
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tokio::sync::oneshot;
use tonic::{Code, Status, body::Body};

use super::{Next, Request, RequestId, Response, Step, refuse};
use crate::status;

pub(crate) struct LimitMessages {
    /// Bytes of one message.
    pub(crate) most: usize,
}

impl Step for LimitMessages {
    async fn run(&self, request: Request, next: &impl Next) -> Response {
        let id = request.extensions().get::<RequestId>().cloned();
        let method = *request.extensions().get::<&'static Method>().expect("found by the policy layer");
        let frames = Frames::new(self.most);
        // Only a handler that writes outlives its call; every other one is dropped with it.
        let (_waits, gone) = (method.kind != MethodKind::Read).then(oneshot::channel).unzip();
        let answer = next.run(request.map(|body| Body::new(Limited { body, id: id.clone(), frames, gone }))).await;
        if is_unreadable(answer.headers()) {
            let text = "the request is no message of this method: broken framing, bad UTF-8, or nesting that is too deep";
            return refuse(id.as_ref(), &Error::new(Reason::FieldInvalid, text));
        }
        answer
    }
}

/// Whether tonic has answered in the place of the handler, because it could not decode the request: it calls that INTERNAL, and
/// knows nothing of the details that every error of ours has.
fn is_unreadable(headers: &HeaderMap) -> bool {
    let internal = headers.get(Status::GRPC_STATUS).is_some_and(|code| Code::from_bytes(code.as_bytes()) == Code::Internal);
    internal && !headers.contains_key(Status::GRPC_STATUS_DETAILS)
}

/// The body of a request. Too large a message fails it; the handler's codec passes the status on.
struct Limited {
    body: Body,
    id: Option<RequestId>,
    frames: Frames,
    /// Resolves when nobody waits for the answer any more. A handler that writes is not dropped then: this ends it while it
    /// still waits for its input.
    gone: Option<oneshot::Receiver<()>>,
}

impl http_body::Body for Limited {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.gone.as_mut().is_some_and(|gone| Pin::new(gone).poll(cx).is_ready()) {
            this.gone = None;
            this.body = Body::empty(); // Gives up the stream now.
            return Poll::Ready(Some(Err(Status::cancelled("nobody waits for the answer any more"))));
        }
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
            && let Err(length) = this.frames.read(data)
        {
            let text =
                format!("a message of {length} bytes; the server takes {} at most, so send less at once", this.frames.most);
            let id = this.id.as_ref().map_or("", RequestId::as_str);
            return Poll::Ready(Some(Err(status::render(&Error::new(Reason::MessageTooLarge, text), id))));
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

/// Follows the frames of gRPC: one flag byte, four bytes of length, the message.
struct Frames {
    most: usize,
    prefix: [u8; 5],
    /// Bytes of the prefix that are there.
    have: usize,
    /// Bytes of the message that are missing.
    missing: usize,
}

impl Frames {
    fn new(most: usize) -> Self {
        Self { most, prefix: [0; 5], have: 0, missing: 0 }
    }

    /// Takes the next bytes. Fails with the announced length of a message that is too large.
    fn read(&mut self, mut data: &[u8]) -> Result<(), usize> {
        while !data.is_empty() {
            if self.missing > 0 {
                let part = self.missing.min(data.len());
                self.missing -= part;
                data = &data[part..];
                continue;
            }
            let part = (5 - self.have).min(data.len());
            self.prefix[self.have..self.have + part].copy_from_slice(&data[..part]);
            self.have += part;
            data = &data[part..];
            if self.have == 5 {
                self.have = 0;
                let length = u32::from_be_bytes([self.prefix[1], self.prefix[2], self.prefix[3], self.prefix[4]]);
                self.missing = usize::try_from(length).unwrap_or(usize::MAX);
                if self.missing > self.most {
                    return Err(self.missing);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_followed_however_they_are_cut() {
        let mut stream = Vec::new();
        for size in [0_u8, 3, 10] {
            stream.extend([0, 0, 0, 0, size]);
            stream.extend(vec![0xff; usize::from(size)]);
        }
        stream.extend([0, 0, 0, 0, 11]);
        for cut in 1..stream.len() {
            let mut frames = Frames::new(10);
            let results: Vec<_> = stream.chunks(cut).map(|part| frames.read(part)).collect();
            let (last, before) = results.split_last().expect("not empty");
            assert!(before.iter().all(Result::is_ok), "cut at {cut}");
            assert_eq!(*last, Err(11), "cut at {cut}");
        }
    }
}
