//! `random_password`: a password nobody chose.

use std::sync::Arc;

use freehold_domain::time::Random;
use serde_json::Value;

use super::{
    draw,
    drawn::Drawn,
    provider::{flag, whole},
    schema::{Attribute, Kind, Problem, Schema},
};
use crate::StepError;
use crate::native::Attributes;

/// Each class of characters: whether to use it, how many at least, and which. Special characters are those that need no
/// quoting in most places.
const CLASSES: [(&str, &str, &str); 4] = [
    ("upper", "min_upper", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    ("lower", "min_lower", "abcdefghijklmnopqrstuvwxyz"),
    ("digits", "min_digits", "0123456789"),
    ("special", "min_special", "!#%*+-.:=?@_~"),
];

/// Draws passwords.
pub(crate) struct RandomPassword {
    schema: Schema,
    random: Arc<dyn Random>,
}

impl RandomPassword {
    pub fn new(random: Arc<dyn Random>) -> Self {
        let mut attributes = vec![Attribute::new("length", Kind::Whole { min: 8, max: 256 }).required().replaces()];
        for (class, minimum, _) in CLASSES {
            attributes.push(Attribute::new(class, Kind::Flag).default(true).replaces());
            attributes.push(Attribute::new(minimum, Kind::Whole { min: 0, max: 256 }).default(0).replaces());
        }
        attributes.push(Attribute::new("keepers", Kind::map(Kind::Any)).replaces());
        attributes.push(Attribute::computed("value", Kind::text(256)).sensitive());
        Self { schema: Schema { kind: "random_password", attributes }, random }
    }
}

impl Drawn for RandomPassword {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn rules(&self, known: &Attributes, unknown: &[&str]) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut least = 0;
        for (class, minimum, _) in CLASSES {
            if !unknown.contains(&class) && !flag(known, class) && whole(known, minimum) > 0 {
                problems.push(Problem::rule(minimum, format!("needs `{class}` to be true")));
            }
            least += whole(known, minimum);
        }
        if CLASSES.iter().all(|(class, ..)| !unknown.contains(class) && !flag(known, class)) {
            problems.push(Problem::rule("upper", "at least one class of characters must be used"));
        }
        if !unknown.contains(&"length") && known.contains_key("length") && least > whole(known, "length") {
            problems.push(Problem::rule("length", format!("is less than the {least} characters that the minimums ask for")));
        }
        problems
    }

    fn draw(&self, desired: &Attributes) -> Result<Attributes, StepError> {
        let random = self.random.as_ref();
        let length = usize::try_from(whole(desired, "length")).unwrap_or_default();
        let mut all: Vec<u8> = Vec::new();
        let mut password: Vec<u8> = Vec::with_capacity(length);
        for (_, minimum, characters) in CLASSES.iter().filter(|(class, ..)| flag(desired, class)) {
            all.extend(characters.bytes());
            for _ in 0..whole(desired, minimum) {
                password.push(*draw::one_of(random, characters.as_bytes()));
            }
        }
        if all.is_empty() || password.len() > length {
            return Err(StepError::new("attribute-invalid", "these classes and minimums give no password of this length"));
        }
        while password.len() < length {
            password.push(*draw::one_of(random, &all));
        }
        draw::shuffle(random, &mut password);
        let value = password.into_iter().map(char::from).collect::<String>();
        Ok([("value".to_owned(), Value::String(value))].into())
    }

    fn id(&self, _drawn: &Attributes) -> String {
        // Its value is secret, and nothing else tells one from another.
        "random_password".to_owned()
    }
}
