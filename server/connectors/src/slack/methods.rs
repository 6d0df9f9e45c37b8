//! The operations that are one method of Slack's API each.

use reqwest::Method as Verb;

use crate::{
    Effect, Operation,
    schema::{Field, Schema, choice, flag, integer, list, object, open_object, opt, req, text, word},
};

/// An operation and the method that it calls.
pub(super) struct Method {
    pub operation: &'static str,
    pub api: &'static str,
    pub effect: Effect,
    summary: &'static str,
    input: fn() -> Schema,
    /// Failures that say that it is as it should be.
    pub already: &'static [&'static str],
    /// The list that comes in pages.
    pub pages: Option<&'static str>,
}

impl Method {
    pub fn operation(&self) -> Operation {
        Operation::new(self.operation, self.effect, self.summary, (self.input)())
    }

    pub fn verb(&self) -> Verb {
        if self.effect == Read { Verb::GET } else { Verb::POST }
    }

    const fn new(
        operation: &'static str,
        api: &'static str,
        effect: Effect,
        summary: &'static str,
        input: fn() -> Schema,
    ) -> Self {
        Self { operation, api, effect, summary, input, already: &[], pages: None }
    }

    const fn already(mut self, codes: &'static [&'static str]) -> Self {
        self.already = codes;
        self
    }

    const fn pages(mut self, field: &'static str) -> Self {
        self.pages = Some(field);
        self
    }
}

pub(super) fn find(operation: &str) -> Option<&'static Method> {
    ALL.iter().find(|method| method.operation == operation)
}

use Effect::{Idempotent, Read, Unsafe};

pub(super) static ALL: [Method; 22] = [
    Method::new("messages.post", "chat.postMessage", Unsafe, "Posts a message, or a reply in a thread.", || {
        object(message([req("channel", word()), opt("thread_ts", stamp()), opt("reply_broadcast", flag())]))
    }),
    Method::new(
        "messages.alert",
        "chat.postMessage",
        Unsafe,
        "Posts an alert in the colour of its severity, or puts it in the place of an earlier one.",
        || object(alert([req("channel", word()), opt("thread_ts", stamp()), opt("ts", stamp())])),
    ),
    Method::new("messages.webhook", "", Unsafe, "Posts a message or an alert by the incoming webhook.", || {
        object(message([]).into_iter().chain([
            opt("severity", choice(&super::blocks::SEVERITIES)),
            opt("title", word().max(150)),
            opt("fields", list(object([req("name", word()), req("value", text())])).max(10)),
            opt("link", text().format("uri")),
        ]))
    }),
    Method::new("messages.update", "chat.update", Idempotent, "Changes a message.", || {
        object(message([req("channel", word()), req("ts", stamp())]))
    }),
    Method::new("messages.delete", "chat.delete", Idempotent, "Deletes a message.", || {
        object([req("channel", word()), req("ts", stamp())])
    })
    .already(&["message_not_found"]),
    Method::new("messages.ephemeral", "chat.postEphemeral", Unsafe, "Shows a message to one person only.", || {
        object(message([req("channel", word()), req("user", word()), opt("thread_ts", stamp())]))
    }),
    Method::new("messages.schedule", "chat.scheduleMessage", Unsafe, "Posts a message later.", || {
        let when = integer().min(1).describe("When, in seconds since 1970; within 120 days.");
        object(message([req("channel", word()), req("post_at", when), opt("thread_ts", stamp())]))
    }),
    Method::new("messages.permalink", "chat.getPermalink", Read, "Gets the URL of a message.", || {
        object([req("channel", word()), req("message_ts", stamp())])
    }),
    Method::new("messages.history", "conversations.history", Read, "Lists messages of a channel, newest first.", || {
        object(paged([
            req("channel", word()),
            opt("oldest", stamp()),
            opt("latest", stamp()),
            opt("include_all_metadata", flag().describe("With the metadata that apps gave them.")),
        ]))
    })
    .pages("messages"),
    Method::new("interactions.respond", "", Unsafe, "Answers an interaction where it happened.", || {
        object(message([
            req("response_url", text().format("uri")),
            opt("replace_original", flag()),
            opt("delete_original", flag()),
            opt("response_type", choice(&["in_channel", "ephemeral"])),
        ]))
    }),
    Method::new("channels.create", "conversations.create", Unsafe, "Creates a channel.", || {
        object([req("name", word().max(80).pattern("^[a-z0-9_-]+$")), opt("is_private", flag()), opt("team_id", word())])
    }),
    Method::new("channels.invite", "conversations.invite", Idempotent, "Invites people into a channel.", || {
        object([
            req("channel", word()),
            req("users", word().describe("Ids, with commas between; 100 at most.")),
            opt("force", flag()),
        ])
    })
    .already(&["already_in_channel"]),
    Method::new("channels.archive", "conversations.archive", Idempotent, "Archives a channel.", || {
        object([req("channel", word())])
    })
    .already(&["already_archived"]),
    Method::new("channels.list", "conversations.list", Read, "Lists channels.", || {
        object(paged([opt("types", word().default("public_channel")), opt("exclude_archived", flag()), opt("team_id", word())]))
    })
    .pages("channels"),
    Method::new("channels.join", "conversations.join", Idempotent, "Joins a channel.", || object([req("channel", word())])),
    Method::new("channels.topic", "conversations.setTopic", Idempotent, "Sets the topic of a channel.", || {
        object([req("channel", word()), req("topic", text().max(250))])
    }),
    Method::new("channels.open", "conversations.open", Idempotent, "Opens a conversation with one person or a few.", || {
        object([opt("users", word().describe("Ids, with commas between.")), opt("channel", word()), opt("return_im", flag())])
    }),
    Method::new("users.by_email", "users.lookupByEmail", Read, "Finds a person by address of mail.", || {
        object([req("email", text().format("email"))])
    }),
    Method::new("usergroups.list", "usergroups.list", Read, "Lists user groups.", || {
        object([
            opt("include_users", flag()),
            opt("include_count", flag()),
            opt("include_disabled", flag()),
            opt("team_id", word()),
        ])
    }),
    Method::new("usergroups.members", "usergroups.users.list", Read, "Lists the people of a user group.", || {
        object([req("usergroup", word()), opt("include_disabled", flag()), opt("team_id", word())])
    }),
    Method::new("views.open", "views.open", Unsafe, "Opens a dialog; within three seconds of the click.", || {
        object([req("trigger_id", word()), req("view", open_object())])
    }),
    Method::new("views.publish", "views.publish", Idempotent, "Sets what a person sees as the home of the app.", || {
        object([req("user_id", word()), req("view", open_object()), opt("hash", word())])
    }),
];

/// A message's own id: seconds and six digits.
fn stamp() -> Schema {
    text().pattern(r"^\d{1,12}\.\d{6}$")
}

fn message<const N: usize>(fields: [Field; N]) -> Vec<Field> {
    let content = [
        opt("text", text().max(40_000).describe("The message, and what notifications show of blocks.")),
        opt("blocks", list(open_object()).max(50)),
        opt("attachments", list(open_object()).max(100)),
        opt("unfurl_links", flag()),
        opt("metadata", open_object()),
    ];
    fields.into_iter().chain(content).collect()
}

fn alert<const N: usize>(fields: [Field; N]) -> Vec<Field> {
    let content = [
        req("severity", choice(&super::blocks::SEVERITIES)),
        req("title", word().max(150)),
        opt("text", text().max(3000)),
        opt("fields", list(object([req("name", word().max(100)), req("value", text().max(1800))])).max(10)),
        opt("link", text().format("uri")),
        opt("metadata", open_object()),
        opt("blocks", list(open_object()).max(40).describe("What follows, for example buttons.")),
    ];
    fields.into_iter().chain(content).collect()
}

fn paged<const N: usize>(fields: [Field; N]) -> Vec<Field> {
    fields.into_iter().chain([opt("limit", integer().min(1).max(10_000).default(1000))]).collect()
}
