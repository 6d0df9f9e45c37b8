//! A condition about named facts: one expression that is true or false, under the rules and bounds of every other one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde_json::{Map, Value};

use super::{
    evaluate::{DeploymentFacts, Scope},
    expression::{Expression, Subject, Vocabulary},
    files::Files,
    pattern::Patterns,
};

/// What is known of each subject, by the names of its fields.
pub type Facts = BTreeMap<String, Map<String, Value>>;

/// A checked condition.
#[derive(Clone, Debug)]
pub struct Condition(Expression);

/// What is wrong with a condition, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misreading {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Misreading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)
    }
}

impl Condition {
    /// Reads a condition about these subjects.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(source: &str, subjects: &[Subject]) -> Result<Self, Vec<Misreading>> {
        parse(source, subjects).map(Self)
    }

    /// Whether it holds of these facts. A fact that is not there is as an absent field.
    ///
    /// # Errors
    /// Why that cannot be said: something that it reads is missing, types do not fit, or it would cost too much.
    pub fn holds(&self, facts: &Facts) -> Result<bool, String> {
        match evaluate(&self.0, facts)? {
            Value::Bool(holds) => Ok(holds),
            _ => Err(format!("`{}` is neither true nor false", self.0.source())),
        }
    }
}

/// Reads an expression about these subjects and nothing else.
pub(super) fn parse(source: &str, subjects: &[Subject]) -> Result<Expression, Vec<Misreading>> {
    let patterns = Patterns::default();
    let vocabulary =
        Vocabulary { inputs: BTreeSet::new(), resources: None, deployment: false, files: None, patterns: &patterns, subjects };
    Expression::parse(source, &vocabulary).map_err(|refused| {
        let mut all: Vec<_> = refused.problems.into_iter().map(|problem| (problem.at.start, problem.message)).collect();
        all.sort();
        all.into_iter().map(|(at, message)| place(source, at, message)).collect()
    })
}

/// The value of such an expression.
pub(super) fn evaluate(expression: &Expression, facts: &Facts) -> Result<Value, String> {
    let (inputs, deployment, files) = (Map::new(), DeploymentFacts::default(), Files::default());
    let scope = Scope { inputs: &inputs, resources: facts, deployment: &deployment, files: &files };
    expression.evaluate(&scope).map_err(|error| error.to_string())
}

fn place(source: &str, at: usize, message: String) -> Misreading {
    let before = source.get(..at).unwrap_or_default();
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Misreading { line: before.matches('\n').count() + 1, column, message }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SUBJECTS: &[Subject] = &[("plan", &["create", "changes"]), ("environment", &["labels"])];

    fn facts() -> Facts {
        let fields = |value: Value| value.as_object().cloned().expect("an object");
        let changes = json!([{"type": "file", "action": "DELETE"}, {"type": "http", "action": "CREATE"}]);
        Facts::from([
            ("plan".to_owned(), fields(json!({"create": 1, "changes": changes}))),
            ("environment".to_owned(), fields(json!({"labels": {"tier": "gold"}}))),
        ])
    }

    #[test]
    fn a_condition_reads_facts_and_nothing_else() {
        let table = [
            ("plan.create > 0", Ok(true)),
            ("plan.create == 2 || environment.labels.tier == 'silver'", Ok(false)),
            ("plan.changes.exists(c, c.type == 'file' && c.action == 'DELETE')", Ok(true)),
            ("has(environment.labels.owner)", Ok(false)),
            ("'tier' in environment.labels", Ok(true)),
            ("plan['create'] < 0", Ok(false)),
            ("environment.labels.owner == 'a'", Err("does not have the key")),
            ("plan.create", Err("neither true nor false")),
            ("plan.create > 'a'", Err("no matching overload")),
        ];
        for (source, expected) in table {
            let found = Condition::parse(source, SUBJECTS).expect(source).holds(&facts());
            match expected {
                Ok(holds) => assert_eq!(found, Ok(holds), "{source}"),
                Err(why) => assert!(found.as_ref().is_err_and(|error| error.contains(why)), "{source}: {found:?}"),
            }
        }
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once_with_its_place() {
        let source = "plan.creates > 0\n  && inputs.name == 'a' && plan == 1 && open('x')";
        let wrong = Condition::parse(source, SUBJECTS).expect_err("four faults");
        let places: Vec<_> = wrong.iter().map(|one| (one.line, one.column)).collect();
        assert_eq!(places, [(1, 1), (1, 6), (2, 6), (2, 41)], "{wrong:?}");
        let all = wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        for said in ["did you mean `create`", "there is no `inputs`", "name a field of `plan`", "no function `open`"] {
            assert!(all.contains(said), "{said} is missing in {all}");
        }
        assert!(Condition::parse("", SUBJECTS).is_err() && Condition::parse("plan.create >", SUBJECTS).is_err());
        assert!(Condition::parse("plan.changes.all(plan, true)", SUBJECTS).is_err(), "a subject keeps its name");
    }

    #[test]
    fn what_costs_too_much_is_not_begun() {
        let mut facts = facts();
        let many: Vec<Value> = (0..3000).map(|n| json!({"type": format!("type-{n}"), "action": "CREATE"})).collect();
        facts.entry("plan".to_owned()).or_default().insert("changes".to_owned(), Value::Array(many));
        let nested = "plan.changes.exists(a, plan.changes.exists(b, a.type == b.type && a.action != b.action))";
        let error = Condition::parse(nested, SUBJECTS).expect("a condition").holds(&facts).expect_err("nine million rounds");
        assert!(error.contains("bytes on the way"), "{error}");
    }
}
