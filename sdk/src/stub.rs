//! A double of the server for the tests of programs that use this crate.

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream, stream::BoxStream};

use crate::{
    Error,
    call::{Attempt, Transport},
    error::Result,
};

/// Answers calls in place of a server; see [`Client::from_stub`](crate::Client::from_stub).
///
/// Requests and answers are encoded messages of the contract; feature `raw` has their types. A failure is scripted with
/// [`Error::new`](crate::Error::new). The client above it is the real one, with its repeats and deadlines.
///
/// ```
/// use freehold::{Bytes, Client, Code, Error, Stub};
/// use futures::future::BoxFuture;
///
/// struct Full;
///
/// impl Stub for Full {
///     fn call(&self, _path: &str, _request: Bytes) -> BoxFuture<'_, freehold::Result<Bytes>> {
///         Box::pin(async { Err(Error::new(Code::ResourceExhausted, "1 of 1 projects used").with_reason("QUOTA_EXCEEDED")) })
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let freehold = Client::from_stub(Full, "acme");
/// let refused = freehold.projects().create("shop").send().await.unwrap_err();
/// assert!(refused.is_quota_exceeded());
/// # }
/// ```
pub trait Stub: Send + Sync {
    /// Answers the call of `path`, which is `/package.Service/Method`.
    fn call<'a>(&'a self, path: &'a str, request: Bytes) -> BoxFuture<'a, Result<Bytes>>;

    /// Answers a method that streams, with the messages of one connection in order; an error breaks it. If not written, it is
    /// the one message of [`call`](Self::call).
    fn stream<'a>(&'a self, path: &'a str, request: Bytes) -> BoxFuture<'a, Vec<Result<Bytes>>> {
        async move { vec![self.call(path, request).await] }.boxed()
    }
}

/// A stub as what carries calls.
pub(crate) struct Stubbed(pub(crate) Box<dyn Stub>);

impl Transport for Stubbed {
    fn unary(&self, attempt: Attempt) -> BoxFuture<'_, Result<Bytes>> {
        async move { self.0.call(attempt.path, attempt.body).await }.boxed()
    }

    fn stream(&self, attempt: Attempt) -> BoxFuture<'_, Result<BoxStream<'static, Result<Bytes>>>> {
        async move { Ok(stream::iter(self.0.stream(attempt.path, attempt.body).await).boxed()) }.boxed()
    }

    fn renew(&self) -> bool {
        false
    }

    fn allows(&self, _: &Error) -> bool {
        true
    }
}
