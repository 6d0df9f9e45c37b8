//! Who a person of another system is here.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{access::Principal, names::ConnectionAccountName, time::Timestamp};

/// How long a code is good.
pub const CODE_LIFE: Duration = Duration::from_secs(600);

/// An account of another system that acts as a user here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct ConnectionAccount {
    pub name: ConnectionAccountName,
    pub external_id: String,
    pub display_name: String,
    pub principal: Principal,
    pub create_time: Timestamp,
}
