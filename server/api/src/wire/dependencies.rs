//! What deployments need of each other, as the contract shows it.

use freehold_domain::{
    Error, Result,
    dependencies::{Binding, Dependency},
    deployments::DeploymentState,
    names::{EnvironmentName, ProjectName, TenantName, shown},
};
use freehold_proto::deployments::v1 as pb;
use freehold_service::dependencies::{DependencyGraph, Scope};

/// What a graph is to be about.
pub(super) fn scope(parent: &str) -> Result<Scope> {
    let environment = || parent.parse().ok().map(Scope::Environment);
    let project = || parent.parse().ok().map(Scope::Project);
    let tenant = || parent.parse().ok().map(Scope::Tenant);
    environment().or_else(project).or_else(tenant).ok_or_else(|| {
        let forms = [TenantName::PATTERN, ProjectName::PATTERN, EnvironmentName::PATTERN].map(|form| form.trim_end_matches('/'));
        Error::field("parent", format!("`{}` has none of the forms `{}`", shown(parent), forms.join("`, `")))
    })
}

pub(super) fn graph(graph: DependencyGraph) -> pb::DependencyGraph {
    let node = |(deployment, found): (String, Option<DeploymentState>)| pb::DependencyNode {
        deployment,
        state: found.map_or(pb::DeploymentState::Unspecified, state).into(),
    };
    let edges = graph.edges.into_iter().map(|(deployment, upstream, needed)| pb::DependencyEdge {
        deployment,
        upstream,
        bindings: needed.bindings.iter().map(binding).collect(),
    });
    pb::DependencyGraph { edges: edges.collect(), nodes: graph.nodes.into_iter().map(node).collect() }
}

/// What a run takes from another deployment.
pub(super) fn of_run(dependency: &Dependency) -> pb::RunDependency {
    pb::RunDependency {
        deployment: dependency.upstream.to_string(),
        revision: dependency.revision,
        state_serial: dependency.state_serial,
        bindings: dependency.bindings.iter().map(binding).collect(),
    }
}

fn binding(binding: &Binding) -> pb::OutputBinding {
    pb::OutputBinding { input: binding.input.clone(), output: binding.output.clone() }
}

pub(super) fn state(state: DeploymentState) -> pb::DeploymentState {
    match state {
        DeploymentState::New => pb::DeploymentState::New,
        DeploymentState::Active => pb::DeploymentState::Active,
        DeploymentState::Partial => pb::DeploymentState::Partial,
        DeploymentState::Destroyed => pb::DeploymentState::Destroyed,
        DeploymentState::Quarantined => pb::DeploymentState::Quarantined,
        DeploymentState::Abandoned => pb::DeploymentState::Abandoned,
    }
}
