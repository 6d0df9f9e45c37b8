//! A runner with a good certificate that wants what is not its own. Each abuse is refused, and nothing has changed afterwards.

use std::{fmt::Debug, time::Duration};

use freehold::{
    Client, RunOutcome, RunPhase, Timestamp,
    raw::{
        RawChannel,
        proto::{deployments::v1 as runs, runners::v1 as pb},
    },
};
use freehold_tests::{Database, Pki, World, furnish, until};
use futures::TryStreamExt as _;
use pb::{complete_job_request::Result as End, runner_service_client::RunnerServiceClient};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, SanType};
use tonic::{Code, Request, Status};
use uuid::Uuid;

use crate::{
    registration::certificate_request,
    scripted_runner::{Runner, applied, asks, intended, plan, planned, step},
};

/// What was tried, and what of it was not refused as it should have been.
#[derive(Default)]
struct Tally {
    tried: usize,
    wrong: Vec<String>,
}

impl Tally {
    /// An abuse, and the code that it must be refused with.
    fn refused<T: Debug>(&mut self, what: &str, code: Code, answer: Result<T, Status>) {
        self.tried += 1;
        match answer {
            Err(status) if status.code() == code => {}
            Err(status) => self.wrong.push(format!("{what}: {:?} {}, not {code:?}", status.code(), status.message())),
            Ok(answer) => self.wrong.push(format!("{what}: it was answered {answer:?}")),
        }
    }

    /// An ask that must get nothing.
    fn nothing<T: Debug>(&mut self, what: &str, got: Option<T>) {
        self.tried += 1;
        if let Some(got) = got {
            self.wrong.push(format!("{what}: it got {got:?}"));
        }
    }
}

/// Everything that a runner can say of a job.
async fn claims(tally: &mut Tally, who: &str, code: Code, service: &mut RunnerServiceClient<RawChannel>, run: &str, epoch: i64) {
    let run = run.to_owned();
    let extend = pb::ExtendLeaseRequest { run: run.clone(), epoch };
    tally.refused(&format!("{who}: to extend the lease"), code, service.extend_lease(extend).await);
    let line = runs::LogLine { text: "mallory was here".to_owned(), ..Default::default() };
    let log = pb::AppendJobLogsRequest { run: run.clone(), epoch, offset: 0, lines: vec![line] };
    tally.refused(&format!("{who}: to write into the log"), code, service.append_job_logs(log).await);
    let state = br#"{"state":"mallory"}"#.to_vec();
    let entries = vec![intended("random_pet.pet")];
    let report = pb::ReportJobProgressRequest { run: run.clone(), epoch, sequence: 1, entries, state, ..Default::default() };
    tally.refused(&format!("{who}: to report a state"), code, service.report_job_progress(report).await);
    let end = pb::CompleteJobRequest { run: run.clone(), epoch, result: Some(planned(7, 0)), ..Default::default() };
    tally.refused(&format!("{who}: to end the job"), code, service.complete_job(end).await);
    // Nobody of them was ever given the apply.
    let End::Apply(apply) = applied("mallory") else { unreachable!("an apply") };
    let offer = pb::OfferLateResultRequest { run, epoch, apply: Some(apply), ..Default::default() };
    tally.refused(&format!("{who}: to offer a result"), Code::NotFound, service.offer_late_result(offer).await);
}

async fn service(world: &World, file: &str) -> RunnerServiceClient<RawChannel> {
    let credentials = world.installation.pki.credentials(file);
    let client = world.installation.client(&[world.replica.runner], credentials, "acme").await;
    RunnerServiceClient::new(client.raw().expect("a channel"))
}

/// A runner of this name asks for work for a moment.
async fn ask(service: &mut RunnerServiceClient<RawChannel>, id: Uuid, engine: &str) -> Option<pb::Job> {
    let mut request = Request::new(asks(id, engine));
    request.set_timeout(Duration::from_millis(1200));
    service.acquire_job(request).await.expect("an answer").into_inner().job
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("ASCII"))
}

both_databases!(a_hostile_runner_gets_nothing_and_changes_nothing);

async fn a_hostile_runner_gets_nothing_and_changes_nothing(database: Database) {
    let world = World::new(database).await.with_sample().await;
    let pki = &world.installation.pki;
    world.admin.runner_pools().create("evil").send().await.expect("a pool");
    pki.issue("mallory", "runnerPools/evil/runners/mallory");
    pki.issue("colleague", "runnerPools/default/runners/colleague");
    let (mut mallory, mut colleague) = (service(&world, "mallory").await, service(&world, "colleague").await);
    let mut victim = Runner::new(&world).await;
    let mut tally = Tally::default();
    let t = &mut tally;

    // A run waits for the pool of others.
    let run = plan(&world.admin, "shop/dev/web").await;
    t.nothing("a job of another pool", ask(&mut mallory, Uuid::now_v7(), "native").await);
    let known = Uuid::now_v7();
    let job = ask(&mut victim.0, known, "native").await.expect("the victim gets it");
    t.nothing("the answer to somebody else's ask", ask(&mut mallory, known, "native").await);
    t.nothing("the answer to a colleague's ask", ask(&mut colleague, known, "native").await);

    claims(t, "of another pool", Code::NotFound, &mut mallory, &run, job.epoch).await;
    claims(t, "a colleague", Code::NotFound, &mut colleague, &run, job.epoch).await;
    let guessed = format!("{}/{}", run.rsplit_once('/').expect("a name").0, Uuid::now_v7());
    claims(t, "a guessed run", Code::NotFound, &mut mallory, &guessed, 1).await;
    let elsewhere = run.replace("tenants/acme", "tenants/globex");
    claims(t, "a tenant that does not exist", Code::NotFound, &mut mallory, &elsewhere, 1).await;
    let globex = world.tenant("globex").await;
    furnish(&globex).await;
    let other = plan(&globex, "shop/dev/web").await;
    claims(t, "a run of another tenant", Code::NotFound, &mut mallory, &other, 1).await;

    // Holding a job is no key to more than that job, at this time.
    let own = victim.0.clone();
    wrong_reports(t, own, &job).await;
    let state = |client: &Client| client.state().list_versions("shop/dev/web");
    assert!(state(&world.admin).collect_up_to(10).await.expect("states").is_empty(), "a plan writes no state");

    victim.complete(&job, planned(1, 0)).await;
    let before = world.admin.runs().get(&run).send().await.expect("a run").into_run();
    let failure =
        End::Failure(pb::JobFailure { error: Some(runs::RunError { code: "mallory".to_owned(), ..Default::default() }) });
    victim.complete(&job, failure).await;
    let after = world.admin.runs().get(&run).send().await.expect("a run").into_run();
    t.nothing("another end of the same job", (before.plan_digest != after.plan_digest || after.error.is_some()).then_some(after));

    let job = loop {
        match victim.ask().await {
            Some(job) if job.run == run => break job,
            Some(job) => victim.complete(&job, planned(0, 0)).await,
            None => panic!("the apply of {run} is not given out"),
        }
    };
    victim.report(&job, 1, vec![intended("random_pet.pet")], "").await;
    victim.complete(&job, applied("the state")).await;
    let done = world.admin.runs().get(&run).send().await.expect("a run").into_run();
    assert_eq!((done.phase, done.outcome), (RunPhase::Done, Some(RunOutcome::Succeeded)));
    claims(t, "a colleague, at the end", Code::NotFound, &mut colleague, &run, job.epoch).await;
    claims_of_the_past(t, &mut victim.0, &job).await;

    api_methods(t, &world, &run).await;
    tokens(t, &world).await;
    certificates(t, &world, &mut mallory).await;

    let states = state(&world.admin).collect_up_to(10).await.expect("states");
    assert_eq!(states.len(), 1, "the state is the victim's alone");
    let log: Vec<_> = world.admin.runs().get(&run).send().await.expect("a run").logs_so_far().try_collect().await.expect("a log");
    assert!(log.is_empty(), "{log:?}");
    println!("refused {} of {}", tally.tried - tally.wrong.len(), tally.tried);
    assert!(tally.wrong.is_empty(), "{}", tally.wrong.join("\n"));
    assert!(tally.tried >= 20);
}

/// What the holder of a lease says wrongly.
async fn wrong_reports(t: &mut Tally, mut service: RunnerServiceClient<RawChannel>, job: &pb::Job) {
    let run = || job.run.clone();
    for (what, epoch) in [("an old fence", job.epoch - 1), ("a fence of the future", job.epoch + 1)] {
        claims(t, what, Code::Aborted, &mut service, &job.run, epoch).await;
    }
    let log = |offset, lines| pb::AppendJobLogsRequest { run: run(), epoch: job.epoch, offset, lines };
    let line = |size: usize| runs::LogLine { text: "x".repeat(size), ..Default::default() };
    t.refused("a negative offset", Code::OutOfRange, service.append_job_logs(log(-1, vec![line(1)])).await);
    t.refused("an offset beyond the end", Code::OutOfRange, service.append_job_logs(log(1 << 40, vec![line(1)])).await);
    t.refused("too many lines", Code::InvalidArgument, service.append_job_logs(log(0, vec![line(1); 1001])).await);
    let huge = service.clone().max_encoding_message_size(64 << 20).append_job_logs(log(0, vec![line(17 << 20)])).await;
    t.refused("a line of 17 MiB", Code::ResourceExhausted, huge);

    let report = |sequence, entries, state: &[u8]| pb::ReportJobProgressRequest {
        run: run(),
        epoch: job.epoch,
        sequence,
        entries,
        state: state.to_vec(),
        ..Default::default()
    };
    let intended = || vec![intended("random_pet.pet")];
    t.refused("a negative number", Code::InvalidArgument, service.report_job_progress(report(-1, intended(), b"")).await);
    let unknown = vec![step("random_pet.pet", "approved")];
    t.refused("a step in no state", Code::InvalidArgument, service.report_job_progress(report(1, unknown, b"")).await);
    let many = vec![step("random_pet.pet", "done"); 1001];
    t.refused("too many steps", Code::InvalidArgument, service.report_job_progress(report(1, many, b"")).await);
    let answer = service.report_job_progress(report(1, Vec::new(), br#"{"state":"mallory"}"#)).await;
    t.refused("a state from a plan", Code::FailedPrecondition, answer);
    t.refused("steps from a plan", Code::FailedPrecondition, service.report_job_progress(report(1, intended(), b"")).await);
    let end = |result| pb::CompleteJobRequest { run: run(), epoch: job.epoch, result, ..Default::default() };
    t.refused("no result", Code::InvalidArgument, service.complete_job(end(None)).await);
    t.refused("an apply that was a plan", Code::FailedPrecondition, service.complete_job(end(Some(applied("mallory")))).await);
}

/// A job that has ended is nobody's.
async fn claims_of_the_past(t: &mut Tally, service: &mut RunnerServiceClient<RawChannel>, job: &pb::Job) {
    let (run, epoch) = (job.run.clone(), job.epoch);
    let extend = pb::ExtendLeaseRequest { run: run.clone(), epoch };
    t.refused("a finished run: to extend the lease", Code::Aborted, service.extend_lease(extend).await);
    let entries = vec![intended("random_pet.pet")];
    let report = pb::ReportJobProgressRequest {
        run,
        epoch,
        sequence: 9,
        entries,
        state: b"{\"state\":\"mallory\"}".to_vec(),
        ..Default::default()
    };
    t.refused("a finished run: to report a state", Code::Aborted, service.report_job_progress(report).await);
}

/// The listener of people, with a runner's certificate.
async fn api_methods(t: &mut Tally, world: &World, run: &str) {
    let client = world.client(world.installation.pki.credentials("mallory")).await;
    let tomorrow = Timestamp::now() + Duration::from_secs(86_400);
    let pools = client.runner_pools();
    for (what, wanted, got) in [
        ("to read a run", freehold::Code::NotFound, client.runs().get(run).send().await.err()),
        ("to read a state", freehold::Code::NotFound, client.state().list_versions("shop/dev/web").send().await.err()),
        ("to list tenants", freehold::Code::PermissionDenied, client.tenants().list().send().await.err()),
        ("to make a token", freehold::Code::PermissionDenied, pools.create_token("default", tomorrow).send().await.err()),
        ("to remove a runner", freehold::Code::PermissionDenied, pools.delete_runner("default/r1").send().await.err()),
    ] {
        t.tried += 1;
        if got.as_ref().map(freehold::Error::code) != Some(wanted) {
            t.wrong.push(format!("{what}: {got:?}, not {wanted:?}"));
        }
    }
}

/// Tokens that do not do, and requests that ask for more.
async fn tokens(t: &mut Tally, world: &World) {
    let pki = &world.installation.pki;
    let anonymous = world.installation.client(&[world.replica.runner], pki.trust(), "acme").await;
    let mut service = RunnerServiceClient::new(anonymous.raw().expect("a channel"));
    let pools = world.admin.runner_pools();
    let create = async |pool: &str, life: Duration| {
        let token = pools.create_token(pool, Timestamp::now() + life).send().await.expect("a token");
        (token.registration_token, token.secret.reveal().to_owned())
    };
    let hour = Duration::from_secs(3600);
    let register = |token: &str, pool: &str, name: &str, request: String| pb::RegisterRunnerRequest {
        token: token.to_owned(),
        parent: format!("runnerPools/{pool}"),
        runner_id: name.to_owned(),
        certificate_request: request,
    };
    let plain = || certificate_request(&KeyPair::generate().expect("a key"), |_| ());

    let (_, used) = create("default", hour).await;
    service.register_runner(register(&used, "default", "honest", plain())).await.expect("joined");
    t.refused(
        "a token that was used",
        Code::Unauthenticated,
        service.register_runner(register(&used, "default", "m", plain())).await,
    );
    let (revoked, secret) = create("default", hour).await;
    pools.revoke_token(&revoked.name).send().await.expect("revoked");
    t.refused(
        "a token that was revoked",
        Code::Unauthenticated,
        service.register_runner(register(&secret, "default", "m", plain())).await,
    );
    let (over, secret) = create("default", Duration::from_secs(1)).await;
    until("the end of a token", || async { over.expire_time.is_some_and(|end| Timestamp::now() > end) }).await;
    t.refused(
        "a token that is over",
        Code::Unauthenticated,
        service.register_runner(register(&secret, "default", "m", plain())).await,
    );
    let (_, evil) = create("evil", hour).await;
    t.refused(
        "a token of another pool",
        Code::Unauthenticated,
        service.register_runner(register(&evil, "default", "m", plain())).await,
    );
    let guess = format!("fhr_{}", "A".repeat(43));
    t.refused("a guessed token", Code::Unauthenticated, service.register_runner(register(&guess, "default", "m", plain())).await);
    let (_, token) = create("default", hour).await;
    t.refused(
        "the name of who is there",
        Code::AlreadyExists,
        service.register_runner(register(&token, "default", "honest", plain())).await,
    );

    for (what, request) in greedy("spiffe://freehold.test/runnerPools/default/runners/m") {
        t.refused(what, Code::InvalidArgument, service.register_runner(register(&token, "default", "m", request)).await);
    }
    t.refused(
        "a renewal by nobody",
        Code::Unauthenticated,
        service.renew_certificate(pb::RenewCertificateRequest::default()).await,
    );
    t.refused("a heartbeat of nobody", Code::Unauthenticated, service.heartbeat(pb::HeartbeatRequest::default()).await);
}

/// Requests of certificates that ask for more than this identity.
fn greedy(own: &str) -> Vec<(&'static str, String)> {
    let ask = |change: &dyn Fn(&mut CertificateParams)| certificate_request(&KeyPair::generate().expect("a key"), change);
    let own = own.to_owned();
    vec![
        ("the identity of an administrator", ask(&|p| p.subject_alt_names.push(uri("spiffe://freehold.test/platform/admin")))),
        (
            "the identity of another runner",
            ask(&|p| p.subject_alt_names.push(uri("spiffe://freehold.test/runnerPools/default/runners/r1"))),
        ),
        (
            "a host name beside its own",
            ask(&|p| p.subject_alt_names.extend([uri(&own), SanType::DnsName("freehold.test".try_into().expect("ASCII"))])),
        ),
        ("to be an authority", ask(&|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))),
        ("no request at all", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n".to_owned()),
    ]
}

/// Certificates beyond its own.
async fn certificates(t: &mut Tally, world: &World, mallory: &mut RunnerServiceClient<RawChannel>) {
    for (what, request) in greedy("spiffe://freehold.test/runnerPools/evil/runners/mallory") {
        let ask = pb::RenewCertificateRequest { certificate_request: request };
        t.refused(&format!("renewed: {what}"), Code::InvalidArgument, mallory.renew_certificate(ask).await);
    }
    let foreign = Pki::create(&world.installation.path("foreign"));
    foreign.issue("mallory", "runnerPools/default/runners/r1");
    let credentials = foreign.credentials("mallory").ca_file(world.installation.pki.path("ca.crt"));
    let client = world.installation.client(&[world.replica.runner], credentials, "acme").await;
    let mut service = RunnerServiceClient::new(client.raw().expect("a channel"));
    t.refused(
        "a certificate of an authority of its own",
        Code::Unauthenticated,
        service.heartbeat(pb::HeartbeatRequest::default()).await,
    );
}
