//! `random_pet`: a name people can say and remember, such as `brave-silver-otter`. Not a secret.

use std::sync::Arc;

use freehold_domain::time::Random;
use serde_json::Value;

use super::{
    draw,
    drawn::Drawn,
    provider::{text, whole},
    schema::{Attribute, Kind, Problem, Schema},
};
use crate::StepError;
use crate::native::Attributes;

const QUALITIES: [&str; 96] = [
    "able", "agile", "amber", "ample", "aqua", "azure", "basic", "bold", "brave", "brief", "bright", "brisk", "bronze", "calm",
    "candid", "cheery", "civil", "clean", "clear", "clever", "coral", "cosmic", "cozy", "crisp", "curious", "daring", "deep",
    "early", "eager", "easy", "elder", "even", "exact", "fair", "fancy", "fast", "fine", "firm", "fleet", "fond", "free",
    "fresh", "frosty", "gentle", "glad", "golden", "good", "grand", "green", "happy", "hardy", "honest", "humble", "ideal",
    "jolly", "keen", "kind", "large", "light", "lively", "loyal", "lucid", "lucky", "mellow", "merry", "mild", "modest", "neat",
    "nimble", "noble", "olive", "patient", "plain", "polite", "proud", "quick", "quiet", "rapid", "ready", "rosy", "round",
    "royal", "silver", "smart", "snowy", "solid", "steady", "sunny", "swift", "tidy", "trusty", "vivid", "warm", "wise", "witty",
    "young",
];
const ANIMALS: [&str; 96] = [
    "alpaca", "ant", "badger", "bat", "bear", "beaver", "bee", "bison", "bobcat", "bream", "camel", "carp", "cat", "cicada",
    "cod", "condor", "coot", "crab", "crane", "cricket", "crow", "deer", "dingo", "dove", "duck", "eagle", "eel", "egret", "elk",
    "falcon", "ferret", "finch", "fox", "frog", "gannet", "gecko", "gibbon", "goat", "goose", "grouse", "gull", "hare", "hawk",
    "heron", "hippo", "horse", "ibex", "ibis", "jackal", "jay", "koala", "lark", "lemur", "lion", "llama", "lynx", "magpie",
    "marten", "mole", "moose", "moth", "mouse", "mule", "newt", "ocelot", "orca", "oriole", "osprey", "otter", "owl", "panda",
    "perch", "pike", "plover", "pony", "puffin", "quail", "rabbit", "raven", "robin", "salmon", "seal", "shrew", "skink",
    "sloth", "snail", "stork", "swan", "tapir", "tern", "toad", "trout", "turtle", "viper", "wombat", "wren",
];

/// Draws names.
pub(crate) struct RandomPet {
    schema: Schema,
    random: Arc<dyn Random>,
}

impl RandomPet {
    pub fn new(random: Arc<dyn Random>) -> Self {
        let attributes = vec![
            Attribute::new("words", Kind::Whole { min: 1, max: 8 }).default(2).replaces(),
            Attribute::new("separator", Kind::Text { min: 0, max: 8 }).default("-").replaces(),
            Attribute::new("keepers", Kind::map(Kind::Any)).replaces(),
            Attribute::computed("value", Kind::text(256)),
        ];
        Self { schema: Schema { kind: "random_pet", attributes }, random }
    }
}

impl Drawn for RandomPet {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn rules(&self, _known: &Attributes, _unknown: &[&str]) -> Vec<Problem> {
        Vec::new()
    }

    fn draw(&self, desired: &Attributes) -> Result<Attributes, StepError> {
        let mut words: Vec<&str> =
            (1..whole(desired, "words")).map(|_| *draw::one_of(self.random.as_ref(), &QUALITIES)).collect();
        words.push(*draw::one_of(self.random.as_ref(), ANIMALS.as_slice()));
        Ok([("value".to_owned(), Value::String(words.join(text(desired, "separator"))))].into())
    }

    fn id(&self, drawn: &Attributes) -> String {
        text(drawn, "value").to_owned()
    }
}
