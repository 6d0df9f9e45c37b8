//! Evaluates checked expressions: JSON in, JSON out, nothing else.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, LazyLock},
};

use cel::{
    Context, Env, ExecutionError, Value as Cel,
    common::{
        types::{CelList, CelMap, CelMapKey, DYN_TYPE},
        value::{CowVal, Val},
    },
    objects,
};
use serde_json::{Map, Value};

use super::{
    cost,
    expression::{Attribute, Expression, FILES, ORDERED},
    files::Files,
};

/// The longest string that an expression, or a text with expressions in it, may give, in bytes.
pub const MAX_TEXT: usize = 256 << 10;

/// The most values in one result.
const MAX_VALUES: usize = 20_000;

/// Standard CEL without optional values, and the string extension; [`Expression`] lets only some of their functions in.
static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::default().with_optional_support(false).with_stdlib();
    env.add_extension(cel::extensions::strings).expect("the standard library declares none of its functions");
    env.add_overload(ORDERED, "ordered", vec![DYN_TYPE], ordered).expect("nobody else can spell this name");
    Arc::new(env)
});

/// What expressions can read.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// Inputs with their defaults filled in.
    pub inputs: &'a Map<String, Value>,
    /// Attributes of resources by the name of the resource; a resource that is switched off is left out.
    pub resources: &'a BTreeMap<String, Map<String, Value>>,
    /// The deployment.
    pub deployment: &'a DeploymentFacts,
    /// Files of the blueprint.
    pub files: &'a Files,
}

/// What a blueprint may know of the deployment that it is deployed as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeploymentFacts {
    /// Resource name.
    pub name: String,
    /// Last part of the name.
    pub id: String,
    /// Id of the tenant.
    pub tenant: String,
    /// Id of the project.
    pub project: String,
    /// Id of the environment.
    pub environment: String,
}

/// Why an expression has no value. Never holds a value, since any may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvalError {
    /// The expression as it was written.
    pub expression: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.expression, self.message)
    }
}

impl std::error::Error for EvalError {}

impl Expression {
    /// The value of the expression.
    ///
    /// # Errors
    /// Something that it reads is missing, types do not fit, or the result is too big.
    pub fn evaluate(&self, scope: &Scope<'_>) -> Result<Value, EvalError> {
        let error = |message: String| EvalError { expression: self.source().to_owned(), message };
        cost::check(self, scope).map_err(error)?;
        let context = self.context(scope);
        let value = Cel::resolve(&self.tree, &context).map_err(|failed| error(self.explain(&failed, scope)))?;
        let mut left = MAX_VALUES;
        to_json(&value, &mut left).map_err(error)
    }

    /// Binds just what the expression reads, so that its cost does not depend on how much there is.
    fn context(&self, scope: &Scope<'_>) -> Context<'static, 'static> {
        let uses = self.uses();
        let mut context = Context::with_env(Arc::clone(&ENV));
        let inputs = uses.inputs.iter().filter_map(|name| Some((name.clone(), from_json(scope.inputs.get(name)?))));
        context.add_variable_from_value("inputs", map(inputs));

        let mut resources: BTreeMap<&str, Vec<(String, Cel)>> = BTreeMap::new();
        for Attribute { resource, name } in &uses.attributes {
            let attributes = resources.entry(resource).or_default();
            if let Some(value) = scope.resources.get(resource).and_then(|attributes| attributes.get(name)) {
                attributes.push((name.clone(), from_json(value)));
            }
        }
        let resources = resources.into_iter().map(|(name, attributes)| (name.to_owned(), map(attributes)));
        context.add_variable_from_value("resources", map(resources));

        let facts = scope.deployment;
        let fields = [
            ("name", &facts.name),
            ("id", &facts.id),
            ("tenant", &facts.tenant),
            ("project", &facts.project),
            ("environment", &facts.environment),
        ];
        let fields = fields.into_iter().filter(|(name, _)| uses.deployment.contains(*name));
        context.add_variable_from_value("deployment", map(fields.map(|(name, value)| (name.to_owned(), string(value)))));

        let mut subjects: BTreeMap<&str, Vec<(String, Cel)>> = BTreeMap::new();
        for Attribute { resource: subject, name } in &uses.facts {
            let value = scope.resources.get(subject).and_then(|fields| fields.get(name));
            subjects.entry(subject).or_default().extend(value.map(|value| (name.clone(), from_json(value))));
        }
        for (subject, fields) in subjects {
            context.add_variable_from_value(subject, map(fields));
        }

        let texts = uses.files.iter().filter_map(|path| Some((path.clone(), string(scope.files.text(path)?))));
        context.add_variable_from_value(FILES, map(texts));
        context
    }

    /// What CEL said, without the values that it shows.
    fn explain(&self, failed: &ExecutionError, scope: &Scope<'_>) -> String {
        match failed {
            ExecutionError::NoSuchKey(key) => self.missing(key, scope),
            ExecutionError::NoSuchOverload(overload) => format!("{overload}; convert one with string() or int()"),
            ExecutionError::UnsupportedBinaryOperator(operator, left, right) => {
                let (left, right) = (left.type_of(), right.type_of());
                format!("`{operator}` cannot join {left} and {right}; convert one with string() or int()")
            }
            ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => "it divides by zero".to_owned(),
            ExecutionError::Overflow(..) => "a number does not fit into 64 bits".to_owned(),
            ExecutionError::IndexOutOfBounds(_) => "the list is shorter than that; test size() first".to_owned(),
            ExecutionError::DuplicateKey(_) => "a map has the same key twice".to_owned(),
            ExecutionError::FunctionError { function, .. } => format!("{function}() cannot take this value"),
            ExecutionError::UnexpectedType { got, want } => format!("a {got} stands where a {want} is needed"),
            ExecutionError::ValuesNotComparable(left, right) => {
                format!("{} and {} cannot be compared", left.type_of(), right.type_of())
            }
            _ => "the types of its values do not fit".to_owned(),
        }
    }

    fn missing(&self, key: &str, scope: &Scope<'_>) -> String {
        let uses = self.uses();
        if uses.inputs.contains(key) && !scope.inputs.contains_key(key) {
            return format!("inputs.{key} has no value; test it with has(inputs.{key}) or give it a default");
        }
        let missing = uses.attributes.iter().find(|attribute| {
            attribute.name == key && !scope.resources.get(&attribute.resource).is_some_and(|values| values.contains_key(key))
        });
        match missing {
            Some(attribute) if !scope.resources.contains_key(&attribute.resource) => {
                format!("resource {} is switched off; test {attribute} with has()", attribute.resource)
            }
            Some(attribute) => format!("{attribute} has no value; test it with has()"),
            None => "a map does not have the key that is asked for; test it with `in`".to_owned(),
        }
    }
}

/// The keys of a map in order; anything else as it is. Loops run over it, so that their results never depend on chance.
fn ordered<'b, 'v>(mut args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let range = args.pop().ok_or_else(ExecutionError::missing_argument_or_target)?;
    let Some(map) = range.downcast_ref::<CelMap>() else { return Ok(range) };
    let mut keys: Vec<&CelMapKey> = map.keys().collect();
    keys.sort();
    let keys: Vec<Box<dyn Val + 'v>> = keys.into_iter().map(|key| key.inner().clone_as_boxed()).collect();
    Ok(CowVal::owned(CelList::from(keys)))
}

fn string(text: &str) -> Cel {
    Cel::String(Arc::new(text.to_owned()))
}

fn map(entries: impl IntoIterator<Item = (String, Cel)>) -> Cel {
    Cel::Map(objects::Map::from(entries.into_iter().collect::<HashMap<_, _>>()))
}

/// JSON for CEL: integers are `int` as long as they fit, never `uint` or `double`.
fn from_json(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(value) => Cel::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => Cel::Int(integer),
            (None, Some(integer)) => Cel::UInt(integer),
            (None, None) => Cel::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => string(text),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(from_json).collect())),
        Value::Object(entries) => map(entries.iter().map(|(key, value)| (key.clone(), from_json(value)))),
    }
}

/// JSON of a result, with the keys of its maps in order.
fn to_json(value: &Cel, left: &mut usize) -> Result<Value, String> {
    *left = left.checked_sub(1).ok_or_else(|| format!("the result has more than {MAX_VALUES} values"))?;
    Ok(match value {
        Cel::Null => Value::Null,
        Cel::Bool(value) => Value::from(*value),
        Cel::Int(value) => Value::from(*value),
        Cel::UInt(value) => Value::from(*value),
        Cel::Float(value) if value.is_finite() => Value::from(*value),
        Cel::Float(_) => return Err("the result is not a finite number".to_owned()),
        Cel::String(text) if text.len() <= MAX_TEXT => Value::from(text.as_str()),
        Cel::String(text) => return Err(format!("the result has {} bytes; {MAX_TEXT} at most", text.len())),
        Cel::List(items) => Value::Array(items.iter().map(|item| to_json(item, left)).collect::<Result<_, _>>()?),
        Cel::Map(map) => {
            let mut entries = Vec::with_capacity(map.map.len());
            for (key, value) in map.map.iter() {
                entries.push((key.to_string(), to_json(value, left)?));
            }
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().collect())
        }
        other => return Err(format!("the result is a {}, which JSON does not have", other.type_of())),
    })
}
