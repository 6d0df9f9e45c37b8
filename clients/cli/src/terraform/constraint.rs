//! Type constraints of variables, and the schemas they become.

use hcl::{
    Expression,
    expr::{FuncCall, ObjectKey},
};
use serde_json::{Map, Value, json};

/// A type that a schema can say. There are others: tuples, and `any`, which is whatever the value is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Constraint {
    String,
    Number,
    Boolean,
    /// Lists and sets.
    List(Box<Self>),
    Map(Box<Self>),
    /// Attributes, and whether each may be missing.
    Object(Vec<(String, Self, bool)>),
}

impl Constraint {
    /// Reads the expression of a type; `None` where a schema could not say the same.
    pub fn read(expression: &Expression) -> Option<Self> {
        match expression {
            Expression::Variable(name) => match name.as_str() {
                "string" => Some(Self::String),
                "number" => Some(Self::Number),
                "bool" => Some(Self::Boolean),
                _ => None,
            },
            Expression::FuncCall(call) => {
                let argument = call.args.first()?;
                match call.name.name.as_str() {
                    "list" | "set" => Some(Self::List(Box::new(Self::read(argument)?))),
                    "map" => Some(Self::Map(Box::new(Self::read(argument)?))),
                    "object" => Self::object(argument),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn object(attributes: &Expression) -> Option<Self> {
        let Expression::Object(attributes) = attributes else { return None };
        let attribute = |(key, constraint): (&ObjectKey, &Expression)| {
            let name = match key {
                ObjectKey::Identifier(name) => name.to_string(),
                ObjectKey::Expression(Expression::String(name)) => name.clone(),
                _ => return None,
            };
            match constraint {
                Expression::FuncCall(call) if is_optional(call) => Some((name, Self::read(call.args.first()?)?, true)),
                constraint => Some((name, Self::read(constraint)?, false)),
            }
        };
        attributes.iter().map(attribute).collect::<Option<_>>().map(Self::Object)
    }

    /// The type of a value, for a variable that names none.
    pub fn of(value: &Value) -> Option<Self> {
        match value {
            Value::String(_) => Some(Self::String),
            Value::Number(_) => Some(Self::Number),
            Value::Bool(_) => Some(Self::Boolean),
            Value::Array(items) => {
                let first = Self::of(items.first()?)?;
                items.iter().all(|item| Self::of(item).as_ref() == Some(&first)).then(|| Self::List(Box::new(first)))
            }
            Value::Object(fields) => {
                let first = Self::of(fields.values().next()?)?;
                fields.values().all(|field| Self::of(field).as_ref() == Some(&first)).then(|| Self::Map(Box::new(first)))
            }
            Value::Null => None,
        }
    }

    /// The schema of an input.
    pub fn schema(&self) -> Map<String, Value> {
        let schema = match self {
            Self::String => json!({ "type": "string" }),
            Self::Number => json!({ "type": "number" }),
            Self::Boolean => json!({ "type": "boolean" }),
            Self::List(items) => json!({ "type": "array", "items": items.schema() }),
            Self::Map(values) => json!({ "type": "object", "additionalProperties": values.schema() }),
            Self::Object(attributes) => {
                let required: Vec<_> = attributes.iter().filter(|(_, _, optional)| !optional).map(|(name, ..)| name).collect();
                let properties: Map<_, _> =
                    attributes.iter().map(|(name, constraint, _)| (name.clone(), constraint.schema().into())).collect();
                json!({ "type": "object", "required": required, "properties": properties })
            }
        };
        match schema {
            Value::Object(schema) => schema,
            _ => Map::new(),
        }
    }

    /// The value as the program would take it: it makes numbers of texts and texts of numbers, and drops what no attribute asks for.
    pub fn fit(&self, value: Value) -> Value {
        match (self, value) {
            (Self::String, Value::Number(number)) => number.to_string().into(),
            (Self::String, Value::Bool(flag)) => flag.to_string().into(),
            (Self::Number, Value::String(text)) => {
                serde_json::from_str(&text).ok().filter(Value::is_number).unwrap_or(Value::String(text))
            }
            (Self::Boolean, Value::String(text)) => text.parse().map_or(Value::String(text), Value::Bool),
            (Self::List(items), Value::Array(values)) => values.into_iter().map(|value| items.fit(value)).collect(),
            (Self::Map(inner), Value::Object(fields)) => {
                fields.into_iter().map(|(key, value)| (key, inner.fit(value))).collect::<Map<_, _>>().into()
            }
            (Self::Object(attributes), Value::Object(mut fields)) => attributes
                .iter()
                .filter_map(|(name, inner, _)| Some((name.clone(), inner.fit(fields.remove(name)?))))
                .collect::<Map<_, _>>()
                .into(),
            (_, value) => value,
        }
    }
}

fn is_optional(call: &FuncCall) -> bool {
    call.name.name.as_str() == "optional"
}
