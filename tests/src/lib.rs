//! Starts what ships, for tests: the built binary as processes of its own, with real TLS on free ports, on either database.

mod faults;
pub mod git;
pub mod moto;
mod nats;
mod openbao;
mod people;
mod pki;
pub mod postgres;
mod process;
mod proxy;
mod server;
pub mod shelf;
pub mod site;
mod tools;
mod wait;
mod web_watcher;
mod witness;

pub use faults::{armed, faults_binary};
pub use git::GitServer;
pub use nats::{Nats, Subscriber, Told};
pub use openbao::OpenBao;
pub use people::furnish;
pub use pki::Pki;
pub use process::{Process, binary};
pub use proxy::{Cut, Proxy};
pub use server::{Database, Installation, Replica, RunnerProcess, World, endpoint};
pub use shelf::Shelf;
pub use site::Site;
pub use tools::{buf, grpcurl, nats_server, node, terraform, terraforms};
pub use wait::{eventually, told, until};
pub use web_watcher::WebWatcher;
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
