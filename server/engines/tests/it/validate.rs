use freehold_domain::blueprints::Document;
use freehold_engines::Rules;

use crate::support::{World, files};

fn found(body: &str) -> Vec<(u32, &'static str, String)> {
    let (_, all) = Document::parse_with(&files(body), |document| World::new().engine.validate(document));
    all.into_iter().map(|one| (one.line, one.code, one.message)).collect()
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
        (23, "attribute-invalid", "`create.url` must begin with https://"),
        (25, "sensitive-output", "add `sensitive: true`"),
    ];
    for (line, code, message) in expected {
        let hit = found.iter().any(|(at, what, text)| (*at, *what) == (line, code) && text.contains(message));
        assert!(hit, "({line}, {code}, {message}) is not in {found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn what_could_be_read_is_checked_whatever_else_is_wrong() {
    let found = found(
        r#"
inputs: {properties: {size: {type: intger}}}
resources:
  pet: {type: random_pet, words: 9, separator: "${inputs.siz}"}
  note:
    type: file
    path: /abs
    content: "${dyn(1)} ${resources.pet.valeu}"
    mode: 5
    size: ~
  bare: {path: "${resources.pet.wrds}"}
  loop: {type: random_id, bytes: "${resources.pool.hex}"}
  pool: {type: Random, keepers: {of: "${resources.loop.hexx}"}}
  file: {type: file, content: ~, path: ~}
  cert: {type: tls_certificate, validity_hours: 1, early_renewal_hours: 1, ca_key_pem: x, subject: {name: x}}
outputs:
  pet: {value: "${resources.pet.vlue} ${inputs.nope}"}
"#,
    );
    let expected = [
        (4, "unknown-type", "there is no type `intger`; did you mean `integer`?"),
        (6, "attribute-invalid", "`words` must be a whole number from 1 to 8"),
        (6, "unknown-input", "there is no input `siz`; did you mean `size`?"),
        (9, "attribute-invalid", "`path` must be relative"),
        (10, "unknown-function", "all, bool, contains"),
        (10, "unknown-attribute", "no attribute `valeu`; did you mean `value`?"),
        (11, "attribute-type", "`mode` must be text, not a number"),
        (12, "attribute-computed", "`size` cannot be given"),
        (13, "missing-key", "needs the key `type`"),
        (13, "unknown-attribute", "no attribute `wrds`; did you mean `words`?"),
        (14, "cyclic-reference", "loop -> pool -> loop"),
        (15, "bad-name", "`Random` is not a name"),
        (15, "unknown-attribute", "no attribute `hexx`; did you mean `hex`?"),
        (16, "attribute-missing", "`path` must be given"),
        (16, "attribute-missing", "`content` must be given"),
        (17, "attribute-missing", "`private_key_pem` must be given"),
        (17, "attribute-invalid", "`ca_cert_pem` must be given together"),
        (17, "unknown-attribute", "`subject.name` is no attribute here; there are `common_name`"),
        (17, "attribute-invalid", "`early_renewal_hours` must be less"),
        (19, "unknown-attribute", "no attribute `vlue`; did you mean `value`?"),
        (19, "unknown-input", "there is no input `nope`"),
    ];
    for (line, code, message) in expected {
        let hits = found.iter().filter(|(at, what, text)| (*at, *what) == (line, code) && text.contains(message)).count();
        assert_eq!(hits, 1, "({line}, {code}, {message}) in {found:#?}");
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
