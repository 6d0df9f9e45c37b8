use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    blueprints::{Document, File, Files},
    deployments::OutputValue,
    resource::{Described, Meta},
    time::Timestamp,
};

const BLUEPRINT: &str = "
apiVersion: freehold.dev/v1
engine: native
inputs:
  properties:
    title: { type: string, default: 'shop/dev/network#name' }
    network: { type: string, format: deployment-output-ref }
    subnets: { type: array, items: { type: string, format: deployment-output-ref } }
    peers: { type: object, additionalProperties: { type: string, format: deployment-output-ref } }
    database:
      type: object
      properties: { host: { type: string, format: deployment-output-ref }, name: { type: string } }
    password: { type: string, format: deployment-output-ref, sensitive: true }
resources: {}
";

fn tenant() -> Id {
    "acme".parse().expect("an id")
}

fn name(short: &str) -> DeploymentName {
    let reference: OutputRef = format!("{short}#x").parse().expect("a reference");
    reference.deployment_name(&tenant())
}

fn binding(input: &str, output: &str, sensitive: bool) -> Binding {
    Binding { input: input.to_owned(), output: output.to_owned(), sensitive }
}

fn deployment(short: &str, state: DeploymentState) -> Deployment {
    let version = "tenants/acme/blueprints/b/versions/1.0.0".parse().expect("a version");
    let meta = Meta::new(Uid(uuid::Uuid::nil()), Described::default(), "platform/admin", Timestamp::from_micros(0));
    Deployment { state, ..Deployment::new(name(short), meta, version, Map::new()) }
}

#[test]
fn references_are_found_at_any_depth_and_filled_in_where_they_stand() {
    let files = Files::new(vec![File { path: "blueprint.yaml".to_owned(), content: BLUEPRINT.into() }]).expect("files");
    let (document, problems) = Document::parse(&files);
    let document = document.unwrap_or_else(|| panic!("{problems:?}"));
    let inputs = json!({
        "title": "shop/dev/network#name",
        "network": "shop/dev/network#id",
        "subnets": ["shop/dev/network#one", "shop/dev/other#two"],
        "peers": { "a/b": "shop/dev/network#peer" },
        "database": { "host": "shop/dev/database#host", "name": "shop" },
        "password": "shop/dev/database#password",
    });
    let found = references(document.inputs(), inputs.as_object().expect("a map"), &tenant());
    let network = [binding("network", "id", false), binding("subnets/0", "one", false), binding("peers/a~1b", "peer", false)];
    let database = [binding("database/host", "host", false), binding("password", "password", true)];
    assert_eq!(
        found,
        BTreeMap::from([
            (name("shop/dev/network"), network.to_vec()),
            (name("shop/dev/other"), vec![binding("subnets/1", "two", false)]),
            (name("shop/dev/database"), database.to_vec()),
        ]),
        "what only looks like one is none"
    );

    let mut filled = inputs;
    let outputs = Outputs::from(["id", "one", "peer", "host", "password"].map(|output| {
        let value = if output == "one" { json!([1, 2]) } else { json!(format!("the {output}")) };
        (output.to_owned(), OutputValue { value, sensitive: output == "password" })
    }));
    for (upstream, bindings) in found {
        let dependency = Dependency { upstream, uid: Uid(uuid::Uuid::nil()), bindings, revision: 0, state_serial: 0 };
        let done = fill(&mut filled, &dependency, &outputs);
        let missing = dependency.upstream == name("shop/dev/other");
        assert_eq!(done, if missing { Err(Unfilled::Missing("two".to_owned())) } else { Ok(()) });
    }
    let expected = json!({
        "title": "shop/dev/network#name",
        "network": "the id",
        "subnets": [[1, 2], "shop/dev/other#two"],
        "peers": { "a/b": "the peer" },
        "database": { "host": "the host", "name": "shop" },
        "password": "the password",
    });
    assert_eq!(filled, expected);
}

#[test]
fn a_sensitive_output_goes_into_no_input_that_shows() {
    let uid = Uid(uuid::Uuid::nil());
    let of = |bindings| Dependency { upstream: name("shop/dev/db"), uid, bindings, revision: 0, state_serial: 0 };
    let outputs = Outputs::from([("secret".to_owned(), OutputValue { value: json!("hush"), sensitive: true })]);
    let mut inputs = json!({ "open": "shop/dev/db#secret", "hidden": "shop/dev/db#secret" });
    let refused = fill(&mut inputs, &of(vec![binding("open", "secret", false)]), &outputs);
    let Err(Unfilled::Never(error)) = refused else { panic!("{refused:?}") };
    assert!(error.message.contains("shop/dev/db") && !error.message.contains("hush"), "{error:?}");
    assert_eq!(fill(&mut inputs, &of(vec![binding("hidden", "secret", true)]), &outputs), Ok(()));
    assert_eq!(inputs, json!({ "open": "shop/dev/db#secret", "hidden": "hush" }));
}

#[test]
fn only_what_is_whole_and_at_rest_is_built_on() {
    use DeploymentState::{Abandoned, Active, Destroyed, New, Partial, Quarantined};
    for (state, drifted, strict, ready) in [
        (New, false, false, false),
        (Active, false, false, true),
        (Active, true, false, true),
        (Active, true, true, false),
        (Active, false, true, true),
        (Partial, false, false, false),
        (Destroyed, false, false, false),
        (Quarantined, false, false, false),
        (Abandoned, false, false, false),
    ] {
        let upstream = Deployment { drifted, ..deployment("shop/dev/db", state) };
        let wait = not_ready(&upstream, None, strict);
        assert_eq!(wait.is_none(), ready, "{state:?} drifted: {drifted} strict: {strict}");
        assert!(wait.is_none_or(|wait| wait.detail.contains("shop/dev/db")));
    }
    let real = [deployment("shop/dev/a", Active), deployment("shop/dev/b", Destroyed), deployment("shop/dev/c", Quarantined)];
    assert_eq!(listed(&in_need(&real)), "shop/dev/a, shop/dev/c");
}

proptest! {
    #[test]
    fn there_is_an_order_or_a_cycle_that_is_one(pairs in proptest::collection::vec((0_u8..10, 0_u8..10), 0..25)) {
        let mut needs = Needs::<String>::new();
        for (user, needed) in pairs {
            needs.entry(format!("n{user}")).or_default().insert(format!("n{needed}"));
        }
        let closed = |name: &String| ancestors_of(&needs, name);
        match order(&needs) {
            Ok(order) => {
                let place = |name: &String| order.iter().position(|other| other == name);
                for (user, needed) in &needs {
                    prop_assert!(needed.iter().all(|needed| place(needed) < place(user)));
                    prop_assert!(!closed(user).contains(user), "nothing needs itself");
                    prop_assert!(closed(user).iter().all(|ancestor| place(ancestor) < place(user)));
                }
            }
            Err(cycle) => {
                let names: Vec<&str> = cycle.split(" → ").collect();
                prop_assert!(names.len() > 1 && names.first() == names.last(), "{}", cycle);
                prop_assert!(names.windows(2).all(|pair| needs[pair[0]].contains(pair[1])), "{}", cycle);
            }
        }
    }
}

/// The same over borrowed names.
fn ancestors_of(needs: &Needs<String>, of: &str) -> BTreeSet<String> {
    let borrowed: Needs<&str> =
        needs.iter().map(|(name, needed)| (name.as_str(), needed.iter().map(String::as_str).collect())).collect();
    ancestors(&borrowed, of).into_iter().map(str::to_owned).collect()
}
