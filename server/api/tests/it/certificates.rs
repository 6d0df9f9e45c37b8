//! Whose connections are taken, and until when.

use std::{sync::Arc, time::Duration};

use freehold_api::{
    authority::{Authority, Issued, Profile, Usage},
    policy::Surface,
};
use freehold_domain::time::Timestamp;
use freehold_proto::{
    iam::v1::{GetCallerIdentityRequest, token_service_client::TokenServiceClient},
    meta::v1::{GetServerInfoRequest, server_info_service_client::ServerInfoServiceClient},
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::HandshakeKind;
use tokio::time::timeout;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::support::{
    ADA, Installation, PATIENCE, Skewed, client_certificate, client_config, eventually, preface, server_certificate, tls_with,
    write,
};

#[tokio::test]
async fn only_a_valid_certificate_of_the_trusted_authority_is_let_in() {
    let here = Installation::new();
    let other = Installation::new();
    let foreign = Authority::create(&here.path("foreign"), "foreign.example", Arc::new(Skewed(0))).expect("made");
    let server = here.serve(Surface::Api).await;

    server.handshake(&here.authority, Some(&here.client(ADA))).await.expect("a good certificate");

    // The same authority, working an hour ago.
    let past = Authority::open(&here.path("ca"), Arc::new(Skewed(-3600))).expect("opened");
    let expired = client_certificate(&past, ADA, Duration::from_secs(60));
    let future = Authority::open(&here.path("ca"), Arc::new(Skewed(3600))).expect("opened");
    let early = client_certificate(&future, ADA, Duration::from_secs(60));
    let revoked = here.client(ADA);
    here.authority.revoke(&revoked.serial).expect("revoked");
    eventually("the revocation is in force", || async { server.handshake(&here.authority, Some(&revoked)).await.is_err() }).await;

    let refused = [
        ("none", None, "CertificateRequired"),
        ("another authority's", Some(foreign_client(&foreign)), "UnknownCA"),
        ("another authority's of the same name", Some(other.client(ADA)), "DecryptError"),
        ("expired", Some(expired), "CertificateExpired"),
        ("not yet valid", Some(early), "CertificateExpired"),
        ("for servers only", Some(server_certificate(&here.authority)), "UnsupportedCertificate"),
        ("revoked", Some(revoked), "CertificateRevoked"),
    ];
    for (which, certificate, alert) in refused {
        let error = server.handshake(&here.authority, certificate.as_ref()).await.expect_err(which);
        assert!(error.contains(alert), "{which}: {error}");
    }
    server.handshake(&other.authority, Some(&here.client(ADA))).await.expect_err("the client checks the server too");
}

fn foreign_client(authority: &Authority) -> Issued {
    let profile = Profile {
        spiffe_id: format!("spiffe://{}/{ADA}", authority.trust_domain()).parse().expect("valid"),
        dns_names: Vec::new(),
        ips: Vec::new(),
        lifetime: Duration::from_secs(60),
        usage: Usage::Client,
    };
    authority.issue(&profile).expect("issued")
}

#[tokio::test]
async fn a_revocation_closes_what_is_open_and_nothing_else() {
    let here = Installation::new();
    let server = here.serve(Surface::Api).await;
    let (lost, kept) = (here.client(ADA), here.client("tenants/acme/users/bob"));
    let mut kept = HealthClient::new(server.channel(&here.authority, Some(&kept)).await);
    let mut watch = HealthClient::new(server.channel(&here.authority, Some(&lost)).await)
        .watch(HealthCheckRequest::default())
        .await
        .expect("open")
        .into_inner();
    watch.message().await.expect("a status").expect("a status");
    kept.check(HealthCheckRequest::default()).await.expect("open");
    assert_eq!(server.connections.len(), 2);

    here.authority.revoke(&lost.serial).expect("revoked");

    timeout(PATIENCE, watch.message()).await.expect("closed").expect_err("not in peace");
    kept.check(HealthCheckRequest::default()).await.expect("still open");
    assert_eq!(server.connections.len(), 1);
}

#[tokio::test]
async fn certificate_and_authority_are_exchanged_while_calls_go_on() {
    let (old, new) = (Installation::new(), Installation::new());
    let server = old.serve(Surface::Api).await;
    let mut calls = ServerInfoServiceClient::new(server.channel(&old.authority, Some(&old.client(ADA))).await);
    calls.get_server_info(GetServerInfoRequest {}).await.expect("before");
    let (old_client, new_client) = (old.client(ADA), new.client(ADA));
    server.handshake(&new.authority, Some(&new_client)).await.expect_err("not trusted yet");

    // First both authorities are trusted, then the server's certificate changes, then the old authority goes.
    write(&old.client_ca(), &format!("{}{}", old.authority.ca_pem(), new.authority.ca_pem()));
    eventually("the new client is trusted", || async { server.handshake(&old.authority, Some(&new_client)).await.is_ok() }).await;
    let certificate = server_certificate(&new.authority);
    write(&old.key(), &certificate.key_pem);
    write(&old.cert(), &certificate.cert_pem);
    eventually("the new certificate is shown", || async { server.handshake(&new.authority, Some(&old_client)).await.is_ok() })
        .await;
    write(&old.client_ca(), new.authority.ca_pem());
    eventually("the old client is refused", || async { server.handshake(&new.authority, Some(&old_client)).await.is_err() })
        .await;

    server.handshake(&new.authority, Some(&new_client)).await.expect("the new client is in");
    calls.get_server_info(GetServerInfoRequest {}).await.expect("the open connection went on");
}

/// An authority of somebody else's making, which signs whatever it is asked to.
struct Stranger {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Stranger {
    fn new(trust_domain: Option<&str>) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::OrganizationName, trust_domain.unwrap_or("nobody"));
        params.subject_alt_names = trust_domain.map(|domain| uri(&format!("spiffe://{domain}"))).into_iter().collect();
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn issue(&self, spiffe_id: &str) -> Issued {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![uri(spiffe_id)];
        let key = KeyPair::generate().expect("a key");
        let cert_pem = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Issued { cert_pem, key_pem: key.serialize_pem(), serial: String::new(), not_after: Timestamp::default() }
    }
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("ASCII"))
}

#[tokio::test]
async fn an_identity_of_another_trust_domain_arrives_whole_and_its_authority_speaks_for_no_other() {
    let here = Installation::new();
    let (mesh, nameless) = (Stranger::new(Some("mesh.example")), Stranger::new(None));
    write(&here.client_ca(), &format!("{}{}{}", here.authority.ca_pem(), mesh.pem, nameless.pem));
    let server = here.serve(Surface::Api).await;

    for (authority, spiffe_id) in [
        (&mesh, "spiffe://mesh.example/tenants/acme/users/ada"),
        (&mesh, "spiffe://mesh.example/platform/admin"),
        (&nameless, "spiffe://other.example/ci"),
    ] {
        let channel = server.channel(&here.authority, Some(&authority.issue(spiffe_id))).await;
        let answer = TokenServiceClient::new(channel).get_caller_identity(GetCallerIdentityRequest {}).await.expect(spiffe_id);
        assert_eq!(answer.into_inner().caller_identity.expect("an identity").principal, spiffe_id);
    }
    for (which, certificate) in [
        ("the mesh's authority poses as ours", mesh.issue("spiffe://test.example/platform/admin")),
        ("the mesh's authority poses as another", mesh.issue("spiffe://other.example/ci")),
        ("a nameless authority poses as ours", nameless.issue("spiffe://test.example/platform/admin")),
        ("a nameless authority poses as the mesh's", nameless.issue("spiffe://mesh.example/ci")),
    ] {
        let error = server.handshake(&here.authority, Some(&certificate)).await.expect_err(which);
        assert!(error.contains("UnknownCA"), "{which}: {error}");
    }
}

#[tokio::test]
async fn a_session_is_not_resumed_past_the_check_of_its_certificate() {
    let here = Installation::new();
    let server = here.serve(Surface::Api).await;
    let config = client_config(&here.authority, Some(&here.client(ADA)), &[b"h2"]);
    for _ in 0..2 {
        let mut stream = tls_with(server.addr, config.clone()).await.expect("connected");
        preface(&mut stream).await.expect("let in");
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
    }
}
