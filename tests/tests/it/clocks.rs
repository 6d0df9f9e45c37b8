//! Clocks that jump by an hour: a token is good in its own time, and at no other.

use std::time::Duration;

use freehold::{
    Client, Error, Timestamp,
    raw::proto::iam::v1::{ExchangeTokenRequest, token_service_client::TokenServiceClient},
};
use freehold_tests::{
    Database::{self, Sqlite},
    Installation, armed,
};

use crate::faults::Faulty as _;

/// What the clock of the server is wrong by, one after the other, in seconds.
const JUMPS: [&str; 4] = ["-3600", "0", "3600", "0"];

both_databases!(a_token_is_good_in_its_own_time_whatever_the_clock_does);

async fn a_token_is_good_in_its_own_time_whatever_the_clock_does(database: Database) {
    assert_eq!(taken_outside(database, &[]).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_look_at_the_time_of_a_token_is_noticed() {
    assert_eq!(taken_outside(Sqlite, &[("FREEHOLD_MUTANT", "window")]).await, JUMPS.len());
}

/// How many tokens a server takes that were made before its clock jumped.
async fn taken_outside(database: Database, variables: &[(&str, &str)]) -> usize {
    let installation = Installation::new(database).await;
    let mut replica = installation.start(armed(&installation.serve(&[]), variables)).await;
    let acme = installation.client(&[replica.api], installation.pki.credentials("admin"), "acme").await;
    acme.tenants().create("acme").send().await.expect("a tenant");
    acme.service_accounts().create("ci").display_name("Builds").send().await.expect("a service account");
    acme.access().bind("viewer", "serviceAccounts/ci").send().await.expect("a role");
    let tomorrow = Timestamp::now() + Duration::from_secs(24 * 3600);
    let key = acme.api_keys().create("serviceAccounts/ci", tomorrow).send().await.expect("a key");
    let mut taken = 0;
    for seconds in JUMPS {
        let anybody = installation.client(&[replica.web], installation.pki.trust(), "acme").await;
        let request = ExchangeTokenRequest { api_key: key.secret.reveal().to_owned(), ..Default::default() };
        let exchanged = TokenServiceClient::new(anybody.raw().expect("a channel")).exchange_token(request).await;
        let token = exchanged.expect("a token, whatever the time").into_inner().token;
        let by_token = async |web| installation.client(&[web], installation.pki.trust().bearer_token(&token), "acme").await;
        tenant(&by_token(replica.web).await).await.expect("in its time");
        replica.process.kill();
        replica = installation.again(&replica, &[variables, &[("FREEHOLD_CLOCK", seconds)]].concat()).await;
        match tenant(&by_token(replica.web).await).await {
            Ok(()) => taken += 1,
            Err(error) => assert!(matches!(error.reason(), Some("TOKEN_EXPIRED" | "TOKEN_INVALID")), "{error:?}"),
        }
    }
    taken
}

async fn tenant(client: &Client) -> Result<(), Error> {
    client.tenants().get("acme").send().await.map(drop)
}
