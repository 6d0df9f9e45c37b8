//! Files: how long, what may not stand in them, and that links lead somewhere.

use std::collections::BTreeSet;

use crate::repository::{files, none, root, text};

/// Lines after which a file is split by meaning.
const LONGEST: usize = 600;

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    let faults: Vec<_> = files(".rs")
        .into_iter()
        .map(|file| (text(&file).lines().count(), file))
        .filter(|(lines, _)| *lines > LONGEST)
        .map(|(lines, file)| format!("{file} has {lines} lines"))
        .collect();
    none(&faults, &format!("split these by meaning; {LONGEST} lines are the most:"));
}

#[test]
fn nothing_is_left_undone_or_left_out() {
    let forbidden = [
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("d", "bg!("),
        concat!("#[ig", "nore"),
        concat!("```ig", "nore"),
        concat!("#[al", "low("),
    ];
    let mut faults = Vec::new();
    for file in files(".rs") {
        for (line, content) in text(&file).lines().enumerate() {
            let found = forbidden.iter().filter(|word| content.contains(**word));
            faults.extend(found.map(|word| format!("{file}:{}: {word}", line + 1)));
        }
    }
    none(&faults, "finish it, run it, or say what is expected and why:");
}

/// Statements are constants with places for values: nothing that a user wrote becomes SQL. `BEGIN` with the tenant's UUID, which has
/// no place for values, is the one that is put together.
#[test]
fn the_store_builds_no_sql_from_text() {
    const WORDS: [&str; 10] = ["SELECT", "INSERT", "UPDATE", "DELETE", "WHERE", "ORDER BY", "VALUES", "FROM ", "LIMIT ", "AND "];
    let mut faults = Vec::new();
    for file in files(".rs").into_iter().filter(|file| file.starts_with("server/store/src/")) {
        let text = text(&file);
        let shipped = text.split("#[cfg(test)]").next().unwrap_or_default();
        let allowed = usize::from(file == "server/store/src/postgres.rs");
        if shipped.matches("AssertSqlSafe(").count() > allowed {
            faults.push(format!("{file}: AssertSqlSafe"));
        }
        for call in ["format!(", "write!(", "push_str(", "concat("] {
            for (at, _) in shipped.match_indices(call) {
                let inside = arguments(&shipped[at + call.len()..]);
                if let Some(word) = WORDS.iter().find(|word| inside.contains(**word)) {
                    faults.push(format!("{file}:{}: {call}… {word}", shipped[..at].lines().count()));
                }
            }
        }
    }
    none(&faults, "write these as constant statements with $1, $2, …:");
}

/// The text up to the parenthesis that closes a call.
fn arguments(text: &str) -> &str {
    let mut depth = 1;
    for (at, byte) in text.bytes().enumerate() {
        depth += i32::from(byte == b'(') - i32::from(byte == b')');
        if depth == 0 {
            return &text[..at];
        }
    }
    text
}

#[test]
fn every_migration_is_there_for_both_databases() {
    let names = |dialect: &str| -> BTreeSet<String> {
        let dir = format!("migrations/{dialect}/");
        files(".sql").into_iter().filter_map(|file| file.strip_prefix(&dir).map(str::to_owned)).collect()
    };
    let (postgres, sqlite) = (names("postgres"), names("sqlite"));
    assert!(!postgres.is_empty(), "there are no migrations");
    let alone: Vec<_> = postgres.symmetric_difference(&sqlite).cloned().collect();
    none(&alone, "these are there for one database only:");
    for (index, name) in postgres.iter().enumerate() {
        let number = format!("{:04}_", index + 1);
        assert!(name.starts_with(&number), "migrations are numbered without gaps: {name} should begin with {number}");
    }
}

#[test]
fn links_of_documents_lead_to_files() {
    let mut faults = Vec::new();
    for file in files(".md") {
        let dir = root().join(&file).parent().expect("a file is in a folder").to_owned();
        let text = text(&file);
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split([')', ' ']).next().unwrap_or_default();
            let path = target.split('#').next().unwrap_or_default();
            let outside = target.contains("://") || target.starts_with("mailto:");
            if !outside && !path.is_empty() && !dir.join(path).exists() {
                faults.push(format!("{file}:{}: {target}", text[..at].lines().count()));
            }
        }
    }
    none(&faults, "there is no such file:");
}
