//! States of deployments in the hands of people: who holds one to change it, and what is in it, as a graph.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::{
    access::Principal,
    deployments::{Deployment, DeploymentState, ManagedResource},
    error::{Error, Reason, Result},
    fault,
    time::Timestamp,
};

/// Bytes of what a holder says of itself, at most.
pub const MAX_LOCK_INFO: usize = 4096;

/// Somebody's hold on a state, to change it by hand. Runs wait for its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateLock {
    /// Chosen by the holder. It is what a write is fenced by: after the lock was broken, writes with it are refused, and so is
    /// taking it again. It is no secret, so only its holder may use it.
    pub id: String,
    /// What the holder says of itself: JSON, as Terraform sends it.
    pub info: String,
    /// Who took it.
    pub principal: Principal,
    /// When.
    pub create_time: Timestamp,
}

impl Deployment {
    /// Takes the hold on its state. A repeat with the same id succeeds.
    ///
    /// Fails with `OPERATION_IN_PROGRESS` while a run or somebody else holds it, and with `FIELD_INVALID` for a lock that is none.
    pub fn lock_state(&mut self, lock: StateLock) -> Result<()> {
        let id = lock.id.len();
        if id == 0 || id > 128 || !lock.id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::field("lock.id", "1 to 128 printable characters, for example a UUID"));
        }
        if lock.info.len() > MAX_LOCK_INFO {
            return Err(Error::field("lock.info", format!("up to {MAX_LOCK_INFO} bytes")));
        }
        self.expect_no_run()?;
        match &self.state_lock {
            Some(held) if held.is(&lock.id, &lock.principal) => Ok(()),
            Some(held) => Err(held.refusal()),
            // A request to take it that was overtaken by the break would bring back what was broken.
            None if self.broken_lock.as_ref() == Some(&lock.id) => Err(Error::new(
                Reason::StateNotAllowed,
                "the lock with this id was broken; read the state again and take a lock with another id",
            )
            .with("state", "broken")),
            None => {
                self.state_lock = Some(lock);
                Ok(())
            }
        }
    }

    /// Lets go of the state. Letting go of what nobody holds succeeds, so that a repeat does.
    ///
    /// Fails with `OPERATION_IN_PROGRESS` when somebody else holds it, or another lock is held.
    pub fn unlock_state(&mut self, id: &str, by: &Principal) -> Result<()> {
        match &self.state_lock {
            Some(held) if !held.is(id, by) => Err(held.refusal()),
            _ => {
                self.state_lock = None;
                Ok(())
            }
        }
    }

    /// Takes the hold from whoever has it; answers whose it was. With an id, only if it is that one.
    ///
    /// Fails with `OPERATION_IN_PROGRESS` when another lock is held than the one with this id.
    pub fn break_state_lock(&mut self, id: &str) -> Result<Option<StateLock>> {
        match &self.state_lock {
            Some(held) if !id.is_empty() && held.id != id => Err(held.refusal()),
            _ => {
                let broken = self.state_lock.take();
                if let Some(lock) = &broken {
                    self.broken_lock = Some(lock.id.clone());
                }
                Ok(broken)
            }
        }
    }

    /// Fails unless this caller may make a write with this lock.
    pub fn expect_state_lock(&self, id: &str, by: &Principal) -> Result<()> {
        if fault::mutant("state-lock") {
            return Ok(());
        }
        self.expect_no_run()?;
        match &self.state_lock {
            Some(held) if held.is(id, by) => Ok(()),
            Some(held) => Err(held.refusal()),
            None => Err(Error::new(
                Reason::StateNotAllowed,
                "the state is written under its lock only, and nobody holds it: it was let go or broken; take it again",
            )
            .with("state", "unlocked")),
        }
    }

    /// Fails unless a state may be given to it from outside: nothing of it is known to be real.
    pub fn expect_importable(&self) -> Result<()> {
        self.expect_no_run()?;
        if let Some(held) = &self.state_lock {
            return Err(held.refusal());
        }
        self.expect_kept()?;
        if matches!(self.state, DeploymentState::New | DeploymentState::Quarantined) || self.state_serial == 0 {
            return Ok(());
        }
        Err(Error::new(Reason::StateNotAllowed, "it has a state of its own; import into a new deployment")
            .with("state", self.state.as_str())
            .with("allowed_states", "NEW, QUARANTINED"))
    }

    fn expect_no_run(&self) -> Result<()> {
        match self.active_run {
            None => Ok(()),
            Some(run) => {
                Err(Error::new(Reason::OperationInProgress, "a run is changing the deployment; wait for its end, or cancel it")
                    .with("operation", self.run_name(run)))
            }
        }
    }
}

impl StateLock {
    fn is(&self, id: &str, by: &Principal) -> bool {
        self.id == id && self.principal == *by
    }

    fn refusal(&self) -> Error {
        let Self { id, principal, create_time, .. } = self;
        Error::new(
            Reason::OperationInProgress,
            format!("{principal} holds the state since {create_time} with the lock {id}; wait, or break the lock if its holder is gone"),
        )
        .with("operation", format!("lock {id}"))
        .with("lock_id", id)
        .with("principal", principal)
        .with("create_time", create_time)
    }
}

/// How a graph is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GraphFormat {
    /// `{"nodes": [{"address", "type", "id"}], "edges": [{"from", "to"}]}`.
    Json,
    /// The language of Graphviz.
    Dot,
    /// The language of Mermaid.
    Mermaid,
}

/// Resources and what each was made from. An edge goes from a resource to one that it needs; several instances of one resource
/// are all needed by whatever names the resource.
pub fn graph(resources: &[ManagedResource], format: GraphFormat) -> String {
    let mut edges: Vec<(usize, usize)> = Vec::new();
    for (from, resource) in resources.iter().enumerate() {
        for needed in &resource.depends_on {
            let is_needed = |other: &ManagedResource| {
                other.address.strip_prefix(needed.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('['))
            };
            edges.extend(resources.iter().enumerate().filter(|(_, other)| is_needed(other)).map(|(to, _)| (from, to)));
        }
    }
    edges.sort_unstable();
    edges.dedup();
    let mut text = String::new();
    match format {
        GraphFormat::Json => {
            let nodes: Vec<_> = resources
                .iter()
                .map(|one| serde_json::json!({ "address": one.address, "type": one.kind, "id": one.id }))
                .collect();
            let name = |place: usize| &resources[place].address;
            let edges: Vec<_> =
                edges.iter().map(|(from, to)| serde_json::json!({ "from": name(*from), "to": name(*to) })).collect();
            text = serde_json::json!({ "nodes": nodes, "edges": edges }).to_string();
        }
        GraphFormat::Dot => {
            text.push_str("digraph deployment {\n  rankdir = LR;\n  node [shape = box];\n");
            for (place, resource) in resources.iter().enumerate() {
                let _ = writeln!(text, "  n{place} [label = {}];", serde_json::Value::from(resource.address.as_str()));
            }
            for (from, to) in &edges {
                let _ = writeln!(text, "  n{from} -> n{to};");
            }
            text.push_str("}\n");
        }
        GraphFormat::Mermaid => {
            text.push_str("graph LR\n");
            for (place, resource) in resources.iter().enumerate() {
                let label: String = resource.address.chars().map(mermaid).collect();
                let _ = writeln!(text, "  n{place}[\"{label}\"]");
            }
            for (from, to) in &edges {
                let _ = writeln!(text, "  n{from} --> n{to}");
            }
        }
    }
    text
}

/// A character of a label; quotes would end it, and Mermaid has character references for what it reads otherwise.
fn mermaid(c: char) -> String {
    match c {
        '"' => "#quot;".to_owned(),
        '#' => "#35;".to_owned(),
        '<' => "#lt;".to_owned(),
        '>' => "#gt;".to_owned(),
        '&' => "#amp;".to_owned(),
        c if c.is_control() => " ".to_owned(),
        c => c.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(address: &str, depends_on: &[&str]) -> ManagedResource {
        ManagedResource {
            address: address.to_owned(),
            kind: "x".to_owned(),
            id: "1".to_owned(),
            depends_on: depends_on.iter().map(|one| (*one).to_owned()).collect(),
        }
    }

    #[test]
    fn a_graph_names_each_instance_and_escapes_what_it_must() {
        let resources = [
            resource("x.a[\"k\"]", &[]),
            resource("x.a[\"l\"]", &[]),
            resource("x.ab", &[]),
            resource("x.b", &["x.a", "x.gone"]),
        ];
        let dot = graph(&resources, GraphFormat::Dot);
        assert!(dot.contains(r#"n0 [label = "x.a[\"k\"]"];"#), "{dot}");
        assert_eq!(dot.matches("n3 ->").count(), 2, "{dot}");
        let mermaid = graph(&resources, GraphFormat::Mermaid);
        assert!(mermaid.contains("n0[\"x.a[#quot;k#quot;]\"]") && mermaid.contains("n3 --> n1"), "{mermaid}");
        let json: serde_json::Value = serde_json::from_str(&graph(&resources, GraphFormat::Json)).expect("JSON");
        assert_eq!(json["edges"].as_array().map(Vec::len), Some(2));
        assert_eq!(json["nodes"][2]["address"], "x.ab");
    }
}
