//! Certificates that are refused or replaced, and tokens.

use std::{collections::HashMap, time::Duration};

use freehold::Credentials;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::server::{Ca, Server};

#[tokio::test]
async fn a_refused_client_certificate_is_one_clear_error() {
    let (ca, stranger) = (Ca::new(), Ca::new());
    let server = Server::start(&ca, &ca).await;
    let (certificate, key) = stranger.issue("client");
    let freehold = server.client(Credentials::new().ca_pem(ca.pem.clone()).certificate_pem(certificate, key)).await;
    for call in 1..=5 {
        let error = freehold.whoami().send().await.expect_err("refused");
        assert!(error.is_unauthenticated(), "{error:?}");
        assert!(error.message().contains("the server refused the client certificate"), "{error}");
        assert!(server.script.connections() <= 2 * call, "a refusal is not tried over and over");
    }
}

#[tokio::test]
async fn a_missing_client_certificate_says_how_to_give_one() {
    let ca = Ca::new();
    let server = Server::start(&ca, &ca).await;
    let error = server.client(Credentials::new().ca_pem(ca.pem.clone())).await.whoami().send().await.expect_err("refused");
    assert!(error.is_unauthenticated() && error.message().contains("FREEHOLD_CERT"), "{error}");
}

#[tokio::test]
async fn a_server_of_another_ca_is_not_believed() {
    let (ca, other) = (Ca::new(), Ca::new());
    let server = Server::start(&other, &ca).await;
    let error = server.client(ca.credentials()).await.whoami().send().await.expect_err("not believed");
    assert!(error.is_unavailable() && error.message().contains("is not trusted"), "{error}");
    assert_eq!(server.script.connections(), 1, "another try would end the same way");
}

#[tokio::test]
async fn files_that_cannot_be_used_stop_the_start_and_name_the_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let [ca, certificate, _] = Ca::new().write(dir.path());
    let build = |credentials| freehold::Client::builder("https://localhost:1").credentials(credentials).build();
    let error = build(Credentials::new().ca_file(&ca).certificate_files(&certificate, dir.path().join("none")))
        .await
        .expect_err("no key");
    assert!(error.message().contains("none") && error.is_invalid_argument(), "{error}");
    let error = build(Credentials::new().ca_file(&ca).certificate_files(&certificate, &ca)).await.expect_err("not a key");
    assert!(error.message().contains("ca.pem is not a private key"), "{error}");
}

#[tokio::test]
async fn replaced_files_are_used_and_a_broken_replacement_is_not() {
    let (ca, next) = (Ca::new(), Ca::new());
    let dir = tempfile::tempdir().expect("a directory");
    let [ca_file, certificate, key] = ca.write(dir.path());
    let (old, new) = (Server::start(&ca, &ca).await, Server::start(&next, &next).await);
    let credentials = Credentials::new().ca_file(&ca_file).certificate_files(&certificate, &key);
    let (at_old, at_new) = (old.client(credentials.clone()).await, new.client(credentials).await);
    at_old.whoami().send().await.expect("the files are of its CA");
    at_new.whoami().send().await.expect_err("the files are of another CA");

    std::fs::write(&key, "half a key").expect("a file");
    old.send_goaway();
    let reconnected = async {
        while old.script.connections() < 2 {
            at_old.whoami().send().await.expect("the last good ones stay in use");
        }
    };
    tokio::time::timeout(Duration::from_secs(10), reconnected).await.expect("the client leaves the old connection");

    next.write(dir.path());
    at_new.whoami().send().await.expect("new connections use the new files");
}

#[tokio::test]
async fn an_api_key_is_exchanged_once_for_many_calls_and_again_when_its_token_is_refused() {
    let ca = Ca::new();
    let server = Server::start(&ca, &ca).await;
    let freehold = server.client(ca.credentials().api_key("fh_key")).await;
    let calls: Vec<_> = (0..20).map(|_| tokio::spawn(freehold.whoami().send())).collect();
    for call in calls {
        call.await.expect("no panic").expect("an answer");
    }
    assert_eq!(server.script.exchanges(), 1);
    assert!(
        server.script.seen().iter().all(|headers| headers.get("authorization").is_some_and(|token| token == "Bearer token-0"))
    );

    let details = ErrorDetails::with_error_info("TOKEN_EXPIRED", "freehold.dev", HashMap::new());
    server.script.fail([Status::with_error_details(Code::Unauthenticated, "expired", details)]);
    freehold.whoami().send().await.expect("with another token");
    assert_eq!(server.script.exchanges(), 2);
    assert_eq!(server.script.seen().last().and_then(|headers| headers.get("authorization")).expect("a token"), "Bearer token-1");
}
