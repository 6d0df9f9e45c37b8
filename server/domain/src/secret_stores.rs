//! Stores of secrets that a tenant has of its own: where they are, and what may be asked of them.
//!
//! A store says where secrets are and nothing of who may read them: what proves a runner to a store, and which stores it goes to at
//! all, is for the operator of the runner to say.

use serde::{Deserialize, Serialize};

use crate::{error::Violations, names::SecretStoreName, resource::Meta, secrets::is_path};

/// Longest address, directory or prefix, in bytes.
const LONGEST: usize = 512;

/// A store of secrets of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct SecretStore {
    pub name: SecretStoreName,
    pub meta: Meta,
    pub description: String,
    pub driver: Driver,
}

/// How secrets are read, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Driver {
    /// A key-value engine of HashiCorp Vault or OpenBao.
    Vault(Vault),
    /// Variables of the runner's environment.
    Environment(Environment),
    /// Files on the runner's machine.
    Directory(Directory),
}

/// A key-value engine of HashiCorp Vault or OpenBao.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct Vault {
    pub address: String,
    #[serde(default)]
    pub namespace: String,
    pub mount: String,
    pub kv_version: i32,
}

/// Variables of the runner's environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// What the names of the variables begin with; ends with `_`.
    pub prefix: String,
}

/// Files on the runner's machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Directory {
    /// An absolute path.
    pub path: String,
}

impl Driver {
    /// Its name.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Vault(_) => "vault",
            Self::Environment(_) => "environment",
            Self::Directory(_) => "directory",
        }
    }

    /// Notes everything that is wrong; `at` is the field that holds the store.
    pub fn check(&self, at: &str, fields: &mut Violations) {
        match self {
            Self::Vault(vault) => vault.check(&format!("{at}.vault"), fields),
            Self::Environment(environment) => {
                fields.check(&format!("{at}.environment.prefix"), is_prefix(&environment.prefix));
            }
            Self::Directory(directory) => {
                fields.check(&format!("{at}.directory.path"), is_directory(&directory.path));
            }
        }
    }
}

impl Vault {
    fn check(&self, at: &str, fields: &mut Violations) {
        fields.check(&format!("{at}.address"), is_address(&self.address));
        if !self.namespace.is_empty() {
            fields.check(&format!("{at}.namespace"), is_path(&self.namespace));
        }
        fields.check(&format!("{at}.mount"), is_path(&self.mount));
        if !matches!(self.kv_version, 1 | 2) {
            fields.add(format!("{at}.kv_version"), "1 or 2, the version of the key-value engine");
        }
    }
}

/// Checks an address: a scheme, a host and perhaps a port, in the one form that it is compared in.
pub fn is_address(address: &str) -> Result<(), String> {
    let url = url::Url::parse(address).ok().filter(|url| url.scheme() == "https" && address.len() <= LONGEST);
    let is_bare = |url: &url::Url| url.username().is_empty() && url.password().is_none();
    // A path or another spelling of the host are seen by writing it again.
    let well = url.is_some_and(|url| is_bare(&url) && url.as_str().strip_suffix('/') == Some(address));
    if well { Ok(()) } else { Err("`https://HOST` or `https://HOST:PORT`, in lower case and with nothing behind it".to_owned()) }
}

/// Checks what names of variables begin with.
///
/// The `_` at the end keeps `ACME_` from being the beginning of `ACME2_TOKEN`.
pub fn is_prefix(prefix: &str) -> Result<(), String> {
    let well = prefix.len() > 1
        && prefix.len() <= 64
        && prefix.ends_with('_')
        && prefix.starts_with(|c: char| c.is_ascii_uppercase())
        && prefix.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    if well { Ok(()) } else { Err("2 to 64 of A-Z 0-9 _ that begin with a letter and end with `_`, as `ACME_`".to_owned()) }
}

/// Checks an absolute path without steps back.
pub fn is_directory(path: &str) -> Result<(), String> {
    let well = path.len() <= LONGEST
        && path.strip_prefix('/').is_some_and(|rest| {
            rest.split('/').all(|part| !matches!(part, "" | "." | "..")) && !rest.chars().any(char::is_control)
        });
    if well { Ok(()) } else { Err("an absolute path without `.`, `..` and a `/` at its end, as `/run/secrets/acme`".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(driver: &Driver) -> Vec<String> {
        let mut fields = Violations::new();
        driver.check("store", &mut fields);
        let error = fields.finish().err();
        error.iter().flat_map(|error| error.violations()).map(|violation| violation.field.clone()).collect()
    }

    #[test]
    fn everything_wrong_with_a_store_is_named_at_once() {
        let vault = |address: &str, namespace: &str, mount: &str, kv_version| {
            let (address, namespace, mount) = (address.to_owned(), namespace.to_owned(), mount.to_owned());
            Driver::Vault(Vault { address, namespace, mount, kv_version })
        };
        assert_eq!(wrong(&vault("https://vault.example:8200", "", "secret", 2)), [""; 0]);
        assert_eq!(wrong(&vault("https://[::1]:8200", "team/a", "kv/prod", 1)), [""; 0]);
        let all = ["address", "namespace", "mount", "kv_version"].map(|field| format!("store.vault.{field}"));
        assert_eq!(wrong(&vault("http://vault.example", "..", "", 3)), all);
        for address in
            ["", "https://", "https://u:p@h", "https://h/", "https://h/x", "https://h?x", "https://H", "https://h:443", "ftp://h"]
        {
            assert!(is_address(address).is_err(), "{address}");
        }
    }

    #[test]
    fn prefixes_and_directories_cannot_be_left() {
        assert!(is_prefix("ACME_").is_ok() && is_directory("/run/secrets").is_ok());
        for prefix in ["", "_", "A", "ACME", "acme_", "A=_", "1_", &format!("{}_", "A".repeat(64))] {
            assert!(is_prefix(prefix).is_err(), "{prefix}");
        }
        for path in ["", "/", "run", "/run/", "/run/../etc", "/run/./x", "//run", "/run\n"] {
            assert!(is_directory(path).is_err(), "{path}");
        }
    }
}
