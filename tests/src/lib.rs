//! Starts what ships, for tests: the built binary as processes of its own, with real TLS on free ports, on either database.

mod faults;
mod people;
mod pki;
pub mod postgres;
mod process;
mod proxy;
mod server;
mod tools;
mod wait;
mod witness;

pub use faults::{armed, faults_binary};
pub use people::furnish;
pub use pki::Pki;
pub use process::{Process, binary};
pub use proxy::{Cut, Proxy};
pub use server::{Database, Installation, Replica, RunnerProcess, World, endpoint};
pub use tools::{buf, grpcurl, terraform};
pub use wait::{eventually, until};
pub use witness::{Effect, Witness};

/// The sample blueprint that stories deploy.
pub fn sample() -> Vec<freehold::BlueprintFile> {
    [
        ("blueprint.yaml", include_str!("../../deploy/samples/greeting/blueprint.yaml")),
        ("greeting.txt", include_str!("../../deploy/samples/greeting/greeting.txt")),
    ]
    .map(|(path, content)| freehold::BlueprintFile { path: path.to_owned(), content: content.into() })
    .into()
}
