//! Every method of the contract, asked for by everybody who may not.
//!
//! Each has a request in `requests.txt` that names real resources of the tenant `acme`; one without fails the test. What is
//! expected follows from the method's policy and from whether its request names a tenant.

use std::collections::BTreeMap;

use freehold::{
    Client, Timestamp,
    raw::{RawChannel, error},
};
use freehold_proto::{METHODS, Method, common::v1::MethodKind};
use freehold_tests::{Database, Pki, World, endpoint, until};
use prost_reflect::{DescriptorPool, DynamicMessage};
use tonic::{Code, Request, Status, client::Grpc};
use tonic_prost::ProstCodec;

const REQUESTS: &str = include_str!("sweep/requests.txt");
const RUNNER_SERVICE: &str = "/freehold.runners.v1.RunnerService/";

/// A method, and a request that names what is there.
struct Ask {
    method: &'static Method,
    request: DynamicMessage,
    /// The request is about the tenant `acme`.
    of_tenant: bool,
}

/// Who asks, and over which listener.
#[derive(Clone, Copy, Debug)]
enum Who {
    NoRole,
    AdminOfAnother,
    Runner,
}

impl Ask {
    fn is_runners(&self) -> bool {
        self.method.path.starts_with(RUNNER_SERVICE)
    }

    /// What the policy gives this caller on the listener `api`.
    fn expected(&self, who: Who) -> Code {
        // A member of a tenant lists its own; that is a request about no tenant by name.
        let own_list = self.method.path.ends_with("/ListTenants") && matches!(who, Who::AdminOfAnother);
        match who {
            _ if self.is_runners() => Code::Unimplemented,
            // What is about the caller itself is for every member of the tenant, who finds nothing of others.
            Who::NoRole if self.of_tenant && self.method.path.ends_with("/ListConnectionAccounts") => Code::Ok,
            _ if self.of_tenant && self.method.any_caller => Code::NotFound,
            _ if self.method.public || self.method.any_caller || own_list => Code::Ok,
            Who::AdminOfAnother | Who::Runner if self.of_tenant => Code::NotFound,
            _ => Code::PermissionDenied,
        }
    }

    /// Asks; `Ok` when there was an answer.
    async fn send(&self, channel: &RawChannel) -> Result<(), Status> {
        let mut grpc = Grpc::new(channel.clone().retries(false));
        let path = http::uri::PathAndQuery::from_static(self.method.path);
        let request = Request::new(self.request.clone());
        // Of an answer only its coming counts: every message can be read as an empty one.
        let codec = ProstCodec::<DynamicMessage, ()>::default();
        if self.method.streams {
            grpc.server_streaming(request, path, codec).await?.into_inner().message().await.map(drop)
        } else {
            grpc.unary(request, path, codec).await.map(drop)
        }
    }

    async fn code(&self, channel: &RawChannel) -> Code {
        self.send(channel).await.map_or_else(|status| status.code(), |()| Code::Ok)
    }
}

both_databases!(every_method_refuses_everybody_who_may_not_call_it);

async fn every_method_refuses_everybody_who_may_not_call_it(database: Database) {
    let world = World::new(database).await.with_sample().await;
    let runner = world.runner();
    let asks = asks(&names(&world).await);
    drop(runner);
    let trail = || async { world.admin.audit().list().collect_up_to(1000).await.expect("the trail").into_iter() };
    let before = trail().await.filter(|record| record.decision == freehold::AuditDecision::Allowed).count();
    world.tenant("other").await;
    let pki = &world.installation.pki;
    let mut wrong = Vec::new();
    let mut count = 0;
    let mut check = |ask: &Ask, who: &str, expected: &str, seen: String| {
        count += 1;
        if seen != expected {
            wrong.push(format!("{who} {}: {seen}, not {expected}", ask.method.path));
        }
    };

    // Who is known, and may not.
    world.person("acme", "nobody-at-all", &[]).await;
    world.person("other", "boss", &["tenant-admin"]).await;
    for (who, file) in [(Who::NoRole, "acme-nobody-at-all"), (Who::AdminOfAnother, "other-boss"), (Who::Runner, "runner")] {
        // Without the header that names a tenant, which must agree with the request.
        let client = Client::builder(endpoint(world.replica.api)).credentials(pki.credentials(file)).build().await;
        let channel = client.expect("a client").raw().expect("a channel");
        for ask in &asks {
            check(ask, &format!("{who:?}"), &format!("{:?}", ask.expected(who)), format!("{:?}", ask.code(&channel).await));
        }
    }

    // The runner protocol belongs to runners; even a platform administrator is none.
    for file in ["admin", "acme-nobody-at-all", "other-boss"] {
        let client = world.installation.client(&[world.replica.runner], pki.credentials(file), "acme").await;
        let channel = client.raw().expect("a channel");
        for ask in &asks {
            let expected = match ask.is_runners() {
                // Its proof is a token, not who else calls.
                true if ask.method.public => Code::Unauthenticated,
                true => Code::PermissionDenied,
                false => Code::Unimplemented,
            };
            check(
                ask,
                &format!("{file} to the runner listener"),
                &format!("{expected:?}"),
                format!("{:?}", ask.code(&channel).await),
            );
        }
    }

    // Who is not known: nobody reaches a handler.
    let other_ca = Pki::create(&world.installation.path("other-pki"));
    other_ca.issue("admin", "platform/admin");
    let foreign = other_ca.credentials("admin").ca_file(pki.path("ca.crt"));
    let serial = pki.issue("leaver", "platform/leaver");
    let leaver = world.client(pki.credentials("leaver")).await;
    leaver.whoami().send().await.expect("still there");
    pki.authority.revoke(&serial).expect("revoked");
    until("the revocation to be read", || async { leaver.whoami().send().await.is_err() }).await;
    let strangers = [
        ("no certificate", world.replica.api, pki.trust()),
        ("a certificate of another authority", world.replica.api, foreign.clone()),
        ("a revoked certificate", world.replica.api, pki.credentials("leaver")),
        ("no certificate to the runner listener", world.replica.runner, pki.trust()),
        ("a certificate of another authority to the runner listener", world.replica.runner, foreign),
        ("no token to the web listener", world.replica.web, pki.trust()),
        ("a made-up token to the web listener", world.replica.web, pki.trust().bearer_token("e30.e30.e30")),
    ];
    for (who, address, credentials) in strangers {
        let web = address == world.replica.web;
        let anonymous = who == "no certificate to the runner listener";
        let client = world.installation.client(&[address], credentials, "acme").await;
        let channel = client.raw().expect("a channel");
        for ask in &asks {
            let expected = match () {
                () if web && ask.is_runners() => "Unimplemented",
                // Of the public methods, one asks for a proof to exchange, and the others have an answer for anybody.
                () if web && ask.method.public && !ask.method.path.ends_with("/ExchangeToken") => "Ok",
                () if web => "Unauthenticated with a reason",
                // Runners that are about to join come there without one, and get to that one method.
                () if anonymous && !ask.is_runners() => "Unimplemented",
                () if anonymous => "Unauthenticated with a reason",
                () => "Unauthenticated in the handshake",
            };
            let seen = match ask.send(&channel).await {
                Ok(()) => "Ok".to_owned(),
                Err(status) if status.code() != Code::Unauthenticated => format!("{:?}", status.code()),
                Err(status) if error(status.clone()).reason().is_some() => "Unauthenticated with a reason".to_owned(),
                Err(_) => "Unauthenticated in the handshake".to_owned(),
            };
            check(ask, who, expected, seen);
        }
    }

    println!("{count} calls of {} methods", asks.len());
    assert!(wrong.is_empty(), "{} of {count} calls:\n{}", wrong.len(), wrong.join("\n"));
    let after = trail().await.filter(|record| record.decision == freehold::AuditDecision::Allowed).collect::<Vec<_>>();
    let made_by_test = ["InviteUser", "ExchangeToken"];
    let strange = after[before..].iter().filter(|r| !made_by_test.iter().any(|known| r.method.ends_with(known)));
    let strange: Vec<_> = strange.filter(|record| record.change != Some("user.activated".into())).collect();
    assert!(strange.is_empty(), "nothing of acme has changed: {strange:?}");

    // The requests do name what is there: whoever may reads it all.
    let admin = world.admin.raw().expect("a channel");
    for ask in asks.iter().filter(|ask| ask.method.kind == MethodKind::Read) {
        let expected = if ask.method.path.ends_with("Operation") { Code::NotFound } else { Code::Ok };
        let status = ask.send(&admin).await;
        let seen = status.as_ref().map_or_else(Status::code, |()| Code::Ok);
        assert_eq!(seen, expected, "{} to a platform administrator: {status:?}", ask.method.path);
    }
}

/// All methods with their requests.
fn asks(names: &BTreeMap<&str, String>) -> Vec<Ask> {
    let pool = DescriptorPool::decode(freehold_proto::DESCRIPTOR_SET).expect("the contract");
    let mut requests: BTreeMap<String, &str> = REQUESTS
        .lines()
        .map(|line| {
            let (name, json) = line.split_once(' ').expect("a method and a request");
            let (area, method) = name.split_once('.').expect("an area");
            (format!("/freehold.{area}.v1.{method}"), json)
        })
        .collect();
    let asks = METHODS
        .iter()
        .map(|method| {
            let json = requests.remove(method.path).unwrap_or_else(|| panic!("the sweep has no request for {}", method.path));
            let of_tenant = [
                "$tenant",
                "$project",
                "$environment",
                "$deployment",
                "$run",
                "$binding",
                "$key",
                "$identity",
                "$item",
                "$exception",
                "$endpoint",
                "$delivery",
                "$message",
                "$notification",
                "$rule",
            ];
            let of_tenant = of_tenant.iter().any(|name| json.contains(name));
            let text = names.iter().fold(json.to_owned(), |text, (name, value)| text.replace(&format!("${name}"), value));
            assert!(!text.contains('$'), "{text}");
            let (service, name) = method.path[1..].split_once('/').expect("a path");
            let service = pool.get_service_by_name(service).expect("a service of the contract");
            let descriptor = service.methods().find(|known| known.name() == name).expect("a method of the contract");
            let mut reader = serde_json::Deserializer::from_str(&text);
            let request = DynamicMessage::deserialize(descriptor.input(), &mut reader);
            Ask { method, request: request.unwrap_or_else(|error| panic!("{}: {error}", method.path)), of_tenant }
        })
        .collect();
    assert!(requests.is_empty(), "there are no such methods: {requests:?}");
    asks
}

/// Makes one of everything in acme; answers their names.
async fn names(world: &World) -> BTreeMap<&'static str, String> {
    let acme = &world.admin;
    acme.deployments().create("shop/dev/web", "greeting@1.0.0").input("name", "world").send().await.expect("a deployment");
    let run = acme.runs().plan("shop/dev/web").auto_apply().send().await.expect("a run").wait_done().await.expect("it ends");
    let run = run.into_result().expect("well");
    let rule = freehold::ApprovalRule::new("all", "true", 1);
    acme.approval_policies().create("careful").rule(rule).send().await.expect("an approval policy");
    acme.secret_stores().create("vault", freehold::SecretDriver::environment("ACME_")).send().await.expect("a store");
    std::fs::write(world.installation.path("files/acme/shop/dev/web.txt"), "vandalised").expect("a vandal");
    acme.runs().detect_drift("shop/dev/web").send().await.expect("a run").wait_done().await.expect("it ends");
    let item = acme.drift().items("shop/dev/web").list().send().await.expect("a list").items.remove(0).name;
    let tomorrow = Timestamp::now() + std::time::Duration::from_secs(86_400);
    let exception = acme.drift().except("planned", tomorrow).path("none").send().await.expect("an exception").name;
    acme.users().invite("nobody@acme.example").id("nobody").send().await.expect("a user");
    acme.service_accounts().create("ci").send().await.expect("a service account");
    let spiffe_id = "spiffe://freehold.test/ns/prod/sa/web";
    let identity = acme.service_accounts().create_identity("ci", spiffe_id).send().await.expect("an identity");
    let binding = acme.access().bind("viewer", "serviceAccounts/ci").send().await.expect("a role");
    let key = acme.api_keys().create("serviceAccounts/ci", tomorrow).send().await.expect("a key").api_key;
    let delivery = crate::webhooks::undelivered(acme).await;
    let notification = crate::notifications::untold(acme).await;
    let record = acme.audit().list().send().await.expect("the trail").items.swap_remove(0).name;
    let project = "tenants/acme/projects/shop".to_owned();
    BTreeMap::from([
        ("tenant", "tenants/acme".to_owned()),
        ("environment", format!("{project}/environments/dev")),
        ("deployment", format!("{project}/environments/dev/deployments/web")),
        ("project", project),
        ("digest", run.plan_digest.expect("it had a plan")),
        ("run", run.name),
        ("item", item),
        ("exception", exception),
        ("message", crate::inbound::message(world).await),
        ("identity", identity.name),
        ("binding", binding.name),
        ("key", key.name),
        ("endpoint", "tenants/acme/webhookEndpoints/ops".to_owned()),
        ("delivery", delivery),
        ("rule", "tenants/acme/notificationRules/failures".to_owned()),
        ("notification", notification),
        ("record", record.rsplit('/').next().expect("a name").to_owned()),
    ])
}
