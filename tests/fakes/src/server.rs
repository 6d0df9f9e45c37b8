//! What all fakes have in common: a listener, a record, a script of faults.

use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Body, Frame, Incoming, SizeHint},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

use crate::tls;

/// A request as it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// `GET` and its like.
    pub method: String,
    /// The path, as it was sent.
    pub path: String,
    /// What follows the question mark, decoded.
    pub query: Vec<(String, String)>,
    /// Headers, in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Recorded {
    /// A header, by its name in lower case; empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// A part of the query; empty when it is absent.
    pub fn query(&self, name: &str) -> &str {
        self.query.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body as fields of a form.
    pub fn form(&self) -> Vec<(String, String)> {
        url::form_urlencoded::parse(&self.body).into_owned().collect()
    }

    /// One field of a form; empty when it is absent.
    pub fn form_field(&self, name: &str) -> String {
        self.form().into_iter().find(|(known, _)| known == name).map(|(_, value)| value).unwrap_or_default()
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Reply {
    /// JSON.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::text(status, body.to_string()).with("content-type", "application/json; charset=utf-8")
    }

    /// Bytes of no kind.
    pub fn text(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }
}

/// How a request fails.
#[derive(Clone, Debug)]
pub enum Fault {
    /// By this answer, instead of the vendor's.
    Reply(Reply),
    /// The vendor does what it is asked and answers so much later.
    Slow(Duration),
    /// The vendor does what it is asked and never answers.
    Silent,
    /// The vendor does what it is asked, and the answer ends in the middle.
    Cut,
    /// Something between answers, with a page for people.
    Garbage,
}

impl Fault {
    /// An empty answer of this status.
    pub fn status(status: u16) -> Self {
        Self::Reply(Reply::text(status, Vec::new()))
    }
}

/// What answers.
pub trait Vendor: Send + Sync + 'static {
    /// Answers one request.
    fn answer(&self, request: &Recorded) -> Reply;

    /// What the vendor answers to whoever it does not let in.
    fn refusal(&self) -> Reply {
        Reply::text(401, Vec::new())
    }
}

/// A listener of a fake. It ends when it is dropped.
pub struct Server {
    address: SocketAddr,
    ca: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    requests: Mutex<Vec<Recorded>>,
    faults: Mutex<VecDeque<(String, Fault)>>,
    sockets: AtomicUsize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    /// Begins to listen on a free port.
    pub async fn start(vendor: Arc<dyn Vendor>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("this machine has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let tls::Identity { ca, config, .. } = tls::identity();
        let shared = Arc::new(Shared::default());
        let task = tokio::spawn(accept(listener, TlsAcceptor::from(config), Arc::clone(&shared), vendor));
        Self { address, ca, shared, task }
    }

    /// Where it listens, `https://localhost:PORT`.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The authority to trust, in PEM.
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// The next request fails.
    pub fn fail_next(&self, fault: Fault) {
        self.fail("", fault);
    }

    /// The next request of which method and path, with a space between, hold this text fails. Faults that are told one after the
    /// other happen in that order.
    pub fn fail(&self, text: &str, fault: Fault) {
        lock(&self.shared.faults).push_back((text.to_owned(), fault));
    }

    /// Everything that it was asked.
    pub fn requests(&self) -> Vec<Recorded> {
        lock(&self.shared.requests).clone()
    }

    /// Forgets what it was asked, and the faults that did not come.
    pub fn forget(&self) {
        lock(&self.shared.requests).clear();
        lock(&self.shared.faults).clear();
    }

    /// Connections that were made to it.
    pub fn sockets(&self) -> usize {
        self.shared.sockets.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, shared: Arc<Shared>, vendor: Arc<dyn Vendor>) {
    while let Ok((stream, _)) = listener.accept().await {
        shared.sockets.fetch_add(1, Ordering::SeqCst);
        let (tls, shared, vendor) = (tls.clone(), Arc::clone(&shared), Arc::clone(&vendor));
        tokio::spawn(async move {
            // Who does not trust us goes away; that is none of our business.
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = service_fn(|request| serve(request, Arc::clone(&shared), Arc::clone(&vendor)));
            let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

type Answer = Response<BoxBody<Bytes, io::Error>>;

async fn serve(request: Request<Incoming>, shared: Arc<Shared>, vendor: Arc<dyn Vendor>) -> Result<Answer, Infallible> {
    let (head, body) = request.into_parts();
    let text = |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let query = head.uri.query().unwrap_or_default();
    let recorded = Recorded {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        headers: head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        body: body.collect().await.map(|body| body.to_bytes().to_vec()).unwrap_or_default(),
    };
    lock(&shared.requests).push(recorded.clone());
    let fault = {
        let mut faults = lock(&shared.faults);
        let line = format!("{} {}", recorded.method, recorded.path);
        let next = faults.iter().position(|(text, _)| line.contains(text.as_str()));
        next.and_then(|next| faults.remove(next)).map(|(_, fault)| fault)
    };
    Ok(match fault {
        None => whole(vendor.answer(&recorded)),
        Some(Fault::Reply(reply)) => whole(reply),
        Some(Fault::Slow(wait)) => {
            let reply = vendor.answer(&recorded);
            tokio::time::sleep(wait).await;
            whole(reply)
        }
        Some(Fault::Silent) => {
            vendor.answer(&recorded);
            std::future::pending().await
        }
        Some(Fault::Cut) => cut(vendor.answer(&recorded)),
        Some(Fault::Garbage) => {
            let page = "<html><body>Please sign in to the network of this hotel.</body></html>";
            whole(Reply::text(200, page).with("content-type", "text/html"))
        }
    })
}

fn whole(reply: Reply) -> Answer {
    let body = Full::new(Bytes::from(reply.body.clone())).map_err(|never| match never {}).boxed();
    respond(&reply, body)
}

/// Says how long it is, sends half, and breaks off.
fn cut(reply: Reply) -> Answer {
    let half = reply.body.len() / 2;
    let sent = Bytes::copy_from_slice(reply.body.get(..half).unwrap_or_default());
    let body = Half { sent: Some(sent), length: reply.body.len().max(1) as u64 }.boxed();
    respond(&reply, body)
}

fn respond(reply: &Reply, body: BoxBody<Bytes, io::Error>) -> Answer {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(reply.status).expect("a script has real statuses");
    for (name, value) in &reply.headers {
        let name: hyper::header::HeaderName = name.parse().expect("a script has real headers");
        response.headers_mut().append(name, value.parse().expect("a script has real values"));
    }
    response
}

/// A body that ends before its time.
struct Half {
    sent: Option<Bytes>,
    length: u64,
}

impl Body for Half {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        std::task::Poll::Ready(Some(match self.sent.take() {
            Some(sent) => Ok(Frame::data(sent)),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}
