//! One exchange with a store of secrets, with all its limits.

use std::{error::Error, path::Path, time::Duration};

use reqwest::{Certificate, Client, Identity, Method, header::RETRY_AFTER, redirect};
use serde_json::Value;

/// How long one try may take, and how long its connection may take of that.
const TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(5);
/// Most bytes of an answer.
const MAX_ANSWER: usize = 1 << 20;
/// How often a request is sent that meets what may pass.
const TRIES: u32 = 3;
/// Longest wait that a store may ask for between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Sends requests to one address.
pub(super) struct Exchange {
    client: Client,
    address: String,
}

/// One request.
pub(super) struct Asked {
    method: Method,
    path: String,
    namespace: String,
    token: String,
    body: Option<Value>,
}

/// What came back.
pub(super) struct Answer {
    pub status: u16,
    /// Null when it is no JSON.
    pub body: Value,
}

/// Why nothing good came back.
pub(super) struct Trouble {
    why: String,
    /// Sending it again does no harm, and may help.
    passes: bool,
    wait: Option<Duration>,
}

impl Asked {
    /// A request of the API at this path.
    pub fn new(method: Method, path: &str) -> Self {
        Self { method, path: path.to_owned(), namespace: String::new(), token: String::new(), body: None }
    }

    pub fn namespace(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.namespace);
        self
    }

    pub fn token(mut self, token: &str) -> Self {
        token.clone_into(&mut self.token);
        self
    }

    pub fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }
}

impl Exchange {
    /// Exchanges with this address, whose certificate is of these authorities or else of those of the system.
    pub fn new(address: &str, ca: Option<&Path>, identity: Option<(&Path, &Path)>) -> Result<Self, String> {
        // The TLS library asks the process for its provider. One that is there already is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let read = |path: &Path| std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()));
        let mut builder = Client::builder()
            .https_only(true)
            .no_proxy()
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(CONNECT)
            .timeout(TIMEOUT)
            .user_agent(concat!("freehold/", env!("CARGO_PKG_VERSION")));
        if let Some(ca) = ca {
            let wrong = || format!("{} holds no certificates in PEM", ca.display());
            let certificates = Certificate::from_pem_bundle(&read(ca)?).map_err(|_| wrong())?;
            if certificates.is_empty() {
                return Err(wrong());
            }
            builder = builder.tls_certs_only(certificates);
        }
        if let Some((certificate, key)) = identity {
            let pem = [read(certificate)?, b"\n".to_vec(), read(key)?].concat();
            let wrong = |_| format!("{} and {} hold no certificate with its key", certificate.display(), key.display());
            builder = builder.identity(Identity::from_pem(&pem).map_err(wrong)?);
        }
        let client = builder.build().map_err(|error| format!("no HTTP client can be made: {error}"))?;
        Ok(Self { client, address: address.to_owned() })
    }

    /// Sends a request until there is an answer that is meant.
    ///
    /// # Errors
    /// In words that go on after the name of the store; they hold nothing of the request.
    pub async fn send(&self, asked: &Asked) -> Result<Answer, String> {
        let mut tries = 1;
        loop {
            let trouble = match self.once(asked).await {
                Ok(answer) => return Ok(answer),
                Err(trouble) => trouble,
            };
            let wait = trouble.wait.unwrap_or(Duration::from_millis(200) * 4_u32.pow(tries - 1));
            if !trouble.passes || tries == TRIES || wait > LONGEST_WAIT {
                return Err(trouble.why);
            }
            tries += 1;
            tokio::time::sleep(wait).await;
        }
    }

    /// Sends a request once, whatever comes of it.
    pub async fn once(&self, asked: &Asked) -> Result<Answer, Trouble> {
        let reads = asked.method == Method::GET;
        let mut request = self.client.request(asked.method.clone(), format!("{}/v1/{}", self.address, asked.path));
        request = request.header("x-vault-request", "true");
        for (name, value) in [("x-vault-namespace", &asked.namespace), ("x-vault-token", &asked.token)] {
            if !value.is_empty() {
                let mut value =
                    reqwest::header::HeaderValue::from_str(value).map_err(|_| Trouble::lasting("cannot be asked so"))?;
                value.set_sensitive(true);
                request = request.header(name, value);
            }
        }
        if let Some(body) = &asked.body {
            request = request.json(body);
        }
        let mut response = request.send().await.map_err(|error| Trouble::of(&error, reads))?;
        let status = response.status().as_u16();
        let wait =
            response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok()).map(Duration::from_secs);
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| Trouble::of(&error, reads))? {
            if bytes.len() + chunk.len() > MAX_ANSWER {
                return Err(Trouble::lasting(&format!("answered with more than {MAX_ANSWER} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let why = match status {
            503 if is_sealed(&body) => "is sealed; unseal it".to_owned(),
            412 | 429 | 503 => format!("has no time (status {status})"),
            500.. => format!("fails (status {status})"),
            _ => return Ok(Answer { status, body }),
        };
        // What has had no time has done nothing. What fails may have signed somebody in, which is good only so often.
        Err(Trouble { why, passes: reads || matches!(status, 412 | 429 | 503), wait })
    }
}

/// A store that is sealed says so and nothing else.
fn is_sealed(body: &Value) -> bool {
    body["errors"].as_array().into_iter().flatten().filter_map(Value::as_str).any(|error| error.ends_with("is sealed"))
}

impl Trouble {
    fn lasting(why: &str) -> Self {
        Self { why: why.to_owned(), passes: false, wait: None }
    }

    /// The URL is left out: its path says where secrets are.
    fn of(error: &reqwest::Error, reads: bool) -> Self {
        let mut root: &dyn Error = error;
        while let Some(inner) = root.source() {
            root = inner;
        }
        let what = if error.is_connect() {
            "cannot be reached"
        } else if error.is_timeout() {
            "did not answer in time"
        } else {
            "broke off the exchange"
        };
        let told = if root.is::<reqwest::Error>() { String::new() } else { format!(": {root}") };
        Self { why: format!("{what}{told}"), passes: reads || error.is_connect(), wait: None }
    }
}
