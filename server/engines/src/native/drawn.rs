//! What all resource types share that exist in the state alone: once drawn, they stay as they are.

use freehold_domain::runs::Reversibility;
use futures::future::{BoxFuture, FutureExt, ready};

use super::provider::{Intent, Made, Owner, Provider, Recovered};
use super::schema::{Problem, Schema};
use crate::{
    Action, StepError,
    native::{Attributes, Operation, Resource},
};

/// A resource type whose values are drawn once and kept in the state.
pub(crate) trait Drawn: Send + Sync {
    /// Its attributes; each one that is given forces a replacement.
    fn schema(&self) -> &Schema;

    /// Rules between attributes, as of a provider.
    fn rules(&self, known: &Attributes, unknown: &[&str]) -> Vec<Problem>;

    /// Draws the computed attributes.
    fn draw(&self, desired: &Attributes) -> Result<Attributes, StepError>;

    /// The attribute that tells it from others; not a secret.
    fn id(&self, drawn: &Attributes) -> String;

    /// What is lost with what was drawn. A value that is in no configuration is never drawn again.
    fn loss(&self) -> Reversibility {
        Reversibility::Irreversible
    }

    /// Why it must be drawn anew.
    fn renewal(&self, prior: &Attributes) -> Option<String> {
        let _ = prior;
        None
    }
}

impl<D: Drawn> Provider for D {
    fn schema(&self) -> &Schema {
        Drawn::schema(self)
    }

    fn rules(&self, known: &Attributes, unknown: &[&str]) -> Vec<Problem> {
        Drawn::rules(self, known, unknown)
    }

    fn renewal(&self, prior: &Attributes) -> Option<String> {
        Drawn::renewal(self, prior)
    }

    fn reversibility(&self, action: Action) -> Reversibility {
        match action {
            Action::Replace | Action::Delete => self.loss(),
            Action::Create | Action::Update | Action::Noop => Reversibility::Reversible,
        }
    }

    fn draw(&self, desired: &Attributes) -> Result<Attributes, StepError> {
        Drawn::draw(self, desired)
    }

    fn observe<'a>(&'a self, prior: &'a Resource, _owner: &'a Owner) -> BoxFuture<'a, Result<Option<Attributes>, StepError>> {
        ready(Ok(Some(prior.attributes.clone()))).boxed()
    }

    fn create<'a>(&'a self, intent: &'a Intent) -> BoxFuture<'a, Result<Made, StepError>> {
        let mut made = intent.made(self.id(&intent.drawn), []);
        made.attributes.extend(intent.drawn.clone());
        ready(Ok(made)).boxed()
    }

    fn update<'a>(&'a self, intent: &'a Intent) -> BoxFuture<'a, Result<Made, StepError>> {
        // Reached only for attributes that say when to renew; what was drawn stays.
        let made = intent.prior().map(|prior| {
            let mut made = intent.made(&prior.id, []);
            for attribute in Drawn::schema(self).computed() {
                if let Some(value) = prior.attributes.get(attribute.name) {
                    made.attributes.insert(attribute.name.to_owned(), value.clone());
                }
            }
            made
        });
        ready(made).boxed()
    }

    fn delete<'a>(&'a self, _intent: &'a Intent) -> BoxFuture<'a, Result<(), StepError>> {
        ready(Ok(())).boxed()
    }

    fn recover<'a>(&'a self, intent: &'a Intent) -> BoxFuture<'a, Recovered> {
        async move {
            let made = match intent.operation {
                Operation::Create => self.create(intent).await.map(Some),
                Operation::Update => self.update(intent).await.map(Some),
                Operation::Delete => Ok(None),
            };
            made.map_or_else(|error| Recovered::Unknown(error.to_string()), Recovered::Done)
        }
        .boxed()
    }
}
