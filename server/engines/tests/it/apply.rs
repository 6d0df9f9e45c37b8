use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use freehold_engines::{Action, JournalState, Mode, native::Plan};
use serde_json::json;
use x509_parser::prelude::{FromDer, Pem, X509Certificate};

use crate::support::{TestSink, World};

const SECRETS: &str = r#"
inputs:
  properties:
    words: {type: integer, default: 3}
    banner: {type: string, sensitive: true}
resources:
  pw: {type: random_password, length: 24, min_special: 2}
  pet: {type: random_pet, words: "${inputs.words}"}
  note: {type: file, path: etc/app/note, content: "${resources.pet.value} on ${deployment.environment}\n", mode: "0640"}
  secret: {type: file, path: etc/app/secret, content: "${resources.pw.value}", mode: "0600"}
  banner: {type: file, path: banner, content: "${inputs.banner}"}
outputs:
  name: {value: "${resources.pet.value}"}
  password: {value: "${resources.pw.value}", sensitive: true}
  size: {value: "${resources.note.size}"}
"#;

#[tokio::test]
async fn what_is_made_stays_until_something_changes_and_goes_in_the_end() {
    let mut world = World::new();
    world.inputs = json!({ "words": 3, "banner": "hush hush" }).as_object().expect("a map").clone();

    let outcome = world.apply(SECRETS).await;

    let pet = world.attribute("random_pet.pet", "value");
    assert!(outcome.changed);
    assert_eq!(pet.as_str().map(|pet| pet.split('-').count()), Some(3));
    assert_eq!(world.read("etc/app/note"), format!("{} on dev\n", pet.as_str().unwrap_or_default()));
    assert_eq!(json!(world.read("etc/app/secret")), world.attribute("random_password.pw", "value"));
    let mode = |path: &str| fs::metadata(world.root().join(path)).expect("it is there").permissions().mode() & 0o7777;
    assert_eq!((mode("etc/app/note"), mode("etc/app/secret"), mode("banner")), (0o640, 0o600, 0o644));
    assert_eq!(outcome.outputs["name"].value, pet);
    assert!(!outcome.outputs["name"].sensitive && outcome.outputs["password"].sensitive);
    assert_eq!(outcome.outputs["size"].value, json!(world.read("etc/app/note").len()));

    let again = world.plan(SECRETS).await;
    assert!(again.is_empty(), "{:?}", again.summary_for_people());

    world.inputs.insert("banner".to_owned(), json!("hush"));
    let plan = world.plan(SECRETS).await;
    let actions: Vec<_> = plan.changes.values().map(|change| change.action).collect();
    assert_eq!(actions, [Action::Update, Action::Noop, Action::Noop, Action::Noop, Action::Noop]);
    world.apply(SECRETS).await;
    assert_eq!(world.read("banner"), "hush");

    let end = world.destroy(SECRETS).await;
    assert!(end.failed.is_none() && end.state.addresses().is_empty() && end.outputs.is_empty(), "{end:?}");
    assert!(!world.root().join("banner").exists() && !world.root().join("etc/app/secret").exists());
}

#[tokio::test]
async fn each_change_says_whether_it_can_be_undone() {
    use freehold_domain::runs::Reversibility::{Irreversible, Reversible, ReversibleWithDataLoss, Unknown};
    const ALL: &str = r#"
resources:
  key: {type: tls_key}
  cert:
    type: tls_certificate
    private_key_pem: "${resources.key.private_key_pem}"
    subject: {common_name: a}
    validity_hours: 24
  id: {type: random_id}
  note: {type: file, path: note, content: "one"}
"#;
    let said = |plan: &Plan| {
        let summary = plan.summary_for_people();
        let counts = (summary.counts.reversible, summary.counts.reversible_with_data_loss, summary.counts.irreversible);
        let changed = summary.changes.iter().filter(|change| change.action != Action::Noop);
        (changed.map(|change| (change.address.clone(), change.reversibility)).collect::<Vec<_>>(), counts)
    };
    let at = |address: &str, reversibility| (address.to_owned(), reversibility);
    let mut world = World::new();
    let (made, counts) = said(&world.plan(ALL).await);
    assert!(made.iter().all(|(_, reversibility)| *reversibility == Reversible), "{made:?}");
    assert_eq!((made.len(), counts), (4, (4, 0, 0)));
    world.apply(ALL).await;

    let changed = ALL.replace("content: \"one\"", "content: \"two\"").replace("{type: random_id}", "{type: random_id, bytes: 4}");
    assert_eq!(
        said(&world.plan(&changed).await),
        (vec![at("file.note", Reversible), at("random_id.id", Irreversible)], (1, 0, 1))
    );
    fs::write(world.root().join("note"), "somebody else's").expect("a file");
    assert_eq!(said(&world.plan(ALL).await).0, [at("file.note", ReversibleWithDataLoss)], "what they wrote is lost");
    let gone = said(&world.plan_destroy(ALL).await);
    let expected = [
        at("file.note", Reversible),
        at("random_id.id", Irreversible),
        at("tls_certificate.cert", ReversibleWithDataLoss),
        at("tls_key.key", Irreversible),
    ];
    assert_eq!(gone, (expected.to_vec(), (1, 1, 2)));
    fs::remove_file(world.root().join("note")).expect("it was there");
    assert_eq!(said(&world.plan_destroy(ALL).await).0[0], at("file.note", Reversible), "nothing is done to what is gone");

    let rest = "resources:\n  thing: {type: http, create: {method: POST, url: \"http://127.0.0.1:1/\"}}\n";
    let plan = World::new().plan(rest).await;
    assert_eq!((said(&plan).0, plan.summary_for_people().counts.unknown_reversibility), (vec![at("http.thing", Unknown)], 1));
}

#[tokio::test]
async fn an_output_that_is_hidden_is_still_seen_to_change() {
    const HIDDEN: &str = r#"
inputs:
  properties:
    key: {type: string, sensitive: true}
resources:
  pet: {type: random_pet}
outputs:
  key: {value: "${inputs.key}", sensitive: true}
"#;
    let mut world = World::new();
    let planned = async |world: &mut World, key: &str| {
        world.inputs = json!({ "key": key }).as_object().expect("a map").clone();
        let plan = world.plan(HIDDEN).await;
        let [output] = <[_; 1]>::try_from(plan.summary_for_people().outputs).expect("one output");
        assert!(output.sensitive && output.before.is_empty() && output.after.is_empty(), "{output:?}");
        assert_eq!(plan.is_empty(), output.action == Action::Noop, "{plan:?}");
        output.action
    };
    assert_eq!(planned(&mut world, "one").await, Action::Create);
    world.apply(HIDDEN).await;
    assert_eq!(planned(&mut world, "one").await, Action::Noop);
    assert_eq!(planned(&mut world, "two").await, Action::Update);
}

#[tokio::test]
async fn a_plan_is_the_same_to_the_byte_and_shows_no_secret() {
    let mut world = World::new();
    world.inputs = json!({ "words": 2, "banner": "hush hush" }).as_object().expect("a map").clone();
    let request = world.request(SECRETS, Mode::Apply);
    let sink = TestSink::default();
    let plan = world.make(request.clone(), &sink).await.expect("a plan");
    let same = world.make(request, &sink).await.expect("a plan");
    assert_eq!(plan.to_bytes(), same.to_bytes());

    let people = plan.summary_for_people();
    let attribute = |address: &str, path: &str| {
        let change = people.changes.iter().find(|change| change.address == address).expect("it is planned");
        change.attributes.iter().find(|attribute| attribute.path == path).expect("it is shown").clone()
    };
    assert_eq!(people.counts.create, 5);
    assert_eq!(attribute("file.banner", "path").after, "\"banner\"");
    let banner = attribute("file.banner", "content");
    assert!(banner.sensitive && banner.after.is_empty() && !banner.unknown_after);
    let secret = attribute("file.secret", "content");
    assert!(secret.sensitive && secret.unknown_after && secret.after.is_empty());
    assert!(!format!("{people:?} {plan:?} {:?}", sink.lines()).contains("hush"));

    world.apply(SECRETS).await;
    let password = world.attribute("random_password.pw", "value");
    let shown = format!("{:?} {:?}", world.plan_destroy(SECRETS).await.summary_for_people(), world.state);
    assert!(!shown.contains(password.as_str().expect("a text")), "{shown}");
}

#[tokio::test]
async fn no_secret_is_in_logs_and_errors_in_any_form() {
    let mut world = World::new();
    // The password becomes the name of a folder that is a file: the error of the system repeats the path.
    let body = r#"
resources:
  pw: {type: random_password, length: 32, special: false}
  clash: {type: file, path: "taken/${resources.pw.value}", content: x}
"#;
    fs::write(world.root().join("taken"), "a file").expect("a file");
    let sink = TestSink::default();
    let plan = world.plan(body).await;
    let outcome = world.apply_plan(&plan, &sink).await;

    let password = world.attribute("random_password.pw", "value");
    let password = password.as_str().expect("a text");
    let error = outcome.failed.expect("a file is no folder");
    assert!(error.message.contains("(hidden)"), "{error}");
    let told =
        format!("{error:?} {:?} {:?}", sink.lines(), sink.journal().iter().map(|entry| entry.error.clone()).collect::<Vec<_>>());
    assert!(!told.contains(password) && !told.contains(&STANDARD.encode(password)), "{told}");
}

#[tokio::test]
async fn replacing_goes_from_the_end_to_the_beginning_and_back() {
    let mut world = World::new();
    let body = |keeper: &str| {
        format!(
            r#"
resources:
  id: {{type: random_id, bytes: 4, keepers: {{v: {keeper}}}}}
  a: {{type: file, path: "a-${{resources.id.hex}}", content: a}}
  b: {{type: file, path: b, content: "${{resources.a.path}}"}}
"#
        )
    };
    world.apply(&body("one")).await;
    let first = world.read("b");

    let plan = world.plan(&body("two")).await;
    let steps: Vec<_> = plan.steps.iter().map(|step| format!("{:?} {}", step.operation, step.address)).collect();
    assert_eq!(steps, ["Delete file.a", "Delete random_id.id", "Create random_id.id", "Create file.a", "Update file.b"]);
    assert!(plan.changes["random_id.id"].reason.contains("`keepers`"), "{}", plan.changes["random_id.id"].reason);
    let sink = TestSink::default();
    let outcome = world.apply_plan(&plan, &sink).await;

    assert!(outcome.failed.is_none(), "{:?}", outcome.failed);
    assert_ne!(world.read("b"), first);
    assert!(!world.root().join(first).exists() && world.root().join(world.read("b")).exists());
    assert!(sink.serials().is_sorted_by(|a, b| a + 1 == *b), "{:?}", sink.serials());
}

#[tokio::test]
async fn a_failure_stops_only_what_needs_it_and_the_next_run_mends_it() {
    let mut world = World::new();
    let body = r#"
resources:
  bad: {type: file, path: theirs, content: ours}
  after: {type: file, path: after, content: "${resources.bad.sha256}"}
  last: {type: file, path: last, content: x, dependsOn: [after]}
  free: {type: file, path: free, content: x}
"#;
    fs::write(world.root().join("theirs"), "not ours").expect("a file");
    let sink = TestSink::default();
    let plan = world.plan(body).await;
    let outcome = world.apply_plan(&plan, &sink).await;

    let error = outcome.failed.expect("the file is not ours");
    assert_eq!((error.code.as_str(), error.address.as_str(), error.retryable), ("file-exists", "file.bad", false));
    assert_eq!(world.read("theirs"), "not ours");
    assert_eq!(outcome.state.addresses(), ["file.free"]);
    let states = sink.states();
    assert_eq!(states["file.bad"], JournalState::Failed);
    assert_eq!((states["file.after"], states["file.last"]), (JournalState::Skipped, JournalState::Skipped));

    fs::remove_file(world.root().join("theirs")).expect("it is there");
    world.apply(body).await;
    assert_eq!(world.read("theirs"), "ours");
}

#[tokio::test]
async fn a_stop_lets_begun_steps_end_and_begins_no_other() {
    let mut world = World::new();
    let body = r#"
resources:
  a: {type: file, path: a, content: a}
  b: {type: file, path: b, content: b, dependsOn: [a]}
  c: {type: file, path: c, content: c, dependsOn: [b]}
"#;
    let plan = world.plan(body).await;
    let outcome = world.apply_plan(&plan, &TestSink::cancelling("file.a")).await;

    assert!(outcome.cancelled && outcome.failed.is_none() && outcome.changed, "{outcome:?}");
    assert_eq!(outcome.state.addresses(), ["file.a"]);
    assert!(!world.root().join("b").exists());
}

#[tokio::test]
async fn independent_steps_run_side_by_side_and_intents_come_first() {
    let mut world = World::new();
    let lines: String = (0..12).map(|n| format!("  f{n}: {{type: file, path: f{n}, content: x}}\n")).collect();
    let body = format!("resources:\n{lines}  last: {{type: file, path: last, content: x, dependsOn: [f0, f11]}}\n");
    let plan = world.plan(&body).await;
    let sink = TestSink::default();
    world.apply_plan(&plan, &sink).await;

    let (mut begun, mut most) = (BTreeSet::new(), 0);
    for (address, state) in sink.history() {
        match state {
            JournalState::Intended => assert!(begun.insert(address)),
            _ => assert!(begun.remove(&address), "{address} ended before it began"),
        }
        most = most.max(begun.len());
    }
    assert!((2..=8).contains(&most), "{most} side by side");
}

#[tokio::test]
async fn files_stay_inside_the_root() {
    let mut world = World::new();
    fs::create_dir(world.outside().join("private")).expect("a folder");
    fs::write(world.outside().join("private/key"), "theirs").expect("a file");
    symlink(world.outside().join("private"), world.root().join("way")).expect("a link");
    symlink(world.outside().join("private/key"), world.root().join("link")).expect("a link");

    for path in ["way/key", "way/new", "link"] {
        let plan = world.plan(&format!("resources:\n  f: {{type: file, path: {path}, content: x}}\n")).await;
        let outcome = world.apply_plan(&plan, &TestSink::default()).await;
        assert_eq!(outcome.failed.map(|error| error.code).as_deref(), Some("file-path"), "{path}");
    }
    assert_eq!(fs::read_to_string(world.outside().join("private/key")).expect("still there"), "theirs");
    assert!(!world.outside().join("private/new").exists());

    for path in ["../x", "/etc/x", "a/../../x"] {
        let request = world.request(&format!("resources:\n  f: {{type: file, path: \"{path}\", content: x}}\n"), Mode::Apply);
        let error = world.make(request, &TestSink::default()).await.expect_err("no such path");
        assert_eq!(error.code, "blueprint-invalid", "{path}");
    }
}

#[tokio::test]
async fn certificates_are_signed_by_their_authority_and_renewed_before_they_end() {
    let mut world = World::new();
    let body = r#"
resources:
  ca_key: {type: tls_key, algorithm: ecdsa-p384}
  ca:
    type: tls_certificate
    private_key_pem: ${resources.ca_key.private_key_pem}
    subject: {common_name: Test CA, organization: Freehold}
    is_ca: true
    validity_hours: 8760
  key: {type: tls_key, algorithm: ed25519}
  cert:
    type: tls_certificate
    private_key_pem: ${resources.key.private_key_pem}
    ca_cert_pem: ${resources.ca.certificate_pem}
    ca_key_pem: ${resources.ca_key.private_key_pem}
    subject: {common_name: web}
    dns_names: [web.example.com]
    ip_addresses: ["10.0.0.7"]
    validity_hours: 48
    early_renewal_hours: 12
  note: {type: file, path: web.pem, content: "${resources.cert.certificate_pem}"}
"#;
    world.apply(body).await;
    let first = world.read("web.pem");
    let der = |pem: &str| Pem::iter_from_buffer(pem.as_bytes()).next().expect("one").expect("PEM").contents;
    let (ca, leaf) = (der(world.attribute("tls_certificate.ca", "certificate_pem").as_str().expect("text")), der(&first));
    let (_, ca) = X509Certificate::from_der(&ca).expect("DER");
    let (_, leaf) = X509Certificate::from_der(&leaf).expect("DER");
    leaf.verify_signature(Some(ca.public_key())).expect("signed by the authority");
    assert_eq!(leaf.issuer(), ca.subject());
    assert!(ca.is_ca() && !leaf.is_ca());
    let names = leaf.subject_alternative_name().expect("readable").expect("there").value.general_names.len();
    assert_eq!(names, 2);
    assert_eq!(leaf.validity().not_after.timestamp() - leaf.validity().not_before.timestamp(), 48 * 3600 + 300);

    world.clock.advance_hours(35);
    assert!(world.plan(body).await.is_empty());
    world.clock.advance_hours(1);
    let plan = world.plan(body).await;
    assert_eq!(plan.changes["tls_certificate.cert"].action, Action::Replace);
    assert!(plan.changes["tls_certificate.cert"].reason.contains("renewed early"));
    assert_eq!(plan.changes["tls_certificate.ca"].action, Action::Noop);
    world.apply(body).await;
    assert_ne!(world.read("web.pem"), first);
}

#[tokio::test]
async fn everything_wrong_with_a_plan_is_told_at_once() {
    let mut world = World::new();
    world.inputs = json!({ "length": 4 }).as_object().expect("a map").clone();
    let body = r#"
inputs:
  properties:
    length: {type: integer}
    optional: {type: string}
resources:
  pw: {type: random_password, length: "${inputs.length}"}
  note: {type: file, path: note, content: "${inputs.optional}"}
"#;
    let error = world.make(world.request(body, Mode::Apply), &TestSink::default()).await.expect_err("two problems");
    assert_eq!(error.code, "blueprint-invalid");
    assert!(error.message.contains("random_password.pw: length") && error.message.contains("file.note: content"), "{error}");
}

#[tokio::test]
async fn a_value_that_was_secret_stays_hidden_when_the_new_one_is_not() {
    let blueprint = |content: &str| {
        let inputs = "inputs: {properties: {password: {type: string, sensitive: true}}}";
        format!("{inputs}\nresources:\n  f: {{type: file, path: f, content: \"{content}\"}}\n")
    };
    let mut world = World::new();
    world.inputs.insert("password".to_owned(), json!("old-s3cret"));
    world.apply(&blueprint("${inputs.password}")).await;

    let plan = world.plan(&blueprint("in the open")).await;

    let [change] = <[_; 1]>::try_from(plan.summary_for_people().changes).expect("one resource");
    let content = change.attributes.into_iter().find(|attribute| attribute.path == "content").expect("it changes");
    assert_eq!((content.sensitive, content.before.as_str(), content.after.as_str()), (true, "", ""));
    world.apply(&blueprint("in the open")).await;
    let plan = world.plan(&blueprint("for all to see")).await;
    let shown = format!("{:?}", plan.summary_for_people());
    assert!(shown.contains("in the open") && shown.contains("for all to see"), "a value that never was secret shows: {shown}");
}
