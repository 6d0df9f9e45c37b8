//! Clients that mean harm, or speak something else.

use std::time::Duration;

use bytes::Bytes;
use freehold_api::{layers::Rate, listener::Settings, policy::Surface};
use futures::{StreamExt as _, stream};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tonic::Status;

use crate::support::{ADA, Installation, PATIENCE, eventually, exchange_within};

#[tokio::test]
async fn silent_handshakes_are_ended_and_keep_nobody_out() {
    let here = Installation::new();
    let settings = Settings { max_handshakes: 2, handshake_timeout: Duration::from_secs(1), ..Settings::default() };
    let server = here.serve_with(Surface::Api, settings, Rate::default()).await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(TcpStream::connect(server.addr).await.expect("connected"));
    }

    for tcp in &mut silent {
        let read = timeout(PATIENCE, tcp.read(&mut [0; 16])).await.expect("the server ends it");
        assert!(matches!(read, Ok(0) | Err(_)), "it had nothing to say");
    }
    server.handshake(&here.authority, Some(&here.client(ADA))).await.expect("there is room again");
}

#[tokio::test]
async fn one_address_does_not_take_every_place() {
    let here = Installation::new();
    let settings = Settings { max_connections_per_address: 2, ..Settings::default() };
    let server = here.serve_with(Surface::Api, settings, Rate::default()).await;
    let held = [here.client(ADA), here.client(ADA)];
    let mut open = Vec::new();
    for client in &held {
        open.push(server.tls(&here.authority, Some(client), b"h2").await.expect("within the limit"));
    }

    server.handshake(&here.authority, Some(&here.client(ADA))).await.expect_err("over the limit");

    drop(open);
    let again = || async { server.handshake(&here.authority, Some(&here.client(ADA))).await.is_ok() };
    eventually("its places are free again", again).await;
}

#[tokio::test]
async fn garbage_before_and_after_the_handshake_harms_nobody() {
    let here = Installation::new();
    let server = here.serve(Surface::Api).await;
    let garbage = b"GET / HTTP/1.1\r\n\r\n\x00\xff\xfe\x16\x03\x01".repeat(200);

    let mut tcp = TcpStream::connect(server.addr).await.expect("connected");
    let _ = tcp.write_all(&garbage).await; // The server may hang up before it has read it all.
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, tcp.read_to_end(&mut rest)).await.expect("the server ends it");

    let mut tls = server.tls(&here.authority, Some(&here.client(ADA)), b"h2").await.expect("connected");
    let _ = tls.write_all(&garbage).await;
    let _ = timeout(PATIENCE, tls.read_to_end(&mut rest)).await.expect("the server ends it");

    server.handshake(&here.authority, Some(&here.client(ADA))).await.expect("others are served");
    assert!(!server.serving.is_finished());
}

#[tokio::test]
async fn a_request_that_stays_incomplete_holds_nothing_after_its_deadline() {
    let here = Installation::new();
    let server = here.serve(Surface::Api).await;
    let mut calls = server.http2(&here.authority, &here.client(ADA)).await;
    // A frame of 100 bytes, of which one is sent.
    let start = Frame::data(Bytes::from_static(&[0, 0, 0, 0, 100, 0]));
    let body = StreamBody::new(stream::iter([Ok(start)]).chain(stream::pending()));

    let call = tokio::spawn(calls.send_request(exchange_within("2S", body)));
    eventually("its handler waits for the rest", || async { server.tasks.len() == 1 }).await;
    let answer = timeout(PATIENCE, call).await.expect("at the deadline").expect("no panic").expect("answered");

    assert_eq!(answer.headers()[Status::GRPC_STATUS], "4");
    eventually("the handler has ended", || async { server.tasks.is_empty() }).await;
    assert_eq!(server.connections.len(), 1, "not because the connection is gone");
}
