//! The engine that is built in: files, random values, TLS keys and certificates, REST services and PostgreSQL, without any
//! other program.

mod checks;
mod draw;
mod drawn;
mod drift;
mod evaluation;
mod executor;
mod file;
mod graph;
mod http;
mod ledger;
mod limited;
mod narrator;
mod plan;
mod planner;
mod postgres;
mod provider;
mod random_id;
mod random_password;
mod random_pet;
mod schema;
mod state;
mod tls_certificate;
mod tls_key;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use freehold_domain::{
    blueprints::{Diagnostic, Document},
    time::{Clock, Random},
};
use futures::future::{BoxFuture, FutureExt};

use crate::{ApplyRequest, Engine, MadePlan, Mode, Outcome, PlanRequest, Rules, Sink, StepError};
pub use plan::{Change, Operation, Plan, Planned, PlannedOutput, Step};
use provider::Provider;
pub use state::{Attributes, Resource, State};

pub use http::Policy as HostPolicy;

/// What a runner allows the native engine.
#[derive(Clone, Debug, Default)]
pub struct NativeSettings {
    /// Folder that files are kept in; nothing outside of it is touched. It must exist when the first file is made.
    pub file_root: PathBuf,
    /// Loopback and private networks may be reached. Link-local addresses never may.
    pub allow_private: bool,
    /// Hosts that may be reached; `*.example.com` stands for all below it. Empty means every host.
    pub allowed_hosts: Vec<String>,
}

/// The engine `native`.
pub struct NativeEngine {
    providers: BTreeMap<&'static str, Box<dyn Provider>>,
}

impl NativeEngine {
    /// The name in blueprints and jobs.
    pub const NAME: &'static str = "native";

    /// An engine within these limits.
    pub fn new(settings: NativeSettings, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        let policy = Arc::new(http::Policy::new(settings.allowed_hosts, settings.allow_private));
        let servers = postgres::Servers(Arc::clone(&policy));
        let providers: Vec<Box<dyn Provider>> = vec![
            Box::new(file::FileProvider::new(settings.file_root)),
            Box::new(http::Http::new(policy, Arc::clone(&clock))),
            Box::new(postgres::PostgresDatabase::new(servers.clone())),
            Box::new(postgres::PostgresGrant::new(servers.clone())),
            Box::new(postgres::PostgresRole::new(servers.clone(), Arc::clone(&random))),
            Box::new(postgres::PostgresSchema::new(servers)),
            Box::new(random_id::RandomId::new(Arc::clone(&random))),
            Box::new(random_password::RandomPassword::new(Arc::clone(&random))),
            Box::new(random_pet::RandomPet::new(Arc::clone(&random))),
            Box::new(tls_certificate::TlsCertificate::new(clock, random)),
            Box::new(tls_key::TlsKey::new()),
        ];
        Self { providers: providers.into_iter().map(|provider| (provider.schema().kind, provider)).collect() }
    }

    fn provider(&self, kind: &str) -> Result<&dyn Provider, StepError> {
        self.providers.get(kind).map(AsRef::as_ref).ok_or_else(|| {
            StepError::new("unknown-type", format!("there is no resource type `{}`", shown(kind)))
                .hint(format!("there are {}", self.providers.keys().copied().collect::<Vec<_>>().join(", ")))
        })
    }
}

impl Rules for NativeEngine {
    fn engine(&self) -> &'static str {
        Self::NAME
    }

    fn validate(&self, document: &Document) -> Vec<Diagnostic> {
        checks::validate(self, document)
    }
}

impl Engine for NativeEngine {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    /// For the same request and the same findings the plan is the same to the byte.
    fn plan<'a>(&'a self, request: PlanRequest, sink: &'a dyn Sink) -> BoxFuture<'a, Result<MadePlan, StepError>> {
        async move {
            let plan = match request.mode {
                Mode::Apply | Mode::Destroy => planner::plan(self, request, sink).await?,
                Mode::Drift => drift::report(self, request, sink).await?,
            };
            Ok(MadePlan { bytes: plan.to_bytes(), summary: plan.summary_for_people() })
        }
        .boxed()
    }

    fn apply<'a>(&'a self, request: ApplyRequest, sink: &'a dyn Sink) -> BoxFuture<'a, Result<Outcome, StepError>> {
        async move { executor::apply(self, Plan::from_bytes(&request.plan)?, request.journal, sink).await }.boxed()
    }
}

/// A text from outside as it may stand in a message: short, on one line.
fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(80).map(|c| if c.is_control() { '?' } else { c }).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
