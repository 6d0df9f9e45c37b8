//! What a deployment needs, how long it lives, and the graph of all of them.

use std::time::Duration;

use clap::{Args, ValueEnum};
use freehold::{Client, CreateDeployment, DependencyGraph, Timestamp, UpdateDeployment};

use super::{duration, set};
use crate::{failure::Failure, screen::Screen};

/// What a new deployment needs, and how long it lives.
#[derive(Args, Clone, Debug)]
pub struct Ties {
    /// A deployment that comes first; can be given several times. Those whose outputs are inputs need not be named
    #[arg(long, value_name = "DEPLOYMENT")]
    depends_on: Vec<String>,
    /// When outputs that are inputs of it change, an apply takes the new ones
    #[arg(long)]
    apply_on_dependency_change: bool,
    /// Runs wait until what it depends on is as it was made
    #[arg(long)]
    require_undrifted_dependencies: bool,
    /// When it ends, as 2030-01-31T18:00:00Z; a run removes it then
    #[arg(long, value_name = "TIME", conflicts_with = "ttl")]
    expire_time: Option<Timestamp>,
    /// How long it lives, as 12h or 7d
    #[arg(long, value_name = "DURATION", value_parser = lifetime)]
    ttl: Option<Duration>,
    /// It ends when nobody has changed it or begun a run of it for so long
    #[arg(long, value_name = "DURATION", value_parser = lifetime)]
    max_idle: Option<Duration>,
}

impl Ties {
    pub(crate) fn over(self, mut request: CreateDeployment) -> CreateDeployment {
        for deployment in &self.depends_on {
            request = request.depends_on(deployment);
        }
        set!(request.expire_time(self.expire_time));
        set!(request.ttl(self.ttl));
        set!(request.max_idle(self.max_idle));
        request
            .apply_on_dependency_change(self.apply_on_dependency_change)
            .require_undrifted_dependencies(self.require_undrifted_dependencies)
    }
}

/// Changes of what a deployment needs, and of how long it is left alone.
#[derive(Args, Clone, Debug)]
pub struct TieChanges {
    /// Replaces the deployments that come first; can be given several times
    #[arg(long, value_name = "DEPLOYMENT", conflicts_with = "no_depends_on")]
    depends_on: Vec<String>,
    /// No deployment comes first, but for those whose outputs are inputs
    #[arg(long)]
    no_depends_on: bool,
    /// Whether an apply takes the new ones when outputs that are inputs of it change
    #[arg(long, value_name = "BOOL")]
    apply_on_dependency_change: Option<bool>,
    /// Whether runs wait until what it depends on is as it was made
    #[arg(long, value_name = "BOOL")]
    require_undrifted_dependencies: Option<bool>,
    /// It ends when nobody has changed it or begun a run of it for so long
    #[arg(long, value_name = "DURATION", value_parser = lifetime, conflicts_with = "no_max_idle")]
    max_idle: Option<Duration>,
    /// It does not end by being left alone
    #[arg(long)]
    no_max_idle: bool,
}

impl TieChanges {
    pub(crate) fn over(self, mut request: UpdateDeployment) -> UpdateDeployment {
        if self.no_depends_on || !self.depends_on.is_empty() {
            request = request.depends_on(&self.depends_on);
        }
        set!(request.apply_on_dependency_change(self.apply_on_dependency_change));
        set!(request.require_undrifted_dependencies(self.require_undrifted_dependencies));
        if self.no_max_idle || self.max_idle.is_some() {
            request = request.max_idle(self.max_idle);
        }
        request
    }
}

/// Another end of a deployment.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub struct NewEnd {
    /// It ends at this time, as 2030-01-31T18:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<Timestamp>,
    /// It ends so long from now, as 12h or 7d
    #[arg(long, value_name = "DURATION", value_parser = lifetime)]
    pub(crate) ttl: Option<Duration>,
}

/// A drawing of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Drawing {
    /// For Graphviz
    Dot,
    /// For Mermaid
    Mermaid,
}

/// Shows what deployments need of each other: as a drawing, or as a table; for programs as the global option says.
pub(crate) async fn show_graph(
    client: &Client,
    scope: Option<String>,
    drawing: Option<Drawing>,
    screen: &mut Screen,
) -> Result<(), Failure> {
    let graph: DependencyGraph = client.deployments().graph(scope.unwrap_or_default()).send().await?;
    match drawing {
        Some(Drawing::Dot) => screen.text(&graph, || graph.to_dot()),
        Some(Drawing::Mermaid) => screen.text(&graph, || graph.to_mermaid()),
        None if screen.is_for_people() => screen.list(&graph.edges),
        None => screen.item(&graph),
    }
}

/// Reads a time that may be counted in days.
pub(crate) fn lifetime(text: &str) -> Result<Duration, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok()).filter(|days| *days > 0);
    match days {
        Some(days) => Ok(Duration::from_secs(u64::from(days) * 86_400)),
        None => duration(text).map_err(|_| "write it as 30m, 12h or 7d".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_read_in_days_too() {
        assert_eq!(lifetime("7d"), Ok(Duration::from_secs(7 * 86_400)));
        assert_eq!(lifetime("90m"), Ok(Duration::from_secs(5400)));
        for text in ["0d", "d", "-1d", "1.5d", "0"] {
            assert!(lifetime(text).is_err(), "{text}");
        }
    }
}
