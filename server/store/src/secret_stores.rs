//! Rows of stores of secrets.

use freehold_domain::{names::SecretStoreName, secret_stores::SecretStore};

entity!("secret_stores", SecretStore, SecretStoreName);
