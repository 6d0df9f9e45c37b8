//! The language as a whole, told by examples.

mod changes;
mod diagnostics;
mod evaluation;
mod resolution;

use super::*;

/// The blueprint of the documentation, with one of everything.
const GREETING: &str = r#"apiVersion: freehold.dev/v1
engine: native
description: A greeting in a file
inputs:
  type: object
  required: [name]
  properties:
    name: { type: string, minLength: 1, maxLength: 40, pattern: "^[a-z]+$", description: Who is greeted }
    size: { type: string, enum: [small, large], default: small }
    replicas: { type: integer, minimum: 1, maximum: 5, default: 1, immutable: true }
    cidr: { type: string, format: cidr }
    tags: { type: object, additionalProperties: { type: string } }
    list: { type: array, items: { type: string }, minItems: 0, maxItems: 10 }
    limits:
      type: object
      required: [cpu]
      properties:
        cpu: { type: number }
        memory: { type: string, format: quantity, default: 512Mi }
    token: { type: string, sensitive: true }
  rules:
    - { when: "inputs.size == 'large'", require: "inputs.replicas >= 2", message: "large needs two replicas" }
resources:
  pet: { type: random_pet, words: 2 }
  note:
    type: file
    path: "greetings/${inputs.name}.txt"
    content: "Hello ${inputs.name}, I am ${resources.pet.value}.\n${file('motd.txt')}"
    labels: "${has(inputs.tags) ? inputs.tags : {}}"
    networks: ["${has(inputs.cidr) ? inputs.cidr : ''}", "${has(inputs.list) ? inputs.list.join() : ''}"]
    limits: "${has(inputs.limits) ? inputs.limits : {}}"
    dependsOn: [pet]
    when: "inputs.size == 'large'"
  key: { type: secret, from: "${has(inputs.token) ? inputs.token : deployment.id}" }
outputs:
  greeting: { value: "${resources.note.path}", description: Where it is }
"#;

fn files(document: &str) -> Files {
    let file = |path: &str, content: &[u8]| File { path: path.to_owned(), content: content.to_vec() };
    let all = vec![
        file("blueprint.yaml", document.as_bytes()),
        file("motd.txt", "Grüß Gott".as_bytes()),
        file("logo.png", b"\xff\xfe"),
    ];
    Files::new(all).expect("the paths are right")
}

/// A blueprint that has no errors.
fn document(text: &str) -> Document {
    let (document, found) = Document::parse(&files(text));
    document.unwrap_or_else(|| panic!("{found:#?}"))
}

/// A blueprint around some inputs, which one resource uses as it can.
fn with_inputs(properties: &str) -> Document {
    document(&format!(
        "apiVersion: freehold.dev/v1\nengine: native\ninputs:\n  properties:\n{properties}\nresources:\n  a: {{ type: file }}\n"
    ))
}

/// A blueprint around one value of one resource; there is another resource `pet`.
fn with_value(value: &str) -> String {
    let inputs = "inputs: { properties: { name: { type: string }, count: { type: integer }, list: { type: array, items: { type: string } }, tags: { type: object, additionalProperties: { type: string } }, ratio: { type: number } } }";
    format!(
        "apiVersion: freehold.dev/v1\nengine: native\n{inputs}\nresources:\n  pet: {{ type: random_pet }}\n  a:\n    type: file\n    x: {value}\n"
    )
}
