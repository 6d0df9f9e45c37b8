//! `shelf_item`: plans, makes, looks at and removes items.

use std::collections::{BTreeMap, HashMap};

use prost::Message;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    message::{About, Applied, Attribute, Block, Diagnostic, Dynamic, Found, Path, Planned, Schema, Schemas, Step, Upgrade},
    value::Value,
};

type Item = BTreeMap<String, Value>;

/// Answers a call of this method; nothing when there is none of this name, or its message cannot be read.
pub async fn call(method: &str, message: &[u8]) -> Option<Vec<u8>> {
    Some(match method {
        "GetProviderSchema" => schemas().encode_to_vec(),
        "ValidateProviderConfig" | "ValidateResourceConfig" | "ConfigureProvider" | "StopProvider" => Vec::new(),
        "UpgradeResourceState" => {
            let json = Upgrade::decode(message).ok()?.raw.unwrap_or_default().json;
            Found { state: Some(Dynamic { json, msgpack: Vec::new() }), diagnostics: Vec::new() }.encode_to_vec()
        }
        "ReadResource" => {
            let prior = read(About::decode(message).ok()?.prior)?;
            let (state, diagnostics) = told(look(prior).await);
            Found { state, diagnostics }.encode_to_vec()
        }
        "PlanResourceChange" => {
            let about = About::decode(message).ok()?;
            plan(read(about.prior)?, read(about.wanted)?).encode_to_vec()
        }
        "ApplyResourceChange" => {
            let about = About::decode(message).ok()?;
            let prior = read(about.prior)?;
            let (state, diagnostics) = told(apply(prior.clone(), read(about.wanted)?).await);
            // After a failure it is what it was.
            Applied { state: state.or_else(|| Some(written(prior))), diagnostics }.encode_to_vec()
        }
        _ => return None,
    })
}

fn schemas() -> Schemas {
    let text = |name: &str, required: bool| Attribute {
        name: name.to_owned(),
        r#type: br#""string""#.to_vec(),
        required,
        computed: !required,
    };
    let block = Block { attributes: vec![text("name", true), text("content", true), text("id", false)] };
    Schemas {
        provider: Some(Schema { block: Some(Block::default()) }),
        resources: HashMap::from([("shelf_item".to_owned(), Schema { block: Some(block) })]),
    }
}

fn read(value: Option<Dynamic>) -> Option<Option<Item>> {
    match Value::read(&mut value.unwrap_or_default().msgpack.as_slice())? {
        Value::Object(item) => Some(Some(item)),
        Value::Null => Some(None),
        _ => None,
    }
}

fn written(item: Option<Item>) -> Dynamic {
    let mut msgpack = Vec::new();
    item.map_or(Value::Null, Value::Object).write(&mut msgpack);
    Dynamic { msgpack, json: Vec::new() }
}

fn told(done: Result<Option<Item>, String>) -> (Option<Dynamic>, Vec<Diagnostic>) {
    match done {
        Ok(item) => (Some(written(item)), Vec::new()),
        Err(why) => (None, vec![Diagnostic { severity: 1, summary: "the shelf refuses".to_owned(), detail: why }]),
    }
}

/// What is made new gets another id; another name makes it new.
fn plan(prior: Option<Item>, wanted: Option<Item>) -> Planned {
    let Some(mut wanted) = wanted else { return Planned { state: Some(written(None)), replaces: Vec::new() } };
    let renamed = prior.as_ref().is_some_and(|prior| prior.get("name") != wanted.get("name"));
    if prior.is_none() || renamed {
        wanted.insert("id".to_owned(), Value::Unknown);
    }
    let name = Path { steps: vec![Step { attribute: "name".to_owned() }] };
    Planned { state: Some(written(Some(wanted))), replaces: if renamed { vec![name] } else { Vec::new() } }
}

async fn look(prior: Option<Item>) -> Result<Option<Item>, String> {
    let Some(mut item) = prior else { return Ok(None) };
    match ask("GET", &text(&item, "name")?, "").await? {
        None => Ok(None),
        Some(found) => {
            let (id, content) = found.split_once('\n').ok_or("it answers with something else")?;
            item.insert("id".to_owned(), Value::Text(id.to_owned()));
            item.insert("content".to_owned(), Value::Text(content.to_owned()));
            Ok(Some(item))
        }
    }
}

async fn apply(prior: Option<Item>, wanted: Option<Item>) -> Result<Option<Item>, String> {
    let Some(mut wanted) = wanted else {
        let prior = prior.ok_or("there is nothing to remove")?;
        ask("DELETE", &text(&prior, "name")?, "").await?;
        return Ok(None);
    };
    let id = ask("PUT", &text(&wanted, "name")?, &text(&wanted, "content")?).await?.ok_or("it was not taken")?;
    wanted.insert("id".to_owned(), Value::Text(id));
    Ok(Some(wanted))
}

fn text(item: &Item, name: &str) -> Result<String, String> {
    match item.get(name) {
        Some(Value::Text(text)) => Ok(text.clone()),
        other => Err(format!("{name} is {other:?}")),
    }
}

/// The answer of the shelf; nothing when there is no such item.
async fn ask(method: &str, name: &str, content: &str) -> Result<Option<String>, String> {
    let variable = |name: &str| std::env::var(name).map_err(|_| format!("{name} is not in the environment"));
    let (address, token) = (variable("SHELF_ADDRESS")?, variable("SHELF_TOKEN")?);
    let asked = async {
        let mut stream = TcpStream::connect(&address).await?;
        let length = content.len();
        let head = format!("{method} /{name} HTTP/1.1\r\nauthorization: {token}\r\ncontent-length: {length}\r\n\r\n{content}");
        stream.write_all(head.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.map(|_| answer)
    };
    let answer = asked.await.map_err(|error| format!("{address}: {error}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("it answers with something else")?;
    match head.split(' ').nth(1) {
        Some("200") => Ok(Some(body.to_owned())),
        Some("404") => Ok(None),
        _ => Err(body.to_owned()),
    }
}
