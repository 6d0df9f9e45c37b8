//! The contract: each method is described in full, and reachable from the SDK.

use crate::repository::{files, none, text};

/// A method as the contract's files write it.
struct Rpc {
    /// `/package.Service/Method`.
    path: String,
    /// What stands between its braces.
    body: String,
    /// The comment above it.
    comment: String,
}

/// Services of programs that are no client: the runner speaks to it with the generated messages.
const NOT_FOR_CLIENTS: [&str; 1] = ["freehold.runners.v1.RunnerService"];

#[test]
fn every_method_has_a_policy_and_names_its_permission() {
    let mut faults = Vec::new();
    for rpc in rpcs() {
        if !rpc.body.contains("option (freehold.common.v1.policy)") {
            faults.push(format!("{}: has no policy", rpc.path));
        }
        if !rpc.comment.contains("Permission:") && !rpc.body.contains("public: true") {
            faults.push(format!("{}: its comment does not name the permission", rpc.path));
        }
    }
    none(&faults, "complete these in proto/:");
}

#[test]
fn every_method_is_in_the_sdk() {
    let sdk: String = files(".rs").iter().filter(|file| file.starts_with("sdk/src/")).map(|file| text(file)).collect();
    let missing: Vec<_> = rpcs()
        .into_iter()
        .filter(|rpc| !NOT_FOR_CLIENTS.iter().any(|service| rpc.path.starts_with(&format!("/{service}/"))))
        .filter(|rpc| !sdk.contains(&format!("{:?}", rpc.path)))
        .map(|rpc| rpc.path)
        .collect();
    none(&missing, "the SDK has no words for these:");
}

fn rpcs() -> Vec<Rpc> {
    let mut rpcs = Vec::new();
    for file in files(".proto") {
        let text = text(&file);
        let package = text.lines().find_map(|line| line.strip_prefix("package ")).map(|name| name.trim_end_matches(';'));
        let package = package.unwrap_or_else(|| panic!("{file} has no package"));
        let (mut service, mut comment) = ("", String::new());
        for (at, line) in lines(&text) {
            let words = line.trim();
            if let Some(rest) = words.strip_prefix("service ") {
                service = rest.split([' ', '{']).next().unwrap_or_default();
            } else if let Some(rest) = words.strip_prefix("rpc ") {
                let method = rest.split('(').next().unwrap_or_default().trim();
                // Methods are indented by two; the first line that closes one so ends this.
                let body = text[at..].split("\n  }").next().unwrap_or_default().to_owned();
                rpcs.push(Rpc { path: format!("/{package}.{service}/{method}"), body, comment: comment.clone() });
            }
            if words.starts_with("//") {
                comment += words;
            } else {
                comment.clear();
            }
        }
    }
    assert!(rpcs.len() > 50, "the contract was not read: {} methods", rpcs.len());
    rpcs
}

/// Each line with its place.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split_inclusive('\n').scan(0, |at, line| {
        let begin = *at;
        *at += line.len();
        Some((begin, line))
    })
}
