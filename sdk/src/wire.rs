//! From the messages of the contract to the types of this crate.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Number, Value};

/// Turns a part of a message into what this crate shows.
pub(crate) trait Lift<T> {
    fn lift(self) -> T;
}

macro_rules! same {
    ($($kind:ty),*) => {$(
        impl Lift<$kind> for $kind {
            fn lift(self) -> $kind {
                self
            }
        }
    )*};
}
same!(bool, i32, i64, String, Vec<u8>, BTreeMap<String, String>);

impl<A: Lift<B>, B> Lift<Option<B>> for Option<A> {
    fn lift(self) -> Option<B> {
        self.map(Lift::lift)
    }
}

impl<A: Lift<B>, B> Lift<Vec<B>> for Vec<A> {
    fn lift(self) -> Vec<B> {
        self.into_iter().map(Lift::lift).collect()
    }
}

/// Text that may be missing; the contract says that with an empty string.
impl Lift<Option<String>> for String {
    fn lift(self) -> Option<String> {
        Some(self).filter(|text| !text.is_empty())
    }
}

/// A value as JSON text; empty when there is none.
impl Lift<Option<Value>> for String {
    fn lift(self) -> Option<Value> {
        if self.is_empty() { None } else { Some(serde_json::from_str(&self).unwrap_or(Value::String(self))) }
    }
}

/// A number that 0 stands for the absence of.
impl Lift<Option<i64>> for i64 {
    fn lift(self) -> Option<i64> {
        Some(self).filter(|number| *number != 0)
    }
}

/// A time beyond what a timestamp holds becomes the nearest that it does.
impl Lift<Timestamp> for prost_types::Timestamp {
    fn lift(self) -> Timestamp {
        let nearest = if self.seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
        Timestamp::new(self.seconds, self.nanos).unwrap_or(nearest)
    }
}

impl Lift<std::time::Duration> for prost_types::Duration {
    fn lift(self) -> std::time::Duration {
        self.try_into().unwrap_or_default()
    }
}

/// A duration as the contract writes it in JSON: `86400s`.
pub(crate) fn in_seconds<S: serde::Serializer>(time: &Option<std::time::Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(&format_args!("{}s", time.as_secs_f64())),
        None => serializer.serialize_none(),
    }
}

/// A duration as long as the contract can say.
pub(crate) fn duration(time: std::time::Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(time).unwrap_or(prost_types::Duration { seconds: i64::MAX, nanos: 0 })
}

impl Lift<Map<String, Value>> for Option<prost_types::Struct> {
    fn lift(self) -> Map<String, Value> {
        let fields = self.unwrap_or_default().fields;
        fields.into_iter().map(|(name, value)| (name, value.lift())).collect()
    }
}

impl Lift<Value> for prost_types::Value {
    fn lift(self) -> Value {
        use prost_types::value::Kind;
        match self.kind {
            None | Some(Kind::NullValue(_)) => Value::Null,
            Some(Kind::BoolValue(value)) => Value::Bool(value),
            Some(Kind::NumberValue(value)) => number(value),
            Some(Kind::StringValue(value)) => Value::String(value),
            Some(Kind::ListValue(list)) => Value::Array(list.values.lift()),
            Some(Kind::StructValue(value)) => Value::Object(Some(value).lift()),
        }
    }
}

/// Every number is a double on the wire; whole ones become whole again.
fn number(value: f64) -> Value {
    let whole = value as i64;
    if whole as f64 == value && whole.unsigned_abs() < 1 << 53 {
        return Value::Number(whole.into());
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

pub(crate) fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() }
}

pub(crate) fn json_value(value: Value) -> prost_types::Value {
    use prost_types::value::Kind;
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(value),
        Value::Number(value) => Kind::NumberValue(value.as_f64().unwrap_or_default()),
        Value::String(value) => Kind::StringValue(value),
        Value::Array(values) => Kind::ListValue(prost_types::ListValue { values: values.into_iter().map(json_value).collect() }),
        Value::Object(fields) => Kind::StructValue(prost_types::Struct {
            fields: fields.into_iter().map(|(name, value)| (name, json_value(value))).collect(),
        }),
    };
    prost_types::Value { kind: Some(kind) }
}

/// A struct of this crate with the fields of a message, each under the same name.
macro_rules! resource {
    ($(#[$doc:meta])* $name:ident = $wire:ty { $($(#[$field_doc:meta])* $field:ident: $kind:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        #[non_exhaustive]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $kind,)*
        }

        impl $crate::wire::Lift<$name> for $wire {
            fn lift(self) -> $name {
                $name { $($field: $crate::wire::Lift::lift(self.$field),)* }
            }
        }
    };
}

/// An enum of the contract. What a newer server may add is kept as its number.
macro_rules! values {
    ($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident = $number:literal $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$value_doc])* $value,)*
            /// One that this version of the crate has no word for, by its number; 0 when the server did not say.
            Unknown(i32),
        }

        impl $name {
            /// Every value that this version knows.
            pub const ALL: &[Self] = &[$(Self::$value,)*];

            /// Its name in the contract, without the prefix; `UNRECOGNIZED` for an unknown one.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)*
                    Self::Unknown(_) => "UNRECOGNIZED",
                }
            }

            /// Its number in the contract.
            pub fn number(self) -> i32 {
                match self {
                    $(Self::$value => $number,)*
                    Self::Unknown(number) => number,
                }
            }
        }

        impl $crate::wire::Lift<$name> for i32 {
            fn lift(self) -> $name {
                match self {
                    $($number => $name::$value,)*
                    other => $name::Unknown(other),
                }
            }
        }

        /// Absent until it is said.
        impl $crate::wire::Lift<Option<$name>> for i32 {
            fn lift(self) -> Option<$name> {
                (self != 0).then(|| self.lift())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self {
                    Self::Unknown(number) => write!(f, "UNRECOGNIZED_{number}"),
                    known => f.pad(known.as_str()),
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::Error;

            /// Reads the name in the contract, in any case, with `-` or `_`.
            fn from_str(text: &str) -> $crate::Result<Self> {
                let wanted = text.to_ascii_uppercase().replace('-', "_");
                Self::ALL.iter().copied().find(|value| value.as_str() == wanted).ok_or_else(|| {
                    let all: Vec<_> = Self::ALL.iter().map(|value| value.as_str().to_ascii_lowercase()).collect();
                    let problem = format!("`{text}` is none of {}", all.join(", "));
                    $crate::Error::invalid(vec![$crate::Violation::new(stringify!($name), problem)])
                })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

pub(crate) use {resource, values};

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn inputs_survive_the_way_there_and_back() {
        let inputs = json!({"size": "small", "count": 3, "ratio": 0.5, "tags": ["a", null, true], "nested": {"deep": -7}});
        assert_eq!(Lift::<Value>::lift(json_value(inputs.clone())), inputs);
    }

    #[test]
    fn values_of_a_newer_server_are_kept() {
        let phase: crate::RunPhase = 99.lift();
        assert_eq!((phase, phase.to_string().as_str(), phase.number()), (crate::RunPhase::Unknown(99), "UNRECOGNIZED_99", 99));
        assert_eq!("awaiting-approval".parse::<crate::RunPhase>().expect("known"), crate::RunPhase::AwaitingApproval);
        assert!("later".parse::<crate::RunPhase>().expect_err("unknown").message().contains("awaiting_approval"));
    }
}
