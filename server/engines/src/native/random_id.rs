//! `random_id`: bytes drawn at random, for names that must not clash.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use freehold_domain::time::Random;
use serde_json::Value;

use super::{
    drawn::Drawn,
    file::hex,
    provider::{text, whole},
    schema::{Attribute, Kind, Problem, Schema},
};
use crate::StepError;
use crate::native::Attributes;

/// Draws identities.
pub(crate) struct RandomId {
    schema: Schema,
    random: Arc<dyn Random>,
}

impl RandomId {
    pub fn new(random: Arc<dyn Random>) -> Self {
        let attributes = vec![
            Attribute::new("bytes", Kind::Whole { min: 1, max: 256 }).default(8).replaces(),
            Attribute::new("keepers", Kind::map(Kind::Any)).replaces(),
            Attribute::computed("hex", Kind::text(512)),
            Attribute::computed("base64url", Kind::text(512)),
        ];
        Self { schema: Schema { kind: "random_id", attributes }, random }
    }
}

impl Drawn for RandomId {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn rules(&self, _known: &Attributes, _unknown: &[&str]) -> Vec<Problem> {
        Vec::new()
    }

    fn draw(&self, desired: &Attributes) -> Result<Attributes, StepError> {
        let mut bytes = vec![0; usize::try_from(whole(desired, "bytes")).unwrap_or_default()];
        self.random.fill(&mut bytes);
        Ok([
            ("hex".to_owned(), Value::String(hex(&bytes))),
            ("base64url".to_owned(), Value::String(URL_SAFE_NO_PAD.encode(&bytes))),
        ]
        .into())
    }

    fn id(&self, drawn: &Attributes) -> String {
        text(drawn, "hex").to_owned()
    }
}
