//! `terraform-provider-shelf`: a provider of Terraform and OpenTofu for the tests. Its one resource, `shelf_item`, is an item on the
//! shelf that the environment names, by `SHELF_ADDRESS` and `SHELF_TOKEN`.
//!
//! Its parts are those of any provider: a process that says on standard output where it serves, and with which certificate
//! (<https://github.com/hashicorp/go-plugin/blob/main/docs/internals.md>), and the service `tfplugin6.Provider`
//! (<https://developer.hashicorp.com/terraform/plugin/terraform-plugin-protocol>).

mod item;
mod message;
mod value;

use std::{convert::Infallible, env, os::unix::process::parent_id, path::PathBuf, process, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full, combinators::WithTrailers};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::Notify,
};
use tokio_rustls::TlsAcceptor;

/// The program that started it has said that it is needed no more.
static STOP: Notify = Notify::const_new();

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
    let mut tls = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certified.cert.der().clone()], key)?;
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let tls = TlsAcceptor::from(Arc::new(tls));
    // As those that are written in Go: a socket in a folder that the program chose, or in that for temporary files.
    let folder = env::var_os("PLUGIN_UNIX_SOCKET_DIR").map_or_else(env::temp_dir, PathBuf::from);
    let socket = folder.join(format!("plugin{}", process::id()));
    let listener = UnixListener::bind(&socket)?;
    println!("1|6|unix|{}|grpc|{}", socket.display(), STANDARD_NO_PAD.encode(certified.cert.der()));
    let parent = parent_id();
    let mut look = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                tokio::spawn(serve(tls.clone(), stream));
            }
            () = STOP.notified() => return Ok(()),
            // It does not outlive the program that started it.
            _ = look.tick() => if parent_id() != parent { return Ok(()) },
        }
    }
}

async fn serve(tls: TlsAcceptor, stream: UnixStream) {
    let Ok(stream) = tls.accept(stream).await else { return };
    let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    let _ = served.serve_connection(TokioIo::new(stream), hyper::service::service_fn(answer)).await;
}

type Answer = Response<WithTrailers<Full<Bytes>, std::future::Ready<Option<Result<HeaderMap, Infallible>>>>>;

/// Answers one call: five bytes, of which four are the length, and a message.
async fn answer(request: Request<Incoming>) -> Result<Answer, hyper::Error> {
    let path = request.uri().path().to_owned();
    if path == "/plugin.GRPCController/Shutdown" {
        // Once the answer is on its way.
        tokio::spawn(async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            STOP.notify_one();
        });
    }
    let body = request.into_body();
    // What has no method here may be a stream that never ends.
    let (status, message) = match path.strip_prefix("/tfplugin6.Provider/") {
        None if path.ends_with("/Shutdown") => ("0", Vec::new()),
        None => ("12", Vec::new()),
        Some(method) => match item::call(method, body.collect().await?.to_bytes().get(5..).unwrap_or_default()).await {
            Some(message) => ("0", message),
            None => ("12", Vec::new()),
        },
    };
    let mut frame = Vec::new();
    if status == "0" {
        frame.push(0);
        frame.extend(u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
        frame.extend(message);
    }
    let trailers = HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static(status))]);
    let body = Full::new(Bytes::from(frame)).with_trailers(std::future::ready(Some(Ok(trailers))));
    Ok(Response::builder().header("content-type", "application/grpc").body(body).expect("constant headers"))
}
