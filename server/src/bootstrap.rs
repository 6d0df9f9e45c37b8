//! Connections that the environment of the server describes, as deploy/connections.md says.

use std::{collections::BTreeMap, env, fs, path::PathBuf};

use freehold_domain::{
    Reason,
    connections::Secrets,
    names::{Id, TenantName},
};
use freehold_service::{
    App,
    connections::{Given, bootstrap},
};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::Failure;

/// What such variables begin with.
const PREFIX: &str = "FREEHOLD_CONNECTION_";

/// The value of a variable.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Described {
    connector: String,
    #[serde(default)]
    settings: Map<String, Value>,
    #[serde(default)]
    credentials: BTreeMap<String, Source>,
    tenant: Option<Id>,
    id: Option<Id>,
}

/// Where a credential is.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Source {
    Env(String),
    File(PathBuf),
    Value(String),
}

/// Makes every connection that the environment describes, or makes those that are there like it.
///
/// A variable that cannot be read stops the start. One that is read and cannot be carried out is told of in the log: the tenant that
/// it names may not be there yet, and the others are not to wait for that.
pub async fn connections(app: &App) -> Result<(), Failure> {
    for (variable, text) in env::vars_os() {
        let Some(rest) = variable.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        let given = read(rest, text.to_str().unwrap_or_default()).map_err(|why| format!("{PREFIX}{rest}: {why}"))?;
        // Another replica may be about the same.
        let done = match bootstrap(app, given.clone()).await {
            Err(error) if matches!(error.reason(), Reason::ResourceExists | Reason::EtagMismatch) => bootstrap(app, given).await,
            done => done,
        };
        match done {
            Ok(connection) => tracing::info!(%connection, "a connection is as the environment describes it"),
            Err(error) => {
                tracing::error!(variable = format!("{PREFIX}{rest}"), error = error.chain(), "a connection could not be made");
            }
        }
    }
    Ok(())
}

/// No error quotes the value: credentials may be in it.
fn read(name: &str, text: &str) -> Result<Given, String> {
    let described: Described = serde_json::from_str(text).map_err(|error| {
        let at = error.column();
        format!("not JSON with connector, settings and credentials (column {at}); deploy/connections.md shows one")
    })?;
    let meant = match (described.tenant, described.id) {
        (Some(tenant), Some(id)) => vec![(TenantName { tenant }, id)],
        (None, None) => meant(name),
        _ => return Err("`tenant` and `id` go together".to_owned()),
    };
    if meant.is_empty() {
        return Err("write the name as FREEHOLD_CONNECTION_{TENANT}_{ID}".to_owned());
    }
    let credentials: Result<_, String> =
        described.credentials.into_iter().map(|(slot, source)| Ok((slot.clone(), source.read(&slot)?))).collect();
    Ok(Given { meant, connector: described.connector, settings: described.settings, credentials: Secrets(credentials?) })
}

/// Every tenant and id that the name may stand for: capitals are small letters, and each `_` is the end of the tenant or a `-`.
fn meant(name: &str) -> Vec<(TenantName, Id)> {
    let name = name.to_ascii_lowercase();
    let split = |(at, _): (usize, &str)| {
        let (tenant, id) = (name[..at].replace('_', "-"), name[at + 1..].replace('_', "-"));
        Some((TenantName { tenant: tenant.parse().ok()? }, id.parse().ok()?))
    };
    name.match_indices('_').filter_map(split).collect()
}

impl Source {
    fn read(self, slot: &str) -> Result<String, String> {
        match self {
            Self::Value(value) => Ok(value),
            Self::Env(name) => env::var(&name).map_err(|_| format!("credential `{slot}`: there is no variable {name}")),
            Self::File(path) => {
                let text = fs::read_to_string(&path);
                let text = text.map_err(|error| format!("credential `{slot}`: {}: {error}", path.display()))?;
                Ok(text.trim_end_matches(['\r', '\n']).to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_for_every_way_to_split_it() {
        let names = |name| meant(name).into_iter().map(|(tenant, id)| format!("{tenant}/{id}")).collect::<Vec<_>>();
        assert_eq!(names("ACME_OPS"), ["tenants/acme/ops"]);
        assert_eq!(names("ACME_OPS_SLACK"), ["tenants/acme/ops-slack", "tenants/acme-ops/slack"]);
        assert!(names("ACME").is_empty() && names("_").is_empty());
    }

    #[test]
    fn a_variable_is_read_and_no_error_quotes_it() {
        let text = r#"{"connector": "slack", "credentials": {"bot_token": {"value": "hunter2"}}, "tenant": "acme", "id": "a_b"}"#;
        assert!(!read("X", text).expect_err("no id").contains("hunter2"));
        let given = read("X_Y", &text.replace("a_b", "ops")).expect("it is right");
        assert_eq!((given.meant.len(), given.credentials.0["bot_token"].as_str()), (1, "hunter2"));
        let missing = r#"{"connector": "slack", "credentials": {"bot_token": {"file": "/nowhere/at/all"}}}"#;
        assert!(read("ACME_OPS", missing).expect_err("no file").contains("`bot_token`"));
    }
}
