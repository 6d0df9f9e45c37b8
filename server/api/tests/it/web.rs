//! Browsers: gRPC-web over HTTP/1.1, preflight, and errors that a page can see.

use freehold_api::policy::Surface;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use crate::support::{ADA, Installation, ORIGIN, PATIENCE, Server};

pub const IDENTITY: &str = "/freehold.iam.v1.TokenService/GetCallerIdentity";
const EXCHANGE: &str = "/freehold.iam.v1.TokenService/ExchangeToken";
/// A message without fields, in its frame.
pub const EMPTY: &[u8] = &[0; 5];
pub const GRPC_WEB: (&str, &str) = ("content-type", "application/grpc-web+proto");

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// gRPC-web ends a body with its trailers, as text.
    pub fn body_has(&self, text: &str) -> bool {
        self.body.windows(text.len()).any(|part| part == text.as_bytes())
    }
}

/// One exchange over a connection of its own, as bytes.
pub async fn http1(
    here: &Installation,
    server: &Server,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut tls = server.tls(&here.authority, None, b"http/1.1").await.expect("connected");
    let mut head =
        format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    tls.write_all(&[head.as_bytes(), body].concat()).await.expect("sent");
    let mut bytes = Vec::new();
    timeout(PATIENCE, tls.read_to_end(&mut bytes)).await.expect("in time").expect("a whole answer");
    let end = bytes.windows(4).position(|part| part == b"\r\n\r\n").expect("headers");
    let head = String::from_utf8(bytes[..end].to_vec()).expect("text");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    Answer { status, head, body: bytes[end + 4..].to_vec() }
}

#[tokio::test]
async fn a_page_may_ask_and_read_how_it_went() {
    let here = Installation::new();
    let server = here.serve(Surface::Web).await;
    let asks = [
        ("origin", ORIGIN),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type,x-grpc-web,x-freehold-tenant"),
    ];

    let preflight = http1(&here, &server, "OPTIONS", IDENTITY, &asks, b"").await;
    assert_eq!(preflight.status, 200);
    assert_eq!(preflight.header("access-control-allow-origin"), Some(ORIGIN));
    assert_eq!(preflight.header("access-control-allow-credentials"), None);
    let allowed: Vec<_> = preflight.header("access-control-allow-headers").expect("there").split(',').collect();
    for name in ["authorization", "content-type", "x-grpc-web", "x-freehold-tenant", "grpc-timeout"] {
        assert!(allowed.contains(&name), "{name} in {allowed:?}");
    }
    let stranger = [("origin", "https://evil.example"), ("access-control-request-method", "POST")];
    let refused = http1(&here, &server, "OPTIONS", IDENTITY, &stranger, b"").await;
    assert_eq!(refused.header("access-control-allow-origin"), None);

    let bearer = format!("Bearer {}", here.token(None));
    let headers = [GRPC_WEB, ("origin", ORIGIN), ("authorization", bearer.as_str())];
    let answer = http1(&here, &server, "POST", IDENTITY, &headers, EMPTY).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some(ORIGIN)));
    assert!(answer.body_has(ADA) && answer.body_has("grpc-status:0"), "{}", answer.head);
}

#[tokio::test]
async fn an_immediate_error_is_in_headers_that_the_page_may_read() {
    let here = Installation::new();
    let server = here.serve(Surface::Web).await;
    let bound = format!("Bearer {}", here.token(Some([7; 32])));
    for (authorization, reason) in [(None, "CREDENTIALS_MISSING"), (Some(bound.as_str()), "TOKEN_CERT_MISMATCH")] {
        let mut headers = vec![GRPC_WEB, ("origin", ORIGIN)];
        headers.extend(authorization.map(|value| ("authorization", value)));

        let answer = http1(&here, &server, "POST", IDENTITY, &headers, EMPTY).await;

        assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("16")), "{reason}");
        let exposed: Vec<_> = answer.header("access-control-expose-headers").expect("there").split(',').collect();
        for name in ["grpc-status", "grpc-message", "grpc-status-details-bin", "x-request-id"] {
            assert!(exposed.contains(&name), "{name} in {exposed:?}");
            assert!(answer.header(name).is_some(), "{name} in {}", answer.head);
        }
        let details = answer.header("grpc-status-details-bin").expect("there");
        let details = base64::Engine::decode(&base64::engine::general_purpose::STANDARD_NO_PAD, details).expect("base64");
        assert!(String::from_utf8_lossy(&details).contains(reason));
    }
}

#[tokio::test]
async fn a_page_has_the_methods_of_people_and_the_limits_of_everybody() {
    let here = Installation::new();
    let server = here.serve(Surface::Web).await;

    let runner = http1(&here, &server, "POST", "/freehold.runners.v1.RunnerService/Heartbeat", &[GRPC_WEB], EMPTY).await;
    assert_eq!(runner.header("grpc-status"), Some("12"));
    // A length of 4 GiB is refused when it is announced, not when it has come.
    let lying = http1(&here, &server, "POST", EXCHANGE, &[GRPC_WEB], &[0, 0xff, 0xff, 0xff, 0xff, 1]).await;
    assert_eq!(lying.header("grpc-status"), Some("8"), "{}", lying.head);
    // Over HTTP/1.1, since tonic's client would end the call by its own timer first.
    let wait = [&[0, 0, 0, 0, 6, 0x0a, 4][..], b"wait"].concat();
    let late = http1(&here, &server, "POST", EXCHANGE, &[GRPC_WEB, ("grpc-timeout", "300m")], &wait).await;
    assert_eq!(late.header("grpc-status"), Some("4"), "{}", late.head);
    let plain = http1(&here, &server, "POST", "/", &[], b"").await;
    assert_eq!(plain.status, 400);
}
