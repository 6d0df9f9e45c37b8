use freehold_domain::blueprints::Document;
use freehold_engines::Engine;

use crate::support::{World, files};

fn found(body: &str) -> Vec<(u32, &'static str, String)> {
    let (document, diagnostics) = Document::parse(&files(body));
    let document = document.unwrap_or_else(|| panic!("{diagnostics:?}"));
    World::new().engine.validate(&document).into_iter().map(|one| (one.line, one.code, one.message)).collect()
}

#[test]
fn every_problem_is_told_at_its_place_with_what_would_be_right() {
    let found = found(
        r#"
inputs: {properties: {size: {type: integer, default: 24}}}

resources:
  pw:
    type: random_pasword
  key:
    type: random_password
    lenght: 24
    min_upper: -1
  note:
    type: file
    path: ../escape
    content: ${resources.pet.valeu}
    content_base64: "!"
  pet:
    type: random_pet
    words: ${inputs.size}
  site:
    type: http
    create: {url: "ftp://example.com", metod: PUT}
outputs:
  pin: {value: "${resources.key.value}"}
"#,
    );

    let expected = [
        (8, "unknown-type", "did you mean `random_password`?"),
        (9, "attribute-missing", "`length` must be given"),
        (11, "unknown-attribute", "did you mean `length`?"),
        (12, "attribute-invalid", "`min_upper` must be a whole number from 0 to 256"),
        (15, "attribute-invalid", "`path` must be relative"),
        (16, "unknown-attribute", "a `random_pet` has no attribute `valeu`; did you mean `value`?"),
        (17, "attribute-invalid", "only one of them"),
        (17, "attribute-invalid", "is not base64"),
        (23, "unknown-attribute", "did you mean `method`?"),
        (0, "sensitive-output", "add `sensitive: true`"),
    ];
    for (line, code, message) in expected {
        let hit = found.iter().any(|(at, what, text)| (*at, *what) == (line, code) && text.contains(message));
        assert!(hit, "({line}, {code}, {message}) is not in {found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn a_sound_blueprint_has_no_problems() {
    let found = found(
        r#"
inputs: {properties: {name: {type: string, default: web}}}
resources:
  key: {type: tls_key, algorithm: ed25519}
  cert:
    type: tls_certificate
    private_key_pem: ${resources.key.private_key_pem}
    subject: {common_name: "${inputs.name}"}
    dns_names: ["${inputs.name}.example.com", "*.example.com"]
    validity_hours: 24
  note: {type: file, path: "certs/${inputs.name}.pem", content: "${resources.cert.certificate_pem}"}
outputs:
  key: {value: "${resources.key.private_key_pem}", sensitive: true}
"#,
    );
    assert_eq!(found, []);
}
