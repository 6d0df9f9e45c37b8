//! The messages of `tfplugin6.Provider`, as far as they are needed here. What is left out is skipped when it comes.

use std::collections::HashMap;

use prost::Message;

/// A value: its bytes are MessagePack.
#[derive(Clone, PartialEq, Message)]
pub struct Dynamic {
    #[prost(bytes = "vec", tag = "1")]
    pub msgpack: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub json: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Diagnostic {
    /// 1 is an error.
    #[prost(int32, tag = "1")]
    pub severity: i32,
    #[prost(string, tag = "2")]
    pub summary: String,
    #[prost(string, tag = "3")]
    pub detail: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Schema {
    #[prost(message, tag = "2")]
    pub block: Option<Block>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Block {
    #[prost(message, repeated, tag = "2")]
    pub attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Attribute {
    #[prost(string, tag = "1")]
    pub name: String,
    /// As JSON.
    #[prost(bytes = "vec", tag = "2")]
    pub r#type: Vec<u8>,
    #[prost(bool, tag = "4")]
    pub required: bool,
    #[prost(bool, tag = "6")]
    pub computed: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct Schemas {
    #[prost(message, tag = "1")]
    pub provider: Option<Schema>,
    #[prost(map = "string, message", tag = "2")]
    pub resources: HashMap<String, Schema>,
}

/// A request about one resource.
#[derive(Clone, PartialEq, Message)]
pub struct About {
    /// The state there is.
    #[prost(message, tag = "2")]
    pub prior: Option<Dynamic>,
    /// The state to plan or to reach.
    #[prost(message, tag = "3")]
    pub wanted: Option<Dynamic>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Upgrade {
    #[prost(message, tag = "3")]
    pub raw: Option<Raw>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Raw {
    #[prost(bytes = "vec", tag = "1")]
    pub json: Vec<u8>,
}

/// The answer to `ReadResource` and to `UpgradeResourceState`.
#[derive(Clone, PartialEq, Message)]
pub struct Found {
    #[prost(message, tag = "1")]
    pub state: Option<Dynamic>,
    #[prost(message, repeated, tag = "2")]
    pub diagnostics: Vec<Diagnostic>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Planned {
    #[prost(message, tag = "1")]
    pub state: Option<Dynamic>,
    #[prost(message, repeated, tag = "2")]
    pub replaces: Vec<Path>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Path {
    #[prost(message, repeated, tag = "1")]
    pub steps: Vec<Step>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Step {
    #[prost(string, tag = "1")]
    pub attribute: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Applied {
    #[prost(message, tag = "1")]
    pub state: Option<Dynamic>,
    #[prost(message, repeated, tag = "3")]
    pub diagnostics: Vec<Diagnostic>,
}
