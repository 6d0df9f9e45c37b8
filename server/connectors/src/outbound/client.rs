//! One exchange over HTTP, and what its failures mean.

use std::{error::Error, sync::Arc};

use freehold_domain::network::{AddressPolicy, Refusal};
use reqwest::{Certificate, Client, redirect};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use url::Url;

use super::{Answer, Checked, Dialect, Environment, Limits, Request, Unresolved};
use crate::{ConnectorError, Effect, ErrorKind};

pub(super) fn build(ca_bundle: Option<&str>, limits: &Limits, environment: &Environment) -> Result<Client, ConnectorError> {
    // The TLS library asks the process for its provider. One that is there already is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let resolver = Checked { policy: Arc::clone(&environment.policy), lookup: Arc::clone(&environment.lookup) };
    Client::builder()
        .dns_resolver(resolver)
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .connect_timeout(limits.connect)
        .pool_idle_timeout(limits.idle)
        .pool_max_idle_per_host(limits.in_flight)
        .tls_certs_merge(authorities(ca_bundle)?)
        .user_agent(concat!("freehold/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| {
            ConnectorError::unconfigured(format!(
                "no HTTP client can be made: {error}; install the certificates of public authorities on this machine"
            ))
        })
}

/// The certificates of a bundle in PEM.
fn authorities(ca_bundle: Option<&str>) -> Result<Vec<Certificate>, ConnectorError> {
    let Some(bundle) = ca_bundle else { return Ok(Vec::new()) };
    let wrong = || ConnectorError::unconfigured("`ca_bundle` holds no certificates in PEM; paste them with their BEGIN lines");
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bundle.as_bytes()).collect();
    let found = found.ok().filter(|found| !found.is_empty()).ok_or_else(wrong)?;
    found.iter().map(|der| Certificate::from_der(der).map_err(|_| wrong())).collect()
}

/// Checks what can be told of a URL before its host is looked up.
pub(super) fn check_url(policy: &AddressPolicy, url: &Url) -> Result<(), ConnectorError> {
    let plain = url.scheme() == "http" && policy.allows_private();
    if url.scheme() != "https" && !plain {
        let message = format!("`{}` is not spoken here; give the connection a URL that begins with https://", url.scheme());
        return Err(ConnectorError::new(ErrorKind::Invalid, message));
    }
    if !url.username().is_empty() || url.password().is_some() {
        let message = "the URL holds a name or a password; leave them out, and give secrets as credentials";
        return Err(ConnectorError::new(ErrorKind::Invalid, message));
    }
    policy.check(url.host_str().unwrap_or_default()).map_err(|refusal| refused(&refusal))
}

pub(crate) fn refused(refusal: &Refusal) -> ConnectorError {
    ConnectorError::new(ErrorKind::Invalid, refusal.to_string()).code("address_refused")
}

pub(super) async fn exchange(client: &Client, vendor: &str, request: &Request) -> Result<Answer, ConnectorError> {
    let sent = client.request(request.method.clone(), request.url.clone()).headers(request.headers.clone());
    // Also an empty body has a length where the method has a body: some vendors ask for one.
    let sent = if request.method.is_safe() { sent } else { sent.body(request.body.clone()) };
    let mut response = sent.send().await.map_err(|error| failure(vendor, request, &error))?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failure(vendor, request, &error))? {
        if body.len() + chunk.len() > request.max_answer {
            let message = format!("{vendor} answered with more than {} bytes", request.max_answer);
            let mut error = ConnectorError::new(ErrorKind::Permanent, message).maybe_done(request.effect != Effect::Read);
            error.vendor_status = Some(status);
            return Err(error);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, headers, body: body.into() })
}

/// What is no JSON where there should be some was not written by the vendor, but by something in between.
pub(super) fn garbage(dialect: &dyn Dialect, request: &Request, answer: &Answer) -> Option<ConnectorError> {
    if !request.json || answer.json().is_ok() {
        return None;
    }
    let message = format!("{} answered {} with something that is not JSON", dialect.vendor(), answer.status);
    Some(ConnectorError::new(ErrorKind::Transient, message).maybe_done(request.effect != Effect::Read))
}

/// The URL is left out of the text: its path or query may hold secrets.
fn failure(vendor: &str, request: &Request, error: &reqwest::Error) -> ConnectorError {
    let mut cause = error.source();
    let mut root: &dyn Error = error;
    while let Some(inner) = cause {
        if let Some(Unresolved::Refused(refusal)) = inner.downcast_ref() {
            return refused(refusal);
        }
        root = inner;
        cause = inner.source();
    }
    if let Some(rustls::Error::InvalidCertificate(why)) = certificate(error) {
        let message = format!("{vendor} shows a certificate that is not trusted ({why:?}); give the connection its `ca_bundle`");
        return ConnectorError::new(ErrorKind::Permanent, message);
    }
    let what = if error.is_connect() {
        "cannot be reached"
    } else if error.is_timeout() {
        "did not answer in time"
    } else {
        "broke off the exchange"
    };
    let told = if root.is::<reqwest::Error>() { String::new() } else { format!(": {root}") };
    let maybe = !error.is_connect() && request.effect != Effect::Read;
    ConnectorError::new(ErrorKind::Transient, format!("{vendor} {what}{told}")).maybe_done(maybe)
}

/// The failure of TLS inside of an error. Errors of input and output hide what they are made of from `source`.
pub(crate) fn certificate<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut cause = Some(error);
    while let Some(inner) = cause {
        if let Some(found) = inner.downcast_ref() {
            return Some(found);
        }
        let hidden = inner.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = match hidden {
            Some(hidden) => Some(hidden),
            None => inner.source(),
        };
    }
    None
}
