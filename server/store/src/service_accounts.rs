//! Rows of service accounts.

use freehold_domain::{iam::ServiceAccount, names::ServiceAccountName};

entity!("service_accounts", ServiceAccount, ServiceAccountName);
