//! What no honest client sends: refused by its name, soon, and at no cost to anybody else.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use freehold::{
    EnvironmentKind,
    raw::{
        RawChannel,
        proto::{
            deployments::v1 as deployments,
            tenants::v1::{self as pb, project_service_client::ProjectServiceClient},
        },
        tonic::{Code, body::Body},
    },
};
use freehold_tests::{Database::Sqlite, Replica, World};
use futures::future::join_all;
use http_body_util::{BodyExt as _, Full};
use prost_types::{ListValue, Struct, Value, value::Kind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tonic_prost::prost::Message as _;
use tower::ServiceExt as _;

/// Within this every refusal is there; the handshake's own limit is five seconds.
const SOON: Duration = Duration::from_secs(15);
/// What the memory may grow by.
const GROWTH: u64 = 200 << 20;
const GET_PROJECT: &str = "/freehold.tenants.v1.ProjectService/GetProject";
const CREATE_DEPLOYMENT: &str = "/freehold.deployments.v1.DeploymentService/CreateDeployment";

/// A message that cannot be read is the caller's fault.
const MALFORMED: &[Code] = &[Code::InvalidArgument];

/// A call, and the codes that are a right answer to it.
struct Case {
    what: &'static str,
    path: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: Vec<u8>,
    codes: &'static [Code],
}

/// One frame of gRPC.
fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a short message");
    [&[flag][..], &length.to_be_bytes(), message].concat()
}

/// Sends bytes as the body of a call; answers status and message.
async fn send(channel: &RawChannel, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> (Code, String) {
    let mut request = http::Request::post(format!("http://localhost{path}"));
    for (name, value) in [("content-type", "application/grpc"), ("te", "trailers")].iter().chain(headers) {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::new(Full::from(body))).expect("a request");
    let answered = timeout(SOON, async {
        let (head, body) = match channel.clone().oneshot(request).await {
            Ok(response) => response.into_parts(),
            Err(status) => return (status.code(), status.message().to_owned()),
        };
        let trailers = body.collect().await.ok().and_then(|body| body.trailers().cloned()).unwrap_or_default();
        let field = |name: &str| trailers.get(name).or(head.headers.get(name)).map(|value| value.as_bytes().to_vec());
        let code = field("grpc-status").unwrap_or_else(|| panic!("no status in {head:?} {trailers:?}"));
        (Code::from_bytes(&code), String::from_utf8_lossy(&field("grpc-message").unwrap_or_default()).into_owned())
    });
    answered.await.unwrap_or_else(|_| panic!("{path} is not answered in {SOON:?}"))
}

/// Memory of the server, in bytes.
fn memory(replica: &Replica) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", replica.process.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a figure");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

/// A request to create a deployment with this as its one input.
fn with_input(value: Value) -> Vec<u8> {
    let inputs = Struct { fields: [("name".to_owned(), value)].into() };
    let deployment = deployments::Deployment {
        blueprint_version: "tenants/acme/blueprints/greeting/versions/1.0.0".to_owned(),
        inputs: Some(inputs),
        ..Default::default()
    };
    deployments::CreateDeploymentRequest {
        parent: "tenants/acme/projects/shop/environments/dev".to_owned(),
        deployment_id: "deep".to_owned(),
        deployment: Some(deployment),
        ..Default::default()
    }
    .encode_to_vec()
}

fn list(values: Vec<Value>) -> Value {
    Value { kind: Some(Kind::ListValue(ListValue { values })) }
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(Value { kind: Some(Kind::BoolValue(true)) }, |inner, _| list(vec![inner]))
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_calls_are_refused_by_their_name_and_leave_no_trace() {
    let world = World::new(Sqlite).await.with_sample().await;
    let channel = world.admin.raw().expect("a channel");
    let get = pb::GetProjectRequest { name: "tenants/acme/projects/shop".to_owned() }.encode_to_vec();
    let calls = |body: Vec<u8>| send(&channel, GET_PROJECT, &[], body);
    assert_eq!(calls(frame(0, &get)).await.0, Code::Ok, "a whole call");
    let before = memory(&world.replica);

    let endless = [&[0][..], &u32::MAX.to_be_bytes(), b"and so on"].concat();
    let bomb = frame(1, &[&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &[0xff; 4096]].concat());
    let million = with_input(list(vec![Value::default(); 1_000_000]));
    let get_project = |what, body, codes| Case { what, path: GET_PROJECT, headers: &[], body, codes };
    let create_deployment = |what, body, codes| Case { what, path: CREATE_DEPLOYMENT, headers: &[], body, codes };
    let at = |path| Case { what: path, path, headers: &[], body: frame(0, &[]), codes: &[Code::Unimplemented] };
    let cases = [
        get_project("3 MiB", frame(0, &vec![b'a'; 3 << 20]), &[Code::ResourceExhausted]),
        get_project("4 GiB announced", endless, &[Code::ResourceExhausted]),
        get_project("bad UTF-8", frame(0, &[0x0a, 2, 0xff, 0xfe]), MALFORMED),
        get_project("no protobuf", frame(0, &[0xff; 64]), MALFORMED),
        get_project("a frame cut short", frame(0, &get)[..8].to_vec(), MALFORMED),
        get_project("half a prefix", vec![0, 0], MALFORMED),
        get_project("no message", Vec::new(), MALFORMED),
        get_project("a flag that is none", frame(7, &get), MALFORMED),
        Case { headers: &[("grpc-encoding", "gzip")], ..get_project("a bomb", bomb, &[Code::Unimplemented]) },
        at("/freehold.tenants.v1.ProjectService/Explode"),
        at("/freehold.tenants.v9.Nothing/At"),
        at("/%00/../.."),
        create_deployment("40 deep", frame(0, &with_input(nested(40))), &[Code::InvalidArgument]),
        create_deployment("1000 deep", frame(0, &with_input(nested(1000))), MALFORMED),
        create_deployment("a million", frame(0, &million), &[Code::InvalidArgument]),
    ];
    let send = |case: &Case| send(&channel, case.path, case.headers, case.body.clone());
    for case in &cases {
        let begun = Instant::now();
        let (code, message) = send(case).await;
        println!("{}: {code:?} {message} {:?}", case.what, begun.elapsed());
        assert!(case.codes.contains(&code), "{}: {code:?} {message}", case.what);
        assert!(!message.contains("panicked"), "{}: {message}", case.what);
    }
    // All at once, again and again: others are answered, and nothing is kept.
    for _ in 0..4 {
        join_all(cases.iter().filter(|case| case.what != "a million").map(&send)).await;
    }
    timeout(SOON, world.admin.projects().get("shop").send()).await.expect("soon").expect("the same connection is sound");
    let grown = memory(&world.replica).saturating_sub(before);
    assert!(grown < GROWTH, "grown by {grown} bytes");
    assert_eq!(world.admin.deployments().list("shop/dev").collect_up_to(10).await.expect("a list"), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_sizes_and_tokens_that_make_no_sense_are_wrong_fields() {
    let world = World::new(Sqlite).await.shop().await;
    let acme = &world.admin;
    acme.projects().create("second").send().await.expect("a project");
    acme.environments().create("shop/test", EnvironmentKind::Test).send().await.expect("an environment");
    let mut projects = ProjectServiceClient::new(acme.raw().expect("a channel"));
    let long = format!("tenants/acme/projects/{}", "a".repeat(10_000));
    for name in [
        "",
        "tenants/acme/projects/..",
        "tenants/acme/projects/../../beta/projects/x",
        "tenants/acme/projects/a%00",
        "tenants/acme/projects/a\0",
        "tenants/acme/projects/shop ",
        "tenants/acme/projects/SHOP",
        "/tenants/acme/projects/shop",
        "tenants/acme/projects/shop/",
        "tenants/acme/projects/shop/environments/dev",
        "tenants/acme/projects/\u{202e}pohs",
        "tenants/acme/projects/' OR 1=1 --",
        long.as_str(),
    ] {
        let get = pb::GetProjectRequest { name: name.to_owned() };
        let refused = projects.get_project(get).await.expect_err("no name");
        assert_eq!(refused.code(), Code::InvalidArgument, "{name:.40}: {refused:?}");
        assert_eq!(freehold::raw::error(refused.clone()).violations()[0].field, "name", "{name:.40}: {refused:?}");
        assert!(refused.message().len() < 1000, "an answer is no echo: {}", refused.message().len());
        let whole = freehold::raw::error(refused);
        assert!(
            whole
                .violations()
                .iter()
                .all(|violation| violation.description.len() < 1000 && !violation.description.contains('\0'))
        );
    }

    let request = |page_size: i32, page_token: &str| pb::ListProjectsRequest {
        parent: "tenants/acme".to_owned(),
        page_size,
        page_token: page_token.to_owned(),
    };
    let all = projects.list_projects(request(i32::MAX, "")).await.expect("as many as there may be").into_inner();
    assert_eq!((all.projects.len(), all.next_page_token.as_str()), (2, ""));
    for size in [-1, i32::MIN] {
        let refused = projects.list_projects(request(size, "")).await.expect_err("less than none");
        assert_eq!(freehold::raw::error(refused).violations()[0].field, "page_size");
    }
    let own = projects.list_projects(request(1, "")).await.expect("a page").into_inner().next_page_token;
    let environments = acme.environments().list("shop").page_size(1).send().await.expect("a page");
    let others = environments.next_page_token.expect("there is more");
    let long = "A".repeat(100_000);
    let flipped = own.chars().rev().collect::<String>();
    for token in ["x", "!!!!", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "\u{1f4a3}", &long, &flipped, &others] {
        let refused = projects.list_projects(request(1, token)).await.expect_err("no token of this list");
        let error = freehold::raw::error(refused);
        assert_eq!((error.code(), error.reason()), (freehold::Code::InvalidArgument, Some("PAGE_TOKEN_INVALID")), "{token:.40}");
    }
    let next = projects.list_projects(request(1, &own)).await.expect("its own").into_inner();
    assert_eq!(next.projects[0].name, "tenants/acme/projects/second");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_speak_the_protocol_is_hung_up_on_and_others_are_served() {
    let world = World::new(Sqlite).await;
    let api = world.replica.api;
    let before = memory(&world.replica);
    let mut peers = Vec::new();
    let rubbish: Vec<u8> = (0..65_536_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for number in 0..64 {
        let mut tcp = TcpStream::connect(api).await.expect("connected");
        let said: &[u8] = match number % 4 {
            0 => &rubbish,
            1 => b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n",
            // The beginning of a handshake, and no more of it.
            2 => b"\x16\x03\x01\x02\x00\x01",
            _ => b"",
        };
        // The server may hang up before it has read it all.
        let _ = tcp.write_all(said).await;
        peers.push(tcp);
    }
    world.admin.projects().create("meanwhile").send().await.expect("others are served");
    for (number, tcp) in peers.iter_mut().enumerate() {
        let ended = timeout(SOON, tcp.read_to_end(&mut Vec::new())).await;
        assert!(ended.is_ok(), "peer {number} is still connected after {SOON:?}");
    }

    // With a certificate, but another protocol.
    for protocols in [vec![b"http/1.1".to_vec()], Vec::new()] {
        let answer = timeout(SOON, speak_http1(&world, protocols)).await.expect("the server hangs up");
        let text = String::from_utf8_lossy(&answer);
        assert!(!text.contains("200 OK") && !text.contains("grpc-status"), "{text}");
    }
    let grown = memory(&world.replica).saturating_sub(before);
    assert!(grown < GROWTH, "grown by {grown} bytes");
    world.admin.projects().get("meanwhile").send().await.expect("it still answers");
}

/// Asks for a page by HTTP/1.1 over TLS with the administrator's certificate; answers what came back, until the end.
async fn speak_http1(world: &World, protocols: Vec<Vec<u8>>) -> Vec<u8> {
    let pki = &world.installation.pki;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(pki.path("ca.crt")).expect("a certificate")).expect("an authority");
    let chain = CertificateDer::pem_file_iter(pki.path("admin.crt")).expect("a file").collect::<Result<_, _>>();
    let key = PrivateKeyDer::from_pem_file(pki.path("admin.key")).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let config = versions.with_root_certificates(roots).with_client_auth_cert(chain.expect("certificates"), key);
    let mut config = config.expect("a key that fits");
    config.alpn_protocols = protocols;
    let tcp = TcpStream::connect(world.replica.api).await.expect("connected");
    let name = ServerName::try_from("localhost").expect("a name");
    let Ok(mut tls) = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await else { return Vec::new() };
    let mut answer = Vec::new();
    let _ = tls.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    let _ = tls.read_to_end(&mut answer).await;
    answer
}
