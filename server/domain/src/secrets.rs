//! Secrets that inputs name instead of holding them.
//!
//! A reference is an object with the one key `$secret`, which no value of an input may have: what is a reference can be told from
//! what is a value wherever either stands.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    names::{Id, shown},
    secret_stores::Driver,
};

/// The key that makes an object a reference.
pub const KEY: &str = "$secret";

/// The most bytes of one secret.
pub const MAX_SECRET: usize = 64 << 10;

/// Longest path and key, in bytes.
const LONGEST: usize = 512;

/// One secret in a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretRef {
    /// The store, by its id in the tenant.
    pub store: Id,
    /// Where it is in the store.
    pub path: String,
    /// Which of the values there; only where a path has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Which version; the newest when it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
}

/// A secret that a runner has to read for an input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretRead {
    /// Which.
    pub reference: SecretRef,
    /// Where its store is; nothing when there is no such store any more.
    pub driver: Option<Driver>,
}

/// Whether a value is an object with the reserved key.
pub fn is_reserved(value: &Value) -> bool {
    value.as_object().is_some_and(|object| object.contains_key(KEY))
}

/// The references among complete inputs, by the name of the input.
pub fn references(inputs: &Map<String, Value>) -> BTreeMap<String, SecretRef> {
    let named = inputs.iter().filter(|(_, value)| is_reserved(value));
    named.filter_map(|(name, value)| Some((name.clone(), SecretRef::read(value).ok()?))).collect()
}

impl SecretRef {
    /// Reads the value of an input that has the reserved key.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(value: &Value) -> Result<Self, Vec<String>> {
        let Some((object, inner)) = value.as_object().and_then(|object| Some((object, object.get(KEY)?.as_object()?))) else {
            return Err(vec![format!("`{KEY}` holds an object: store, path, and perhaps key and version")]);
        };
        let mut wrong = Vec::new();
        if object.len() > 1 {
            wrong.push(format!("`{KEY}` stands alone in its object"));
        }
        for name in inner.keys().filter(|name| !["store", "path", "key", "version"].contains(&name.as_str())) {
            wrong.push(format!("`{}` is not known; there are store, path, key and version", shown(name)));
        }
        let mut note = |part: &str, why: String| wrong.push(format!("{part}: {why}"));
        let text = |part: &str| match inner.get(part) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err("must be a string".to_owned()),
        };
        let required = |part: &str| text(part).and_then(|text| text.ok_or_else(|| "is required".to_owned()));
        let store = required("store").and_then(|store| store.parse::<Id>());
        let store = store.map_err(|why| note("store", why)).ok();
        let path = required("path").and_then(|path| is_path(&path).map(|()| path)).map_err(|why| note("path", why)).ok();
        let key = text("key").and_then(|key| key.as_deref().map_or(Ok(()), is_key).map(|()| key));
        let key = key.map_err(|why| note("key", why)).ok();
        let version = match inner.get("version") {
            None | Some(Value::Null) => Some(None),
            Some(value) => match value.as_u64().and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0) {
                Some(number) => Some(Some(number)),
                None => {
                    note("version", "a whole number from 1".to_owned());
                    None
                }
            },
        };
        match (store, path, key, version) {
            (Some(store), Some(path), Some(key), Some(version)) if wrong.is_empty() => Ok(Self { store, path, key, version }),
            _ => Err(wrong),
        }
    }

    /// The value of an input that names it.
    pub fn to_value(&self) -> Value {
        let inner = serde_json::to_value(self).unwrap_or_default();
        Value::Object(Map::from_iter([(KEY.to_owned(), inner)]))
    }

    /// What a store of this kind has against it.
    pub fn unfit(&self, driver: &Driver) -> Vec<String> {
        let mut wrong = Vec::new();
        let name = driver.as_str();
        match driver {
            Driver::Vault(vault) => {
                if self.key.is_none() {
                    wrong.push("key: is required: a path of a store of the kind vault has several values".to_owned());
                }
                if self.version.is_some() && vault.kv_version != 2 {
                    wrong.push("version: only version 2 of the key-value engine keeps versions; leave it out".to_owned());
                }
            }
            Driver::Environment(_) | Driver::Directory(_) => {
                if self.key.is_some() {
                    wrong.push(format!("key: a path of a store of the kind {name} has one value; leave it out"));
                }
                if self.version.is_some() {
                    wrong.push(format!("version: a store of the kind {name} keeps no versions; leave it out"));
                }
            }
        }
        let variable = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
        if matches!(driver, Driver::Environment(_)) && !self.path.bytes().all(variable) {
            wrong.push("path: what follows the prefix of the store in the variable's name, of A-Z 0-9 _".to_owned());
        }
        wrong
    }

    /// For people: `db/prod#password in the store vault`.
    pub fn shown(&self) -> String {
        let key = self.key.as_ref().map(|key| format!("#{key}")).unwrap_or_default();
        format!("{}{key} in the store {}", self.path, self.store)
    }
}

/// Checks a path: parts between slashes, none of which leads elsewhere in a URL or on a disk.
pub fn is_path(path: &str) -> Result<(), String> {
    let well = |part: &str| {
        !matches!(part, "" | "." | "..") && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-@+=:".contains(&b))
    };
    if path.len() <= LONGEST && path.split('/').all(well) {
        return Ok(());
    }
    Err(format!("parts of A-Z a-z 0-9 _ . - @ + = : between slashes, none of them empty, `.` or `..`, {LONGEST} bytes in all"))
}

fn is_key(key: &str) -> Result<(), String> {
    if !key.is_empty() && key.len() <= LONGEST && !key.chars().any(char::is_control) {
        return Ok(());
    }
    Err(format!("1 to {LONGEST} bytes without control characters"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::secret_stores::{Directory, Environment, Vault};

    #[test]
    fn a_reference_has_one_normal_form() {
        let given = json!({ "$secret": { "version": 3, "key": "password", "path": "db/prod", "store": "vault" } });
        let reference = SecretRef::read(&given).expect("right");
        assert_eq!(SecretRef::read(&reference.to_value()).as_ref(), Ok(&reference));
        assert_eq!(
            reference.to_value().to_string(),
            r#"{"$secret":{"store":"vault","path":"db/prod","key":"password","version":3}}"#
        );
        let short = json!({ "$secret": { "store": "env", "path": "TOKEN", "key": null } });
        assert_eq!(SecretRef::read(&short).expect("right").to_value(), json!({ "$secret": { "store": "env", "path": "TOKEN" } }));
        assert_eq!(reference.shown(), "db/prod#password in the store vault");
    }

    #[test]
    fn everything_wrong_with_a_reference_is_named_at_once() {
        let wrong = |value: Value| SecretRef::read(&value).expect_err("wrong");
        assert_eq!(wrong(json!({ "$secret": "vault" })).len(), 1);
        let all = wrong(json!({ "$secret": { "store": "No", "path": "../x", "key": "", "version": 0, "more": 1 }, "x": 1 }));
        assert_eq!(all.len(), 6, "{all:?}");
        assert_eq!(wrong(json!({ "$secret": {} })).len(), 2);
        for path in ["", "/", "a/", "/a", "a//b", ".", "..", "a/../b", "a/./b", "a%2fb", "a?b", "a#b", "a\\b", "a b", "ä", "a\0"]
        {
            let value = json!({ "$secret": { "store": "vault", "path": path } });
            assert!(wrong(value)[0].starts_with("path: "), "{path}");
        }
        for version in [json!(-1), json!(1.5), json!("1"), json!(u64::MAX)] {
            let value = json!({ "$secret": { "store": "vault", "path": "a", "version": version } });
            assert!(wrong(value)[0].starts_with("version: "), "{version}");
        }
    }

    #[test]
    fn a_store_says_what_of_a_reference_it_has_no_use_for() {
        let vault = |kv_version| {
            let (address, mount) = ("https://vault.example".to_owned(), "secret".to_owned());
            Driver::Vault(Vault { address, namespace: String::new(), mount, kv_version })
        };
        let environment = Driver::Environment(Environment { prefix: "ACME_".to_owned() });
        let directory = Driver::Directory(Directory { path: "/run/secrets".to_owned() });
        let reference = |path: &str, key: Option<&str>, version| SecretRef {
            store: "store".parse().expect("an id"),
            path: path.to_owned(),
            key: key.map(str::to_owned),
            version,
        };
        let table = [
            (vault(2), reference("a", Some("k"), Some(1)), 0),
            (vault(2), reference("a", None, None), 1),
            (vault(1), reference("a", Some("k"), Some(1)), 1),
            (environment.clone(), reference("TOKEN", None, None), 0),
            (environment, reference("a/b", Some("k"), Some(1)), 3),
            (directory.clone(), reference("db/password", None, None), 0),
            (directory, reference("db", Some("k"), Some(1)), 2),
        ];
        for (driver, reference, count) in table {
            assert_eq!(reference.unfit(&driver).len(), count, "{driver:?} {reference:?}");
        }
    }
}
