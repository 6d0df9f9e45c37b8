//! Tokens beside certificates, over the wire. What makes a token itself good or bad is tested where tokens are read.

use freehold_api::policy::Surface;
use freehold_proto::iam::v1::{GetCallerIdentityRequest, token_service_client::TokenServiceClient};
use ring::digest::{SHA256, digest};
use tonic::{Code, Request};
use tonic_types::StatusExt as _;

use crate::support::{ADA, Installation, certificate, logged};

fn sha256(pem: &str) -> [u8; 32] {
    digest(&SHA256, &certificate(pem)).as_ref().try_into().expect("32 bytes")
}

fn bearing(authorization: &str) -> Request<GetCallerIdentityRequest> {
    let mut request = Request::new(GetCallerIdentityRequest {});
    request.metadata_mut().insert("authorization", authorization.parse().expect("valid"));
    request
}

#[tokio::test]
async fn beside_a_certificate_a_token_counts_only_when_bound_to_it() {
    let here = Installation::new();
    let server = here.serve(Surface::Api).await;
    let (proxy, thief) = (here.client("tenants/acme/serviceAccounts/proxy"), here.client("tenants/acme/users/eve"));
    let mut calls = TokenServiceClient::new(server.channel(&here.authority, Some(&proxy)).await);
    let principal = |answer: freehold_proto::iam::v1::GetCallerIdentityResponse| answer.caller_identity.expect("there").principal;

    let alone = calls.get_caller_identity(GetCallerIdentityRequest {}).await.expect("the certificate suffices");
    assert_eq!(principal(alone.into_inner()), "tenants/acme/serviceAccounts/proxy");
    let bound = here.token(Some(sha256(&proxy.cert_pem)));
    let acting = calls.get_caller_identity(bearing(&format!("Bearer {bound}"))).await.expect("bound to this certificate");
    assert_eq!(principal(acting.into_inner()), ADA);

    let stolen = here.token(Some(sha256(&thief.cert_pem)));
    let refused = [
        (format!("Bearer {stolen}"), "TOKEN_CERT_MISMATCH"),
        (format!("Bearer {}", here.token(None)), "TOKEN_CERT_MISMATCH"),
        (format!("Bearer {}", Installation::new().token(Some(sha256(&proxy.cert_pem)))), "TOKEN_INVALID"),
        (format!("Bearer {bound}A"), "TOKEN_INVALID"),
        (format!("Bearer {}", "a".repeat(5000)), "TOKEN_INVALID"),
        ("Basic YWRhOmFkYQ==".to_owned(), "TOKEN_INVALID"),
        ("Bearer".to_owned(), "TOKEN_INVALID"),
    ];
    for (authorization, reason) in refused {
        let error = calls.get_caller_identity(bearing(&authorization)).await.expect_err(&authorization);
        assert_eq!(error.code(), Code::Unauthenticated);
        assert_eq!(error.get_details_error_info().expect("there").reason, reason, "{authorization}");
    }
    let signature = bound.rsplit('.').next().expect("three parts");
    assert!(logged(signature).is_empty(), "no token is ever logged");
}
