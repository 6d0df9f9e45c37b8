//! Vendors to test against: they answer as the real ones document it, and fail as those do.
//!
//! Each listens on a free port of this machine, with TLS under an authority of its own, records what it is asked, and fails when the
//! script says so. Nothing of Freehold is in here, so that a fake proves what was built against it; use them for flows of your own:
//!
//! ```
//! # async fn example() {
//! let receiver = freehold_fakes::Receiver::start("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").await;
//! receiver.server.fail_next(freehold_fakes::Fault::status(503));
//! // … point something at receiver.server.url() and trust receiver.server.ca() …
//! assert!(receiver.deliveries().is_empty());
//! # }
//! ```

mod github;
pub mod oidc;
mod receiver;
mod server;
mod slack;
mod smtp;
mod tls;
mod vault;

pub use github::{Delivery, Entry, FakeGithub};
pub use oidc::FakeOidc;
pub use receiver::Receiver;
pub use server::{Fault, Recorded, Reply, Server, Vendor};
pub use slack::FakeSlack;
pub use smtp::RealSmtp;
pub use vault::{FakeVault, ROLE as VAULT_ROLE};
