//! The load generator against a server that answers as it is told.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    process::{Command, Output, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::{RecvStream, server::SendResponse};
use http::{HeaderMap, HeaderValue, Request, Response};
use prost::Message as _;
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, MethodDescriptorProto, ServiceDescriptorProto,
    field_descriptor_proto::{Label, Type},
};
use serde_json::Value;
use tokio::net::TcpListener;

/// Counts what it is asked, refuses every fourth call, and rests once.
#[derive(Default)]
struct Server {
    calls: AtomicU64,
    bodies: Mutex<BTreeSet<Vec<u8>>>,
    /// The call before which it rests.
    rests_at: Option<u64>,
}

const REST: Duration = Duration::from_millis(400);

#[test]
fn calls_are_counted_by_code_and_each_request_is_new() {
    let server = Arc::new(Server::default());
    let address = serve(Arc::clone(&server));

    let (_, report) = load(address, r#"{"id": "p-{{n}}"}"#, &["--seconds", "0.5", "--concurrency", "8", "--connections", "2"]);

    let (ok, refused) =
        (report["codes"]["OK"].as_u64().expect("some OK"), report["codes"]["RESOURCE_EXHAUSTED"].as_u64().expect("some refused"));
    assert_eq!(report["calls"].as_u64(), Some(ok + refused), "{report}");
    assert!(refused * 3 <= ok + 8 && ok <= refused * 3 + 8, "one of four is refused: {report}");
    assert_eq!((report["broken"].as_u64(), report["unanswered"].as_u64()), (Some(0), Some(0)));
    assert_eq!(report["first_failure"], "it is 100% full%", "the server's own words");
    assert!(report["latency_ms"]["p50"].as_f64() > Some(0.0) && report["cpu"]["server_cores"].is_number(), "{report}");
    let bodies = server.bodies.lock().expect("no panic").len() as u64;
    assert_eq!(bodies, server.calls.load(Ordering::Relaxed), "no request was sent twice");
}

/// With one call at a time a closed loop sees one slow answer; what was due meanwhile waited too.
#[test]
fn latency_at_a_rate_counts_from_when_a_call_was_due() {
    let options = ["--seconds", "1", "--warm-up", "0", "--concurrency", "1", "--connections", "1"];
    let p90 = |more: &[&str]| {
        let address = serve(Arc::new(Server { rests_at: Some(20), ..Server::default() }));
        let (_, report) = load(address, "{}", &[&options, more].concat());
        report["latency_ms"]["p90"].as_f64().unwrap_or_else(|| panic!("no latency: {report}"))
    };
    let (open, closed) = (p90(&["--rate", "100"]), p90(&[]));
    assert!(open > 100.0, "forty calls waited up to {REST:?}, yet the 90th percentile is {open} ms");
    assert!(closed < 100.0, "only one call waited, yet the 90th percentile is {closed} ms");
}

#[test]
fn a_run_beside_a_busy_process_is_rejected() {
    let address = serve(Arc::new(Server::default()));
    // Not a child of this process, which is the server here: its children would be the server's.
    let script = r#"timeout 60 sh -c 'while :; do :; done' >/dev/null 2>&1 & echo $!"#;
    let busy = Command::new("sh").args(["-c", script]).output().expect("a shell");
    let busy = String::from_utf8_lossy(&busy.stdout).trim().to_owned();

    let (output, report) = load(address, "{}", &["--seconds", "1", "--warm-up", "0"]);

    Command::new("kill").arg(&busy).status().expect("kill");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains("REJECTED: other processes took"), "{told}");
    assert!(report["rejected"].is_string(), "{report}");
}

#[test]
fn what_cannot_be_called_is_said_before_anything_is() {
    let address = serve(Arc::new(Server::default())).to_string();
    for (call, data, expected) in [
        ("t.Echo/Cal", "{}", "t.Echo has no method Cal; it has Call"),
        ("t.Nothing/Call", "{}", "not found"),
        ("t.Echo/Call", r#"{"idd": "x"}"#, "the data are not a t.Ask"),
    ] {
        let output = xtask(&["load", "--unoptimized", "--plaintext", "--address", &address, "--call", call, "--data", data]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{call}: {told}");
        assert!(told.contains(expected), "{call}: {told}");
    }
}

fn xtask(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask")).args(arguments).stdin(Stdio::null()).output().expect("xtask starts")
}

/// Runs the generator. Other tests run meanwhile, so it may reject its figures; the counts hold all the same.
fn load(address: SocketAddr, data: &str, more: &[&str]) -> (Output, Value) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let (address, json) = (address.to_string(), file.path().to_string_lossy().into_owned());
    let fixed =
        ["load", "--unoptimized", "--plaintext", "--address", &address, "--call", "t.Echo/Call", "--data", data, "--json", &json];
    let output = xtask(&[&fixed, more].concat());
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", String::from_utf8_lossy(&output.stderr));
    let report = serde_json::from_str(&std::fs::read_to_string(file.path()).expect("a report")).expect("JSON");
    (output, report)
}

/// Serves until the process ends.
fn serve(server: Arc<Server>) -> SocketAddr {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    socket.set_nonblocking(true).expect("a socket of the runtime");
    let address = socket.local_addr().expect("bound");
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::from_std(socket).expect("a listener");
            loop {
                let (connection, _) = listener.accept().await.expect("a connection");
                let server = Arc::clone(&server);
                tokio::spawn(async move {
                    let Ok(mut connection) = h2::server::handshake(connection).await else { return };
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        tokio::spawn(answer(Arc::clone(&server), request, respond));
                    }
                });
            }
        });
    });
    address
}

async fn answer(server: Arc<Server>, request: Request<RecvStream>, respond: SendResponse<Bytes>) -> Option<()> {
    let path = request.uri().path().to_owned();
    let mut stream = request.into_body();
    let mut body = Vec::new();
    while let Some(Ok(chunk)) = stream.data().await {
        stream.flow_control().release_capacity(chunk.len()).ok()?;
        body.extend_from_slice(&chunk);
    }
    match path.as_str() {
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo" => send(respond, &reflect(&body)),
        "/t.Echo/Call" => {
            let number = server.calls.fetch_add(1, Ordering::Relaxed) + 1;
            server.bodies.lock().expect("no panic").insert(body);
            if server.rests_at == Some(number) {
                tokio::time::sleep(REST).await;
            }
            if number.is_multiple_of(4) { refuse(respond, "8", "it%20is 100%25%20full%") } else { send(respond, &[]) }
        }
        _ => refuse(respond, "12", "no such method"),
    }
}

fn send(mut respond: SendResponse<Bytes>, message: &[u8]) -> Option<()> {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).ok()?);
    frame.extend_from_slice(message);
    let mut stream = respond.send_response(Response::new(()), false).ok()?;
    stream.send_data(frame.freeze(), false).ok()?;
    stream
        .send_trailers(HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]))
        .ok()
}

/// A refusal has no message, and its status in the head.
fn refuse(mut respond: SendResponse<Bytes>, code: &'static str, message: &'static str) -> Option<()> {
    let response = Response::builder().header("grpc-status", code).header("grpc-message", message).body(()).ok()?;
    respond.send_response(response, true).ok().map(|_| ())
}

/// A `ServerReflectionResponse`: the one file there is, or that there is no such thing.
fn reflect(question: &[u8]) -> Vec<u8> {
    let known = question.windows(6).any(|window| window == b"t.Echo");
    let field = |number: u8, content: &[u8]| {
        [
            &[number << 3 | 2, u8::try_from(content.len()).ok().filter(|length| *length < 128).expect("one byte of varint")],
            content,
        ]
        .concat()
    };
    match known {
        true => field(4, &field(1, &file().encode_to_vec())),
        false => field(7, &field(2, b"not found")),
    }
}

fn file() -> FileDescriptorProto {
    FileDescriptorProto {
        name: Some("t.proto".to_owned()),
        package: Some("t".to_owned()),
        syntax: Some("proto3".to_owned()),
        message_type: vec![DescriptorProto {
            name: Some("Ask".to_owned()),
            field: vec![FieldDescriptorProto {
                name: Some("id".to_owned()),
                number: Some(1),
                label: Some(Label::Optional.into()),
                r#type: Some(Type::String.into()),
                ..FieldDescriptorProto::default()
            }],
            ..DescriptorProto::default()
        }],
        service: vec![ServiceDescriptorProto {
            name: Some("Echo".to_owned()),
            method: vec![MethodDescriptorProto {
                name: Some("Call".to_owned()),
                input_type: Some(".t.Ask".to_owned()),
                output_type: Some(".t.Ask".to_owned()),
                ..MethodDescriptorProto::default()
            }],
            ..ServiceDescriptorProto::default()
        }],
        ..FileDescriptorProto::default()
    }
}
