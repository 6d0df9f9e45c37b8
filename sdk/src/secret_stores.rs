//! Stores of secrets of a tenant, and what names a secret in an input.

use std::collections::BTreeMap;

use freehold_proto::secrets::v1 as pb;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    call::{Call, fields, options, request, service, updates},
    channel::new_id,
    list::{List, list},
    names::Kind,
    wire::{Lift, resource},
};

resource! {
    /// A store of secrets of a tenant. Sensitive inputs of deployments name secrets in it, and runners read them; the server never
    /// does.
    SecretStore = pb::SecretStore {
        /// Resource name: `tenants/{tenant}/secretStores/{secret_store}`.
        name: String,
        /// UUIDv7, never used twice, not even after the name is.
        uid: String,
        /// Changes with every change a reader can see.
        etag: String,
        /// Name for people.
        display_name: String,
        /// Labels to find it by.
        labels: BTreeMap<String, String>,
        /// What it is for.
        description: String,
        /// How secrets are read, and where; absent when this version of the crate has no word for it.
        driver: Option<SecretDriver>,
        /// When it was created.
        create_time: Option<Timestamp>,
        /// When it last changed.
        update_time: Option<Timestamp>,
        /// Who created it.
        create_principal: String,
    }
}

/// How secrets are read, and where.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SecretDriver {
    /// A key-value engine of HashiCorp Vault or OpenBao.
    Vault {
        /// `https://HOST` or `https://HOST:PORT`.
        address: String,
        /// The namespace; empty where there are none.
        namespace: String,
        /// Where the engine is mounted, as `secret`.
        mount: String,
        /// Version of the engine, 1 or 2.
        kv_version: i32,
    },
    /// Variables of the runner's environment.
    Environment {
        /// What their names begin with; ends with `_`.
        prefix: String,
    },
    /// Files on the runner's machine.
    Directory {
        /// The folder, an absolute path.
        path: String,
    },
}

impl Lift<SecretDriver> for pb::secret_store::Driver {
    fn lift(self) -> SecretDriver {
        match self {
            Self::Vault(pb::VaultDriver { address, namespace, mount, kv_version }) => {
                SecretDriver::Vault { address, namespace, mount, kv_version }
            }
            Self::Environment(pb::EnvironmentDriver { prefix }) => SecretDriver::Environment { prefix },
            Self::Directory(pb::DirectoryDriver { path }) => SecretDriver::Directory { path },
        }
    }
}

impl SecretDriver {
    /// Version 2 of the key-value engine that is mounted there, without a namespace.
    pub fn vault(address: impl Into<String>, mount: impl Into<String>) -> Self {
        Self::Vault { address: address.into(), namespace: String::new(), mount: mount.into(), kv_version: 2 }
    }

    /// Variables of the runner's environment whose names begin so.
    pub fn environment(prefix: impl Into<String>) -> Self {
        Self::Environment { prefix: prefix.into() }
    }

    /// Files of a folder on the runner's machine.
    pub fn directory(path: impl Into<String>) -> Self {
        Self::Directory { path: path.into() }
    }

    fn message(self) -> (pb::secret_store::Driver, &'static str) {
        match self {
            Self::Vault { address, namespace, mount, kv_version } => {
                (pb::secret_store::Driver::Vault(pb::VaultDriver { address, namespace, mount, kv_version }), "vault")
            }
            Self::Environment { prefix } => {
                (pb::secret_store::Driver::Environment(pb::EnvironmentDriver { prefix }), "environment")
            }
            Self::Directory { path } => (pb::secret_store::Driver::Directory(pb::DirectoryDriver { path }), "directory"),
        }
    }
}

/// One secret in a store, as the value of a sensitive input.
///
/// ```no_run
/// # async fn example(freehold: freehold::Client) -> freehold::Result<()> {
/// use freehold::SecretRef;
///
/// let password = SecretRef::new("vault", "db/prod").key("password");
/// freehold.deployments().create("shop/dev/web", "web@1.0.0").input("password", password).send().await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRef {
    store: String,
    path: String,
    key: Option<String>,
    version: Option<u32>,
}

impl SecretRef {
    /// The secret at this path of a store, by the store's id.
    pub fn new(store: impl Into<String>, path: impl Into<String>) -> Self {
        Self { store: store.into(), path: path.into(), key: None, version: None }
    }

    /// Which of the values at the path; only where a path has several.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Which version; the newest at the time of each plan without it.
    pub fn version(mut self, version: u32) -> Self {
        self.version = Some(version);
        self
    }
}

impl From<SecretRef> for Value {
    fn from(secret: SecretRef) -> Self {
        let mut inner = json!({ "store": secret.store, "path": secret.path });
        if let Some(key) = secret.key {
            inner["key"] = key.into();
        }
        if let Some(version) = secret.version {
            inner["version"] = version.into();
        }
        json!({ "$secret": inner })
    }
}

service! {
    /// Stores of secrets; see [`Client::secret_stores`](crate::Client::secret_stores).
    SecretStores
}

impl SecretStores {
    /// Starts building a store; nothing is sent before [`send`](CreateSecretStore::send).
    ///
    /// # Errors
    /// [`is_already_exists`](crate::Error::is_already_exists) if the name is taken,
    /// [`is_invalid_argument`](crate::Error::is_invalid_argument) with everything that is wrong.
    ///
    /// # Example
    /// ```no_run
    /// # async fn example(freehold: freehold::Client) -> freehold::Result<()> {
    /// use freehold::SecretDriver;
    ///
    /// let driver = SecretDriver::vault("https://vault.example:8200", "secret");
    /// freehold.secret_stores().create("vault", driver).send().await?;
    /// # Ok(()) }
    /// ```
    pub fn create(&self, name: impl AsRef<str>, driver: SecretDriver) -> CreateSecretStore {
        let request = pb::CreateSecretStoreRequest { request_id: new_id(), ..Default::default() };
        let mut call = Call::new(&self.core, request).new_name(Kind::SecretStore, name.as_ref(), |request, parent, id| {
            (request.parent, request.secret_store_id) = (parent, id);
        });
        call.request.secret_store.get_or_insert_default().driver = Some(driver.message().0);
        CreateSecretStore { call }
    }

    /// Reads one store.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn get(&self, name: impl AsRef<str>) -> GetSecretStore {
        let call = Call::new(&self.core, pb::GetSecretStoreRequest::default());
        GetSecretStore { call: call.name(Kind::SecretStore, name.as_ref(), |request, name| request.name = name) }
    }

    /// Lists the stores of the client's tenant by their creation, oldest first.
    pub fn list(&self) -> List<SecretStore> {
        let call =
            Call::new(&self.core, pb::ListSecretStoresRequest::default()).in_tenant(|request, parent| request.parent = parent);
        list!(call, "/freehold.secrets.v1.SecretStoreService/ListSecretStores", pb::ListSecretStoresResponse { secret_stores })
    }

    /// Starts changing a store: only what is set is written.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_etag_mismatch`](crate::Error::is_etag_mismatch),
    /// [`is_invalid_argument`](crate::Error::is_invalid_argument) as of [`create`](Self::create).
    pub fn update(&self, name: impl AsRef<str>) -> UpdateSecretStore {
        let request = pb::UpdateSecretStoreRequest { request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request);
        UpdateSecretStore {
            call: call.name(Kind::SecretStore, name.as_ref(), |request, name| {
                request.secret_store.get_or_insert_default().name = name;
            }),
        }
    }

    /// Deletes a store. Deployments whose inputs name secrets in it cannot be planned from then on.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_etag_mismatch`](crate::Error::is_etag_mismatch).
    pub fn delete(&self, name: impl AsRef<str>) -> DeleteSecretStore {
        let request = pb::DeleteSecretStoreRequest { request_id: new_id(), ..Default::default() };
        DeleteSecretStore {
            call: Call::new(&self.core, request).name(Kind::SecretStore, name.as_ref(), |request, name| request.name = name),
        }
    }
}

request! {
    /// A store to create; see [`SecretStores::create`].
    CreateSecretStore(pb::CreateSecretStoreRequest) -> SecretStore =
        "/freehold.secrets.v1.SecretStoreService/CreateSecretStore", pb::CreateSecretStoreResponse { secret_store }
}
options!(CreateSecretStore: request_id, validate_only);
fields! { CreateSecretStore.secret_store:
    /// Name for people, at most 63 characters.
    display_name: text,
    /// What it is for, at most 1000 characters.
    description: text,
    /// Adds a label: keys `[a-z][a-z0-9_./-]{0,62}`, values at most 63 characters, at most 64 labels.
    labels: labels,
}

request! {
    /// A store to read; see [`SecretStores::get`].
    GetSecretStore(pb::GetSecretStoreRequest) -> SecretStore =
        "/freehold.secrets.v1.SecretStoreService/GetSecretStore", pb::GetSecretStoreResponse { secret_store }
}

request! {
    /// A store to change; see [`SecretStores::update`].
    UpdateSecretStore(pb::UpdateSecretStoreRequest) -> SecretStore =
        "/freehold.secrets.v1.SecretStoreService/UpdateSecretStore", pb::UpdateSecretStoreResponse { secret_store }
}
options!(UpdateSecretStore: request_id, validate_only);
updates! { UpdateSecretStore.secret_store:
    /// Name for people, at most 63 characters.
    display_name: text,
    /// What it is for, at most 1000 characters.
    description: text,
    /// Replaces all labels.
    labels: labels,
}

impl UpdateSecretStore {
    /// Another way to read secrets, or another place.
    pub fn driver(mut self, driver: SecretDriver) -> Self {
        let (driver, field) = driver.message();
        self.call.request.secret_store.get_or_insert_default().driver = Some(driver);
        self.mask(field);
        self
    }
}

request! {
    /// A store to delete; see [`SecretStores::delete`].
    DeleteSecretStore(pb::DeleteSecretStoreRequest) -> () =
        "/freehold.secrets.v1.SecretStoreService/DeleteSecretStore", pb::DeleteSecretStoreResponse {}
}
options!(DeleteSecretStore: request_id, etag, allow_missing);
