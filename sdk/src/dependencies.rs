//! What deployments need of each other.

use std::fmt::Write as _;

use freehold_proto::deployments::v1 as pb;

use crate::{DeploymentState, call::request, wire::resource};

resource! {
    /// Deployments and what they need of each other.
    DependencyGraph = pb::DependencyGraph {
        /// Each after all that it needs. Those outside of what was asked for come last, without a state.
        nodes: Vec<DependencyNode>,
        /// Which needs which.
        edges: Vec<DependencyEdge>,
    }
}

resource! {
    /// A deployment in a graph.
    DependencyNode = pb::DependencyNode {
        /// Its name.
        deployment: String,
        /// What is there; absent for a deployment outside of what was asked for.
        state: Option<DeploymentState>,
    }
}

resource! {
    /// One deployment that needs another one.
    DependencyEdge = pb::DependencyEdge {
        /// Which needs.
        deployment: String,
        /// Which comes first.
        upstream: String,
        /// Inputs that are outputs of it; none when it only has to be there.
        bindings: Vec<OutputBinding>,
    }
}

resource! {
    /// An input that takes its value from an output of another deployment.
    OutputBinding = pb::OutputBinding {
        /// The input, or the way to a part of it as in a JSON pointer: `network`, `subnets/0`.
        input: String,
        /// The output.
        output: String,
    }
}

resource! {
    /// A deployment that a run takes outputs of, or waits for.
    RunDependency = pb::RunDependency {
        /// Its name.
        deployment: String,
        /// Its revision whose outputs were taken; absent before they were.
        revision: Option<i64>,
        /// Serial of its state at that moment.
        state_serial: Option<i64>,
        /// What was taken.
        bindings: Vec<OutputBinding>,
    }
}

impl DependencyGraph {
    /// The graph in the language of Graphviz; an arrow leads from a deployment to what it needs.
    pub fn to_dot(&self) -> String {
        let mut text = "digraph dependencies {\n  rankdir=LR;\n  node [shape=box];\n".to_owned();
        for node in &self.nodes {
            let name = short(&node.deployment);
            let style = if node.state.is_none() { ", style=dashed" } else { "" };
            let state = node.state.map(|state| format!("\\n{state}")).unwrap_or_default();
            let _ = writeln!(text, "  {} [label={}{style}];", quoted(&name), quoted(&format!("{name}{state}")));
        }
        for edge in &self.edges {
            let (from, to) = (quoted(&short(&edge.deployment)), quoted(&short(&edge.upstream)));
            let label = label(edge).map(|label| format!(" [label={}]", quoted(&label))).unwrap_or_default();
            let _ = writeln!(text, "  {from} -> {to}{label};");
        }
        text + "}\n"
    }

    /// The graph in the language of Mermaid; an arrow leads from a deployment to what it needs.
    pub fn to_mermaid(&self) -> String {
        let mut text = "flowchart LR\n".to_owned();
        for (index, node) in self.nodes.iter().enumerate() {
            let state = node.state.map(|state| format!("<br/>{state}")).unwrap_or_default();
            let _ = writeln!(text, "  n{index}[\"{}{state}\"]", short(&node.deployment));
        }
        let place = |name: &str| self.nodes.iter().position(|node| node.deployment == name);
        for edge in &self.edges {
            let (Some(from), Some(to)) = (place(&edge.deployment), place(&edge.upstream)) else { continue };
            let label = label(edge).map(|label| format!("|\"{label}\"|")).unwrap_or_default();
            let _ = writeln!(text, "  n{from} -->{label} n{to}");
        }
        text
    }
}

/// Outputs that are taken over an edge.
fn label(edge: &DependencyEdge) -> Option<String> {
    let mut outputs: Vec<&str> = edge.bindings.iter().map(|binding| binding.output.as_str()).collect();
    outputs.sort_unstable();
    outputs.dedup();
    Some(outputs.join(", ")).filter(|label| !label.is_empty())
}

/// `shop/dev/web` of a full name.
fn short(name: &str) -> String {
    let parts: Vec<&str> = name.split('/').collect();
    match parts[..] {
        ["tenants", _, "projects", project, "environments", environment, "deployments", deployment] => {
            format!("{project}/{environment}/{deployment}")
        }
        _ => name.to_owned(),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\\\""))
}

request! {
    /// A graph to read; see [`Deployments::graph`](crate::Deployments::graph).
    GetDependencyGraph(pb::GetDependencyGraphRequest) -> DependencyGraph =
        "/freehold.deployments.v1.DeploymentService/GetDependencyGraph", pb::GetDependencyGraphResponse { dependency_graph }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Lift;

    #[test]
    fn a_graph_is_drawn_in_two_languages() {
        let name = |id: &str| format!("tenants/acme/projects/shop/environments/dev/deployments/{id}");
        let node = |id: &str, state: pb::DeploymentState| pb::DependencyNode { deployment: name(id), state: state.into() };
        let bind = |input: &str| pb::OutputBinding { input: input.to_owned(), output: "id".to_owned() };
        let graph: DependencyGraph = pb::DependencyGraph {
            nodes: vec![node("net", pb::DeploymentState::Active), node("web", pb::DeploymentState::Unspecified)],
            edges: vec![pb::DependencyEdge {
                deployment: name("web"),
                upstream: name("net"),
                bindings: vec![bind("one"), bind("two")],
            }],
        }
        .lift();
        assert_eq!(
            graph.to_dot(),
            "digraph dependencies {\n  rankdir=LR;\n  node [shape=box];\n  \"shop/dev/net\" [label=\"shop/dev/net\\nACTIVE\"];\n  \
             \"shop/dev/web\" [label=\"shop/dev/web\", style=dashed];\n  \"shop/dev/web\" -> \"shop/dev/net\" [label=\"id\"];\n}\n"
        );
        assert_eq!(
            graph.to_mermaid(),
            "flowchart LR\n  n0[\"shop/dev/net<br/>ACTIVE\"]\n  n1[\"shop/dev/web\"]\n  n1 -->|\"id\"| n0\n"
        );
    }
}
