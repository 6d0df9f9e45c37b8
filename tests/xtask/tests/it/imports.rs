//! Who may import whom, as the manifests say it.

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::repository::{files, none, text};

/// Each crate of ours, and the crates of ours that it may name.
const MAY: [(&str, &[&str]); 13] = [
    ("freehold-domain", &[]),
    ("freehold-store", &["freehold-domain"]),
    ("freehold-service", &["freehold-domain", "freehold-store"]),
    ("freehold-connectors", &["freehold-domain", "freehold-fakes"]),
    ("freehold-worker", &["freehold-domain", "freehold-store", "freehold-service", "freehold-connectors"]),
    ("freehold-api", &["freehold-proto", "freehold-service", "freehold-domain"]),
    ("freehold-engines", &["freehold-domain"]),
    ("freehold-runner", &["freehold-proto", "freehold", "freehold-engines", "freehold-domain", "freehold-fakes"]),
    ("freehold-proto", &[]),
    ("freehold", &["freehold-proto"]),
    ("freehold-cli", &["freehold"]),
    ("freehold-fakes", &[]),
    ("xtask", &[]),
];

/// Crates that put all together.
const MAY_ALL: [&str; 2] = ["freehold-server", "freehold-tests"];

/// What the wire is made of, and what SQL is.
const WIRE: [&str; 8] = ["tonic", "tonic-prost", "tonic-types", "prost", "prost-types", "hyper", "http", "h2"];
const SQL: &str = "sqlx";

#[test]
fn crates_import_only_those_below_them() {
    let crates = manifests();
    let mut faults = Vec::new();
    for (name, imports) in &crates {
        if MAY_ALL.contains(&name.as_str()) {
            continue;
        }
        let Some((_, may)) = MAY.iter().find(|(known, _)| known == name) else {
            faults.push(format!("{name}: say in this test whom it may import"));
            continue;
        };
        let ours = imports.iter().filter(|import| crates.contains_key(*import));
        faults.extend(ours.filter(|import| !may.contains(&import.as_str())).map(|import| format!("{name} imports {import}")));
    }
    none(&faults, "a crate imports one that is not below it:");
    for (name, _) in MAY {
        assert!(crates.contains_key(name), "there is no crate {name}; remove it from this test");
    }
}

#[test]
fn rules_know_neither_the_wire_nor_the_database_nor_a_runtime() {
    let crates = manifests();
    let mut faults = Vec::new();
    for (name, imports) in &crates {
        let pure = name == "freehold-domain";
        let inner = pure || ["freehold-store", "freehold-service", "freehold-worker"].contains(&name.as_str());
        let sees_sql = ["freehold-store", "freehold-engines", "freehold-tests"].contains(&name.as_str());
        for import in imports {
            let wire = inner && WIRE.contains(&import.as_str());
            let sql = !sees_sql && import == SQL;
            let effects = pure && ["tokio", "futures", "reqwest", "rustls", "rand", "tempfile"].contains(&import.as_str());
            if wire || sql || effects {
                faults.push(format!("{name} imports {import}"));
            }
        }
    }
    none(&faults, "domain is pure, store and service know no wire, and only the store sees SQL:");
}

/// The engines connect to databases that tenants manage; nothing else of them sees SQL.
#[test]
fn engines_see_sql_only_in_the_postgres_provider() {
    let faults: Vec<_> = files(".rs")
        .into_iter()
        .filter(|file| file.starts_with("server/engines/src/") && !file.starts_with("server/engines/src/native/postgres"))
        .filter(|file| text(file).contains("sqlx"))
        .collect();
    none(&faults, "these name sqlx:");
}

/// Clock and randomness are given to the rules, so that tests can repeat a moment.
#[test]
fn rules_read_no_clock_and_draw_nothing() {
    const OWNER: &str = "server/service/src/system.rs";
    let forbidden = ["SystemTime::now", "Timestamp::now(", "Zoned::now", "now_v7", "new_v4", "SystemRandom::new"];
    let mut faults = Vec::new();
    for file in files(".rs") {
        let layer = ["server/domain/src/", "server/store/src/", "server/service/src/"].iter().any(|dir| file.starts_with(dir));
        if layer && file != OWNER {
            let text = text(&file);
            let shipped = text.split("#[cfg(test)]").next().unwrap_or_default();
            faults.extend(forbidden.iter().filter(|word| shipped.contains(**word)).map(|word| format!("{file}: {word}")));
        }
    }
    none(&faults, "only server/service/src/system.rs reads the clock or draws:");
    assert!(text(OWNER).contains("Timestamp::now("), "{OWNER} no longer owns the clock; name its new owner in this test");
}

/// Every crate with what it depends on, for itself, its tests and its build script.
fn manifests() -> BTreeMap<String, Vec<String>> {
    let mut crates = BTreeMap::new();
    for file in files("Cargo.toml") {
        let manifest: Table = text(&file).parse().unwrap_or_else(|error| panic!("{file}: {error}"));
        let Some(name) = manifest.get("package").and_then(|package| package.get("name")?.as_str()) else { continue };
        let tables = ["dependencies", "dev-dependencies", "build-dependencies"];
        let imports = tables.iter().filter_map(|table| manifest.get(*table).and_then(Value::as_table)).flat_map(Table::keys);
        crates.insert(name.to_owned(), imports.cloned().collect());
    }
    crates
}
