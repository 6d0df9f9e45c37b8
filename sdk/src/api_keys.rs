//! API keys: long-lived secrets that are exchanged for short tokens.

use std::fmt;

use freehold_proto::iam::v1 as pb;
use jiff::Timestamp;

use crate::{
    call::{Call, fields, options, present, request, service},
    channel::new_id,
    list::{List, list},
    names::Kind,
    wire::{Lift, resource, timestamp},
};

resource! {
    /// A long-lived secret of a user or service account; the secret itself is shown once, when it is created.
    ApiKey = pb::ApiKey {
        /// Resource name: `tenants/{tenant}/apiKeys/{uid}`.
        name: String,
        /// Name for people.
        display_name: String,
        /// The user or service account it stands for.
        principal: String,
        /// First characters of the secret, to tell keys apart.
        prefix: String,
        /// When it was created.
        create_time: Option<Timestamp>,
        /// When it ends.
        expire_time: Option<Timestamp>,
        /// When it was revoked.
        revoke_time: Option<Timestamp>,
        /// When it was last exchanged, to the minute.
        last_used_time: Option<Timestamp>,
        /// Who created it.
        create_principal: String,
    }
}

/// A new key with its secret, which nobody can show again.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NewApiKey {
    /// The key.
    pub api_key: ApiKey,
    /// Its secret.
    pub secret: Secret,
}

/// A secret. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub(crate) String);

impl Secret {
    /// Shows it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

service! {
    /// API keys; see [`Client::api_keys`](crate::Client::api_keys).
    ApiKeys
}

impl ApiKeys {
    /// Creates a key for a principal, `users/ada` or `serviceAccounts/ci`, that ends at a time at most 400 days ahead.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found) for the principal. When the answer of a first try was lost, the repeat
    /// fails with the reason `SECRET_ALREADY_RETURNED`: revoke that key and create another.
    ///
    /// # Example
    /// ```no_run
    /// # async fn example(freehold: freehold::Client) -> freehold::Result<()> {
    /// let in_90_days = freehold::Timestamp::now() + std::time::Duration::from_secs(90 * 86_400);
    /// let key = freehold.api_keys().create("serviceAccounts/ci", in_90_days).send().await?;
    /// println!("{}", key.secret.reveal());
    /// # Ok(()) }
    /// ```
    pub fn create(&self, principal: impl AsRef<str>, expire_time: Timestamp) -> CreateApiKey {
        let api_key = pb::ApiKey { expire_time: Some(timestamp(expire_time)), ..Default::default() };
        let request = pb::CreateApiKeyRequest { api_key: Some(api_key), request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request).in_tenant(|request, parent| request.parent = parent);
        CreateApiKey {
            call: call.reference(Kind::Member, principal.as_ref(), |request, name| {
                request.api_key.get_or_insert_default().principal = name
            }),
        }
    }

    /// Lists the keys of the client's tenant, never their secrets.
    pub fn list(&self) -> List<ApiKey> {
        let call = Call::new(&self.core, pb::ListApiKeysRequest::default()).in_tenant(|request, parent| request.parent = parent);
        list!(call, "/freehold.iam.v1.ApiKeyService/ListApiKeys", pb::ListApiKeysResponse { api_keys })
    }

    /// Ends a key; no error when it has ended already.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn revoke(&self, name: impl AsRef<str>) -> RevokeApiKey {
        let request = pb::RevokeApiKeyRequest { request_id: new_id(), ..Default::default() };
        RevokeApiKey {
            call: Call::new(&self.core, request).name(Kind::ApiKey, name.as_ref(), |request, name| request.name = name),
        }
    }
}

request! {
    /// A key to create; see [`ApiKeys::create`].
    CreateApiKey(pb::CreateApiKeyRequest) -> NewApiKey =
        "/freehold.iam.v1.ApiKeyService/CreateApiKey",
        |answer: pb::CreateApiKeyResponse| Ok(NewApiKey {
            api_key: present(answer.api_key, "api_key")?.lift(),
            secret: Secret(answer.secret),
        })
}
options!(CreateApiKey: request_id);
fields! { CreateApiKey.api_key:
    /// Name for people.
    display_name: text,
}

request! {
    /// A key to end; see [`ApiKeys::revoke`].
    RevokeApiKey(pb::RevokeApiKeyRequest) -> ApiKey =
        "/freehold.iam.v1.ApiKeyService/RevokeApiKey", pb::RevokeApiKeyResponse { api_key }
}
options!(RevokeApiKey: request_id);
