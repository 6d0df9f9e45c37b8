//! A watch of the TypeScript client, in a process of Node.

use std::{net::SocketAddr, path::Path, process::Command};

use serde_json::Value;

use crate::{Installation, Process, endpoint, tools::node};

/// A process that prints what it sees, until it is dropped.
pub struct WebWatcher {
    process: Process,
}

impl WebWatcher {
    /// Watches `project.*` in the tenant `acme` from this token on, by this address of a listener `web`, with an API key.
    ///
    /// # Panics
    /// When there is no Node, or the client is not built.
    pub fn start(installation: &Installation, web: SocketAddr, api_key: &str, token: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../clients/web");
        assert!(
            folder.join("client/build/core.js").is_file(),
            "the TypeScript client is not built: `cargo xtask test` does that, or `npm ci && npm --workspace client run build` in \
             clients/web"
        );
        let mut command = Command::new(node());
        command.arg(folder.join("scripts/watch.mjs")).arg(endpoint(web)).arg(installation.pki.path("ca.crt"));
        command.args(["tenants/acme", "project.*", token]).env("FREEHOLD_API_KEY", api_key);
        Self { process: Process::start(command, &installation.path("web-watcher.log")) }
    }

    /// Everything that it has said by now, line by line.
    ///
    /// # Panics
    /// When it has ended, with what it said.
    pub fn said(&mut self) -> Vec<Value> {
        let said = self.process.said();
        assert!(self.process.ended().is_none(), "the watch has ended: {said}");
        // The last line may not be whole yet.
        let whole = &said[..said.rfind('\n').map_or(0, |end| end + 1)];
        let line = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        whole.lines().map(line).collect()
    }
}
