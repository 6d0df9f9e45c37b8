//! A REST service that keeps things, and fails as such services do.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What happens to the next request that changes something.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// It is refused for now, with this wait.
    Busy(StatusCode, &'static str),
    /// It fails before anything is changed.
    Broken,
    /// It takes effect, and the connection breaks before the answer.
    HangsUp,
    /// It is answered with a redirect to this place.
    Redirects(&'static str),
    /// It takes effect, and the answer is larger than any should be.
    Floods,
}

#[derive(Default)]
pub struct Shelf {
    pub things: BTreeMap<String, Value>,
    /// How often a thing of each name was made.
    pub made: BTreeMap<String, u32>,
    /// Each request: method, path, idempotency key.
    pub requests: Vec<(String, String, Option<String>)>,
    pub faults: VecDeque<Fault>,
    /// Requests with another bearer token are denied.
    pub token: Option<String>,
    answers: BTreeMap<String, Value>,
    next: u32,
}

/// A running service.
pub struct Rest {
    pub url: String,
    shelf: Arc<Mutex<Shelf>>,
    server: tokio::task::JoinHandle<()>,
}

impl Rest {
    pub async fn start() -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let shelf = Arc::new(Mutex::new(Shelf::default()));
        let kept = Arc::clone(&shelf);
        let server = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let shelf = Arc::clone(&kept);
                tokio::spawn(async move {
                    let service = service_fn(move |request| serve(Arc::clone(&shelf), request));
                    // Broken connections are part of what this service does.
                    let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { url, shelf, server }
    }

    pub fn shelf(&self) -> std::sync::MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.shelf().faults.extend(faults);
    }

    pub fn made(&self, name: &str) -> u32 {
        self.shelf().made.get(name).copied().unwrap_or_default()
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(shelf: Arc<Mutex<Shelf>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, io::Error> {
    let (parts, body) = request.into_parts();
    let body: Value = serde_json::from_slice(&body.collect().await.map_err(io::Error::other)?.to_bytes()).unwrap_or_default();
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let key = header("idempotency-key");
    let mut shelf = shelf.lock().unwrap_or_else(PoisonError::into_inner);
    shelf.requests.push((parts.method.to_string(), parts.uri.to_string(), key.clone()));
    if shelf.token.as_ref().is_some_and(|token| header("authorization") != Some(format!("Bearer {token}"))) {
        return Ok(answer(StatusCode::UNAUTHORIZED, &json!({ "message": "who are you?" })));
    }
    let fault = if parts.method == Method::GET { None } else { shelf.faults.pop_front() };
    match fault {
        Some(Fault::Busy(status, wait)) => {
            let mut busy = answer(status, &json!({ "error": "busy" }));
            busy.headers_mut().insert("retry-after", wait.parse().expect("a header"));
            return Ok(busy);
        }
        Some(Fault::Broken) => return Ok(answer(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "detail": "out of order" }))),
        Some(Fault::Redirects(place)) => {
            let mut moved = answer(StatusCode::TEMPORARY_REDIRECT, &Value::Null);
            moved.headers_mut().insert("location", place.parse().expect("a header"));
            return Ok(moved);
        }
        Some(Fault::HangsUp | Fault::Floods) | None => {}
    }
    let result = shelf.handle(&parts.method, parts.uri.path(), parts.uri.query().unwrap_or_default(), body, key);
    match fault {
        Some(Fault::HangsUp) => Err(io::Error::other("gone")),
        Some(Fault::Floods) => Ok(Response::new(Full::new(Bytes::from(vec![b'x'; (1 << 20) + 1])))),
        _ => Ok(result),
    }
}

impl Shelf {
    fn handle(&mut self, method: &Method, path: &str, query: &str, body: Value, key: Option<String>) -> Response<Full<Bytes>> {
        // Below `/keyed` repeats are dropped by their key, elsewhere every request counts.
        let (keyed, path) = path.strip_prefix("/keyed").map_or((false, path), |rest| (true, rest));
        let id = path.strip_prefix("/things/").unwrap_or_default().to_owned();
        match (method.as_str(), id.as_str()) {
            ("POST", "") => {
                let known = key.as_ref().filter(|_| keyed).and_then(|key| self.answers.get(key));
                if let Some(known) = known {
                    return answer(StatusCode::CREATED, known);
                }
                self.next += 1;
                let made = self.keep(format!("thing/{}", self.next), body);
                self.answers.extend(key.map(|key| (key, made.clone())));
                answer(StatusCode::CREATED, &made)
            }
            ("GET", "") => {
                let name = query.strip_prefix("name=").unwrap_or_default();
                let items: Vec<&Value> = self.things.values().filter(|thing| thing["name"] == name).collect();
                answer(StatusCode::OK, &json!({ "items": items }))
            }
            (_, encoded) => {
                let id = encoded.replace("%2F", "/");
                match (method.as_str(), self.things.contains_key(&id)) {
                    ("PUT", false) => answer(StatusCode::CREATED, &self.keep(id, body)),
                    ("GET", true) => answer(StatusCode::OK, &self.things[&id]),
                    ("PUT" | "PATCH", true) => {
                        let mut thing = body;
                        thing["id"] = json!(id);
                        self.things.insert(id, thing.clone());
                        answer(StatusCode::OK, &thing)
                    }
                    ("DELETE", true) => {
                        self.things.remove(&id);
                        answer(StatusCode::NO_CONTENT, &Value::Null)
                    }
                    _ => answer(StatusCode::NOT_FOUND, &json!({ "message": "no such thing" })),
                }
            }
        }
    }

    fn keep(&mut self, id: String, mut thing: Value) -> Value {
        *self.made.entry(thing["name"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        thing["id"] = json!(id);
        self.things.insert(id, thing.clone());
        thing
    }
}

fn answer(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
}
