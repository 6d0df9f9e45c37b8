//! Which secrets a runner reads, as the file of its operator says it.
//!
//! For each place it says whose deployments may read there. A place of the kind vault also says what the runner proves itself with:
//! were that the tenant's to say, a tenant could have a shared runner read as the role of another one.

use std::path::{Path, PathBuf};

use freehold_domain::{
    Violations,
    iam::Scope,
    names::DeploymentName,
    secret_stores::{Directory, Driver, Environment, Vault},
    secrets::is_path,
};
use serde::Deserialize;

/// Largest file.
const MOST: u64 = 1 << 20;
/// Stands for every path of an engine.
const EVERY: &str = "*";

/// One place, and who may have secrets read there.
#[derive(Clone, Debug)]
pub(super) struct Allowed {
    scopes: Vec<Scope>,
    pub place: Place,
}

/// A place where secrets are.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Vault(Box<VaultPlace>),
    Environment(Environment),
    Directory(Directory),
}

/// A key-value engine, what may be read of it, and as whom.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VaultPlace {
    address: String,
    #[serde(default)]
    pub namespace: String,
    mount: String,
    kv_version: i32,
    /// Beginnings of paths, by whole parts.
    paths: Vec<String>,
    /// Authorities that its certificate has to be of; those of the system without it.
    pub ca_file: Option<PathBuf>,
    pub auth: Auth,
}

/// What a runner proves itself with.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Auth {
    /// A token that something else renews.
    Token { file: PathBuf },
    /// A role and its secret id.
    Approle {
        #[serde(default = "approle")]
        mount: String,
        role_id: String,
        secret_id_file: PathBuf,
    },
    /// A token of the platform: of a service account of Kubernetes, or any other JWT.
    Jwt { mount: String, role: String, file: PathBuf },
    /// A client certificate.
    Cert {
        #[serde(default = "cert")]
        mount: String,
        role: String,
        certificate_file: PathBuf,
        key_file: PathBuf,
    },
}

fn approle() -> String {
    "approle".to_owned()
}

fn cert() -> String {
    "cert".to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    stores: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    scopes: Vec<String>,
    vault: Option<VaultPlace>,
    environment: Option<Environment>,
    directory: Option<Directory>,
}

/// Reads the operator's file.
pub(super) fn read(file: &Path) -> Result<Vec<Allowed>, String> {
    let of_file = |why: String| format!("{}: {why}", file.display());
    let unreadable = |error: std::io::Error| of_file(format!("it cannot be read: {error}"));
    if std::fs::metadata(file).map_err(unreadable)?.len() > MOST {
        return Err(of_file(format!("it has more than {MOST} bytes")));
    }
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    let read: File = serde_json::from_str(&text).map_err(|error| of_file(error.to_string()))?;
    let mut wrong = Violations::new();
    let allowed: Vec<_> = read.stores.into_iter().enumerate().filter_map(|(at, entry)| entry.read(at, &mut wrong)).collect();
    wrong.finish().map_err(|error| {
        let all: Vec<_> = error.violations().iter().map(|wrong| format!("{}: {}", wrong.field, wrong.description)).collect();
        of_file(all.join("; "))
    })?;
    Ok(allowed)
}

impl Entry {
    fn read(self, at: usize, wrong: &mut Violations) -> Option<Allowed> {
        let at = format!("stores[{at}]");
        if self.scopes.is_empty() {
            wrong.add(format!("{at}.scopes"), "name whose deployments may read here: tenants, projects, environments");
        }
        let scopes = self.scopes.iter().enumerate();
        let scopes: Vec<_> =
            scopes.filter_map(|(index, scope)| wrong.check(&format!("{at}.scopes[{index}]"), scope.parse::<Scope>())).collect();
        let place = match (self.vault, self.environment, self.directory) {
            (Some(vault), None, None) => Place::Vault(Box::new(vault)),
            (None, Some(environment), None) => Place::Environment(environment),
            (None, None, Some(directory)) => Place::Directory(directory),
            _ => {
                wrong.add(at, "one of `vault`, `environment` and `directory`");
                return None;
            }
        };
        place.driver().check(&at, wrong);
        if let Place::Vault(vault) = &place {
            vault.check(&format!("{at}.vault"), wrong);
        }
        Some(Allowed { scopes, place })
    }
}

impl VaultPlace {
    /// Where it is, as the operator says it.
    pub fn address(&self) -> &str {
        &self.address
    }

    fn check(&self, at: &str, wrong: &mut Violations) {
        if self.paths.is_empty() {
            wrong.add(format!("{at}.paths"), "name the beginnings of the paths that may be read, or `*` for all of the engine");
        }
        for (index, path) in self.paths.iter().enumerate().filter(|(_, path)| *path != EVERY) {
            wrong.check(&format!("{at}.paths[{index}]"), is_path(path));
        }
        if let Auth::Approle { mount, .. } | Auth::Jwt { mount, .. } | Auth::Cert { mount, .. } = &self.auth {
            wrong.check(&format!("{at}.auth.mount"), is_path(mount));
        }
    }
}

impl Allowed {
    /// Whether it is about this deployment.
    pub fn covers(&self, deployment: &DeploymentName) -> bool {
        let name = deployment.to_string();
        self.scopes.iter().any(|scope| name.strip_prefix(&scope.to_string()).is_some_and(|rest| rest.starts_with('/')))
    }
}

impl Place {
    /// The same as a tenant would say it.
    fn driver(&self) -> Driver {
        match self {
            Self::Vault(place) => {
                let VaultPlace { address, namespace, mount, kv_version, .. } = (**place).clone();
                Driver::Vault(Vault { address, namespace, mount, kv_version })
            }
            Self::Environment(environment) => Driver::Environment(environment.clone()),
            Self::Directory(directory) => Driver::Directory(directory.clone()),
        }
    }

    /// Whether a secret at this path of a store is in it.
    ///
    /// Of an engine everything has to be as it is here, its version too: the other one reads the same words as another path.
    pub fn holds(&self, driver: &Driver, path: &str) -> bool {
        match (self, driver) {
            (Self::Vault(place), Driver::Vault(_)) => {
                let begins = |begin: &String| begin == EVERY || is_below(path, begin);
                self.driver() == *driver && place.paths.iter().any(begins)
            }
            (Self::Environment(place), Driver::Environment(store)) => store.prefix.starts_with(&place.prefix),
            (Self::Directory(place), Driver::Directory(store)) => is_below(&store.path, &place.path),
            _ => false,
        }
    }
}

/// Whether a path is this one or below it, by whole parts.
fn is_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn written(content: &Value) -> Result<Vec<Allowed>, String> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), content.to_string()).expect("it can be written");
        read(file.path())
    }

    fn vault(paths: &[&str]) -> Value {
        json!({ "scopes": ["tenants/acme/projects/shop"], "vault": {
            "address": "https://vault.example:8200", "mount": "secret", "kv_version": 2, "paths": paths,
            "auth": { "token": { "file": "/run/token" } },
        } })
    }

    #[test]
    fn everything_wrong_with_a_file_is_named_at_once() {
        let wrong = written(&json!({ "stores": [
            { "scopes": [], "environment": { "prefix": "" } },
            { "scopes": ["acme"], "directory": { "path": "/run" }, "environment": { "prefix": "A_" } },
            vault(&[]),
            vault(&["../x"]),
        ] }))
        .expect_err("six faults");
        for field in [
            "stores[0].scopes:",
            "stores[0].environment.prefix:",
            "stores[1].scopes[0]:",
            "stores[1]:",
            "stores[2].vault.paths:",
            "stores[3].vault.paths[0]:",
        ] {
            assert!(wrong.contains(field), "{field} in {wrong}");
        }
        assert!(written(&json!({ "stores": [], "more": 1 })).is_err(), "an option that nobody knows may be one that is meant");
        assert!(written(&json!({ "stores": [] })).expect("nothing is allowed").is_empty());
    }

    #[test]
    fn what_is_allowed_is_for_whom_it_says_and_no_wider() {
        let allowed = written(&json!({ "stores": [
            vault(&["db", "web/prod"]),
            { "scopes": ["tenants/acme"], "environment": { "prefix": "ACME_" } },
            { "scopes": ["tenants/acme"], "directory": { "path": "/run/secrets/acme" } },
        ] }))
        .expect("right");
        let covered = |name: &str| {
            let name: DeploymentName = format!("tenants/{name}").parse().expect("a name");
            allowed.iter().map(|allowed| allowed.covers(&name)).collect::<Vec<_>>()
        };
        assert_eq!(covered("acme/projects/shop/environments/dev/deployments/web"), [true, true, true]);
        assert_eq!(covered("acme/projects/shop2/environments/dev/deployments/web"), [false, true, true]);
        assert_eq!(covered("acme2/projects/shop/environments/dev/deployments/web"), [false, false, false]);

        let engine = |address: &str, namespace: &str, mount: &str, kv_version| {
            let (address, namespace, mount) = (address.to_owned(), namespace.to_owned(), mount.to_owned());
            Driver::Vault(Vault { address, namespace, mount, kv_version })
        };
        let ours = engine("https://vault.example:8200", "", "secret", 2);
        let first = &allowed[0].place;
        for (path, held) in
            [("db", true), ("db/prod", true), ("db2", false), ("web", false), ("web/prod/x", true), ("web/production", false)]
        {
            assert_eq!(first.holds(&ours, path), held, "{path}");
        }
        for other in [
            engine("https://vault.example", "", "secret", 2),
            engine("https://vault.example:8200", "rival", "secret", 2),
            engine("https://vault.example:8200", "", "secret/db", 2),
            engine("https://vault.example:8200", "", "secret", 1),
        ] {
            assert!(!first.holds(&other, "db"), "{other:?}");
        }
        let variables = |prefix: &str| Driver::Environment(Environment { prefix: prefix.to_owned() });
        let second = &allowed[1].place;
        assert!(second.holds(&variables("ACME_"), "X") && second.holds(&variables("ACME_DB_"), "X"));
        assert!(!second.holds(&variables("ACME2_"), "X") && !second.holds(&variables("A_"), "X"));
        let files = |path: &str| Driver::Directory(Directory { path: path.to_owned() });
        let third = &allowed[2].place;
        assert!(third.holds(&files("/run/secrets/acme"), "x") && third.holds(&files("/run/secrets/acme/db"), "x"));
        assert!(!third.holds(&files("/run/secrets"), "acme/x") && !third.holds(&files("/run/secrets/acme2"), "x"));
        assert!(!third.holds(&ours, "db"), "of another kind");
    }
}
