//! Connectors for the service: its port on the library that talks to other systems.

use std::{sync::Arc, time::Duration};

use freehold_connectors::{
    CheckReport, Connector as Vendor, ConnectorError, Context, Credentials, ErrorKind, LATENCY_BOUNDS, Manifest,
    Reason as Refusal, Registry, Totals, Trees,
};
use freehold_domain::{
    Error, Reason, Violation,
    blueprints::Folder,
    commands::Ask,
    connections::{
        Check, Connector, Health, Inbound, InboundRequest, Operation, Received, Refused, Secrets, Slot, Target, below,
    },
    scrapes::Missed,
    time::{Clock, Timestamp, Uid},
};
use freehold_service::{
    Connectors,
    connectors::{Answer, Call, Figures},
};
use serde_json::Value;

/// What a failure is about when it is no operation.
const OPEN: &str = "open";
const RESOLVE: &str = "trees.resolve";
const FOLDERS: &str = "trees.folders";
const MISSED: &str = "deliveries.missed";
const REDELIVER: &str = "deliveries.redeliver";

/// The connectors of this process.
pub struct Registered {
    registry: Arc<Registry>,
    clock: Arc<dyn Clock>,
    catalogue: Vec<Connector>,
}

impl Registered {
    /// Those of a registry.
    pub fn new(registry: Arc<Registry>, clock: Arc<dyn Clock>) -> Self {
        let described = |connector: &Arc<dyn Vendor>| described(connector.manifest(), connector.trees().is_some());
        let catalogue = registry.connectors().map(described).collect();
        Self { registry, clock, catalogue }
    }

    fn context(&self, target: &Target, time: Duration) -> Result<(&Arc<dyn Vendor>, Context), ConnectorError> {
        let credentials = Arc::new(credentials(&target.credentials));
        let uid = target.uid.to_string();
        let context =
            self.registry.context(&uid, target.revision, &target.connector, &target.settings, credentials)?.within(time);
        let missing = || ConnectorError::unconfigured(format!("there is no connector `{}`", target.connector));
        Ok((self.registry.connector(&target.connector).ok_or_else(missing)?, context))
    }

    fn trees(&self, target: &Target, time: Duration) -> Result<(&dyn Trees, Context), ConnectorError> {
        let (connector, context) = self.context(target, time)?;
        let none = || ConnectorError::unconfigured(format!("{} has no repositories", target.connector));
        Ok((connector.trees().ok_or_else(none)?, context))
    }
}

impl Connectors for Registered {
    fn catalogue(&self) -> &[Connector] {
        &self.catalogue
    }

    fn check(&self, connector: &str, settings: &Value) -> Vec<Violation> {
        self.registry.connector(connector).map(|connector| connector.check(settings)).unwrap_or_default()
    }

    fn invoke<'a>(&'a self, target: &'a Target, call: Call) -> Answer<'a, Result<Value, Error>> {
        Box::pin(async move {
            let (connector, mut context) =
                self.context(target, call.time).map_err(|error| failed(&target.connector, OPEN, error))?;
            if let Some(key) = call.key {
                context = context.keyed(key);
            }
            if call.dry_run {
                context = context.dry_run();
            }
            let result = connector.invoke(&context, &call.operation, call.input).await;
            result.map_err(|error| failed(&target.connector, &call.operation, error))
        })
    }

    fn test<'a>(&'a self, target: &'a Target, time: Duration) -> Answer<'a, Check> {
        Box::pin(async move {
            let report = match self.context(target, time) {
                Ok((connector, context)) => connector.test(&context).await,
                Err(error) => CheckReport {
                    ok: false,
                    detail: error.message.clone(),
                    identity: None,
                    scopes: Vec::new(),
                    version: None,
                    error: Some(error),
                },
            };
            Check {
                time: self.clock.now(),
                ok: report.ok,
                detail: report.detail,
                identity: report.identity.unwrap_or_default(),
                scopes: report.scopes,
                version: report.version.unwrap_or_default(),
                error_kind: report.error.map(|error| error.kind.to_string()).unwrap_or_default(),
            }
        })
    }

    fn resolve<'a>(
        &'a self,
        target: &'a Target,
        repository: &'a str,
        revision: &'a str,
        time: Duration,
    ) -> Answer<'a, Result<String, Error>> {
        Box::pin(async move {
            let (trees, context) = self.trees(target, time).map_err(|error| failed(&target.connector, OPEN, error))?;
            let commit = trees.resolve(&context, repository, revision).await;
            commit.map_err(|error| wrong_or_failed(&target.connector, RESOLVE, error))
        })
    }

    fn folders<'a>(
        &'a self,
        target: &'a Target,
        repository: &'a str,
        commit: &'a str,
        folders: &'a [String],
        time: Duration,
    ) -> Answer<'a, Result<Vec<Folder>, Error>> {
        Box::pin(async move {
            let (trees, context) = self.trees(target, time).map_err(|error| failed(&target.connector, OPEN, error))?;
            let found = trees.folders(&context, repository, commit, folders).await;
            found.map_err(|error| wrong_or_failed(&target.connector, FOLDERS, error))
        })
    }

    fn tells_missed(&self, connector: &str, settings: &Value) -> bool {
        self.registry.connector(connector).is_some_and(|connector| connector.tells_missed(settings))
    }

    fn missed<'a>(&'a self, target: &'a Target, since: Timestamp, time: Duration) -> Answer<'a, Result<Vec<Missed>, Error>> {
        Box::pin(async move {
            let (connector, context) = self.context(target, time).map_err(|error| failed(&target.connector, OPEN, error))?;
            connector.missed(&context, since).await.map_err(|error| failed(&target.connector, MISSED, error))
        })
    }

    fn redeliver<'a>(&'a self, target: &'a Target, missed: &'a Missed, time: Duration) -> Answer<'a, Result<(), Error>> {
        Box::pin(async move {
            let (connector, context) = self.context(target, time).map_err(|error| failed(&target.connector, OPEN, error))?;
            connector.redeliver(&context, missed).await.map_err(|error| failed(&target.connector, REDELIVER, error))
        })
    }

    fn health(&self, uid: Uid) -> Option<Health> {
        let snapshot = self.registry.snapshot(&uid.to_string())?;
        Some(Health {
            breaker: snapshot.breaker.as_str(),
            remaining: snapshot.remaining,
            in_flight: snapshot.in_flight,
            waiting: snapshot.waiting,
        })
    }

    fn close(&self, uid: Uid) {
        self.registry.close(&uid.to_string());
    }

    fn figures(&self) -> Vec<Figures> {
        let figures = |(connector, totals): (&'static str, Totals)| {
            let counted = totals.counted;
            let mut below = 0;
            let latency = LATENCY_BOUNDS.into_iter().zip(counted.latency).map(|(bound, count)| {
                let within = count - below;
                below = count;
                (bound, within)
            });
            let mut latency: Vec<_> = latency.collect();
            latency.push((f64::INFINITY, counted.requests - below));
            Figures {
                connector,
                calls: counted.calls.into_iter().map(|((operation, outcome), count)| (operation, outcome, count)).collect(),
                retries: counted.retries,
                requests: counted.requests,
                took: counted.took,
                latency,
                open_breakers: totals.open_breakers,
                in_flight: totals.in_flight,
                waiting: totals.waiting,
            }
        };
        self.registry.totals().into_iter().map(figures).collect()
    }

    fn verify(&self, connector: &str, settings: &Value, secrets: &Secrets, request: InboundRequest) -> Result<Received, Refused> {
        let InboundRequest { headers, body, received } = request;
        let request = freehold_connectors::InboundRequest { headers, body, received };
        let connector = self.registry.connector(connector);
        let missing = || Refused { reason: "unconfigured", message: "there is no such connector".to_owned() };
        let inbound = connector.ok_or_else(missing)?.verify(settings, &credentials(secrets), &request).map_err(|refused| {
            let reason = match refused.reason {
                Refusal::Missing => "missing",
                Refusal::Forged => "forged",
                Refusal::Late => "late",
                Refusal::Malformed => "malformed",
                Refusal::Unconfigured => "unconfigured",
            };
            Refused { reason, message: refused.message }
        })?;
        Ok(Received {
            delivery_id: inbound.delivery_id,
            digest: inbound.digest,
            kind: inbound.kind,
            payload: inbound.payload,
            reply: inbound.reply,
        })
    }

    fn ask(&self, connector: &str, kind: &str, payload: &Value) -> Option<Ask> {
        self.registry.connector(connector)?.ask(kind, payload)
    }
}

fn credentials(secrets: &Secrets) -> Credentials {
    secrets.0.iter().map(|(slot, value)| (slot.as_str(), value.as_str())).collect()
}

fn described(manifest: &Manifest, has_trees: bool) -> Connector {
    let operation = |known: &freehold_connectors::Operation| Operation {
        name: known.name,
        summary: known.summary,
        effect: known.effect.as_str(),
        input: known.input.clone(),
        output: known.output.clone(),
    };
    Connector {
        kind: manifest.kind,
        display_name: manifest.display_name,
        summary: manifest.summary,
        settings: manifest.settings.clone(),
        slots: manifest
            .credentials
            .iter()
            .map(|slot| Slot { name: slot.name, summary: slot.summary, required: slot.required })
            .collect(),
        operations: manifest.operations.iter().map(operation).collect(),
        inbound: manifest.inbound.as_ref().map(|inbound| Inbound { slot: inbound.credential, kinds: inbound.kinds }),
        has_trees,
    }
}

/// What is wrong with what was asked for, by its own names, or what failed.
fn wrong_or_failed(connector: &str, operation: &str, error: ConnectorError) -> Error {
    if error.kind == ErrorKind::Invalid && !error.violations.is_empty() {
        return Error::invalid(error.violations);
    }
    failed(connector, operation, error)
}

/// The only place where a failure of a vendor becomes one of ours.
fn failed(connector: &str, operation: &str, error: ConnectorError) -> Error {
    if error.kind == ErrorKind::Invalid && !error.violations.is_empty() {
        return Error::invalid(below("input", error.violations));
    }
    let refused_address = error.vendor_code.as_deref() == Some("address_refused");
    let reason = match error.kind {
        // What was never sent says something about the connection, not about the vendor.
        ErrorKind::Invalid if refused_address => Reason::ConnectionUnconfigured,
        ErrorKind::Unconfigured => Reason::ConnectionUnconfigured,
        ErrorKind::Auth => Reason::ConnectionAuthFailed,
        ErrorKind::Permission => Reason::ConnectionPermissionDenied,
        ErrorKind::NotFound => Reason::VendorNotFound,
        ErrorKind::Conflict => Reason::VendorConflict,
        ErrorKind::Throttled => Reason::VendorThrottled,
        ErrorKind::Transient | ErrorKind::CircuitOpen => Reason::VendorUnavailable,
        ErrorKind::Invalid | ErrorKind::Permanent => Reason::VendorRefused,
    };
    let mut told = Error::new(reason, format!("{connector}: {}", error.message))
        .with("connector", connector)
        .with("operation", operation)
        .with("maybe_done", error.maybe_done);
    if let Some(status) = error.vendor_status {
        told = told.with("vendor_status", status);
    }
    if let Some(code) = error.vendor_code {
        told = told.with("vendor_code", code);
    }
    if let Some(id) = error.vendor_request_id {
        told = told.with("vendor_request_id", id);
    }
    match error.retry_after {
        Some(wait) => told.retry_after(wait),
        None if matches!(reason, Reason::VendorThrottled | Reason::VendorUnavailable) => told.retry_after(SOON),
        None => told,
    }
}

/// When to come back where the vendor does not say.
const SOON: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_failure_has_its_reason_and_facts() {
        for kind in ErrorKind::ALL {
            let mut error = ConnectorError::new(kind, "no").maybe_done(true).code("nope");
            (error.vendor_status, error.vendor_request_id) = (Some(500), Some("r-1".into()));
            let told = failed("github", "issues.create", error);
            let facts: Vec<_> = told.metadata().iter().map(|(name, value)| format!("{name}={value}")).collect();
            let expected = [
                "connector=github",
                "maybe_done=true",
                "operation=issues.create",
                "vendor_code=nope",
                "vendor_request_id=r-1",
                "vendor_status=500",
            ];
            assert_eq!(facts, expected, "{kind}");
            assert_eq!(told.retry_delay().is_some(), kind.passes(), "{kind}");
        }
        let wrong = ConnectorError::invalid(vec![Violation::new("channel", "is missing"), Violation::new("", "is no object")]);
        let told = failed("slack", "messages.post", wrong);
        let fields: Vec<_> = told.violations().iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!((told.reason(), fields), (Reason::FieldInvalid, vec!["input.channel", "input"]));
    }
}
