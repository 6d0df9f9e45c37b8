//! What each resource type can do.

use std::fmt;

use freehold_domain::runs::Reversibility;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::schema::{Problem, Schema};
use crate::{
    Action, StepError,
    native::{Attributes, Operation, Resource},
};

/// Makes, looks at, changes and removes resources of one type.
///
/// Every effect is safe to begin again after [`recover`](Self::recover) has said so.
pub(crate) trait Provider: Send + Sync {
    /// Its attributes.
    fn schema(&self) -> &Schema;

    /// Rules between attributes. Values that are not known yet are missing in `known` and listed in `unknown`.
    fn rules(&self, known: &Attributes, unknown: &[&str]) -> Vec<Problem> {
        let _ = (known, unknown);
        Vec::new()
    }

    /// Whether a change of this attribute needs a new resource.
    fn replaces(&self, attribute: &str, desired: &Attributes) -> bool {
        let _ = desired;
        self.schema().get(attribute).is_some_and(|attribute| attribute.replaces)
    }

    /// Why a resource must be made anew although nothing was changed, for example because it ends soon.
    fn renewal(&self, prior: &Attributes) -> Option<String> {
        let _ = prior;
        None
    }

    /// Whether such a change can be undone by making again what the blueprint said before, of a resource that is as it was made.
    fn reversibility(&self, action: Action) -> Reversibility;

    /// Draws what is drawn at random. It becomes part of the intent, so that a step begun anew gives the same.
    fn draw(&self, desired: &Attributes) -> Result<Attributes, StepError> {
        let _ = desired;
        Ok(Attributes::new())
    }

    /// The attributes as they are, or nothing when it is gone. What cannot be looked at stays as it was made.
    fn observe<'a>(&'a self, prior: &'a Resource, owner: &'a Owner) -> BoxFuture<'a, Result<Option<Attributes>, StepError>>;

    /// Makes a resource.
    fn create<'a>(&'a self, intent: &'a Intent) -> BoxFuture<'a, Result<Made, StepError>>;

    /// Changes it in place.
    fn update<'a>(&'a self, intent: &'a Intent) -> BoxFuture<'a, Result<Made, StepError>>;

    /// Removes it; one that is gone already is no failure.
    fn delete<'a>(&'a self, intent: &'a Intent) -> BoxFuture<'a, Result<(), StepError>>;

    /// Finds out whether the effect of an intent is there. Changes nothing.
    fn recover<'a>(&'a self, intent: &'a Intent) -> BoxFuture<'a, Recovered>;
}

/// Everything that one effect needs; written to the journal before it begins.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Intent {
    pub operation: Operation,
    pub owner: Owner,
    /// Tells this effect from every other one, for services that drop repeats.
    pub key: String,
    /// Given attributes with their defaults; empty when it is to be removed.
    pub desired: Attributes,
    /// What was there before.
    pub prior: Option<Resource>,
    /// What [`Provider::draw`] gave.
    pub drawn: Attributes,
}

/// Whose a resource is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    /// Id of the tenant.
    pub tenant: String,
    /// Uid of the deployment.
    pub deployment: String,
    /// `type.name` in it.
    pub address: String,
}

/// The mark left on things that can carry one.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "freehold:{}/{}", self.deployment, self.address)
    }
}

/// A resource that was made or changed.
#[derive(Clone)]
pub(crate) struct Made {
    /// What its provider calls it.
    pub id: String,
    /// Given and computed attributes.
    pub attributes: Attributes,
}

/// What became of an effect that nobody saw the end of.
pub(crate) enum Recovered {
    /// It is there. Nothing made after a removal.
    Done(Option<Made>),
    /// It is not there.
    NotDone,
    /// Nobody can tell, and it does no harm to begin it again.
    Repeatable,
    /// Nobody can tell, in words.
    Unknown(String),
}

impl Intent {
    /// The resource as desired, with what is known of it only now.
    pub fn made<const N: usize>(&self, id: impl Into<String>, computed: [(&str, Value); N]) -> Made {
        let mut attributes = self.desired.clone();
        attributes.extend(computed.into_iter().map(|(name, value)| (name.to_owned(), value)));
        Made { id: id.into(), attributes }
    }

    /// What was there before; updates and removals always have it.
    pub fn prior(&self) -> Result<&Resource, StepError> {
        self.prior.as_ref().ok_or_else(|| StepError::new("journal-invalid", "an update or removal without a resource before it"))
    }
}

/// The text of an attribute; empty when absent.
pub(crate) fn text<'a>(attributes: &'a Attributes, name: &str) -> &'a str {
    attributes.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The text of an attribute, if it is given.
pub(crate) fn optional<'a>(attributes: &'a Attributes, name: &str) -> Option<&'a str> {
    attributes.get(name).and_then(Value::as_str)
}

/// The number of an attribute; 0 when absent.
pub(crate) fn whole(attributes: &Attributes, name: &str) -> i64 {
    attributes.get(name).and_then(Value::as_i64).unwrap_or_default()
}

/// Whether an attribute is true.
pub(crate) fn flag(attributes: &Attributes, name: &str) -> bool {
    attributes.get(name).and_then(Value::as_bool).unwrap_or_default()
}

/// The texts of a list; empty when absent.
pub(crate) fn texts<'a>(attributes: &'a Attributes, name: &str) -> Vec<&'a str> {
    attributes
        .get(name)
        .and_then(Value::as_array)
        .map(|items| items.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default()
}
