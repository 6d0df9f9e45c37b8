//! What happened, and what happens next.

use std::sync::Arc;

use freehold_proto::events::v1 as pb;
use futures::StreamExt as _;
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    Code, Error,
    call::{Call, Core, request, service},
    error::Result,
    list::{Answers, List, list},
    retry::Patience,
    streams::{IDLE, Out, in_task, put},
    wire::{Lift as _, resource, timestamp},
};

const WATCH: &str = "/freehold.events.v1.EventService/WatchEvents";
const CURSOR: &str = "/freehold.events.v1.EventService/GetEventCursor";

resource! {
    /// Something that happened to a resource.
    Event = pb::Event {
        /// Its identity; the same event never has another one.
        uid: String,
        /// What happened, for example `run.created`.
        kind: String,
        /// The resource, by its name at that time.
        resource: String,
        /// Uid of the resource.
        resource_uid: String,
        /// Version of the resource after the change.
        resource_version: i64,
        /// When.
        time: Option<Timestamp>,
        /// Who did it; `server` for its own duties.
        principal: String,
        /// Id of the call that did it.
        request_id: Option<String>,
        /// Facts.
        data: Option<Value>,
    }
}

/// What a watch gives.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Watched {
    /// Something happened.
    Event(Box<Event>),
    /// Whatever came before this has been given. Keep the token where you keep what you made of the events: a watch that begins with
    /// it goes on after them.
    Checkpoint(String),
    /// Some of what happened is not kept any longer. List the resources again; the watch goes on with what happens after this.
    Resync,
}

service! {
    /// Events; see [`Client::events`](crate::Client::events).
    Events
}

impl Events {
    /// Watches what happens in the client's tenant from now on; nothing is sent before [`stream`](WatchEvents::stream).
    ///
    /// ```no_run
    /// # async fn example(freehold: freehold::Client) -> freehold::Result<()> {
    /// use freehold::Watched;
    /// use futures::TryStreamExt;
    ///
    /// let mut news = freehold.events().watch().kind("run.*").stream();
    /// while let Some(news) = news.try_next().await? {
    ///     match news {
    ///         Watched::Event(event) => println!("{} {}", event.kind, event.resource),
    ///         Watched::Checkpoint(token) => println!("go on with {token}"),
    ///         Watched::Resync => println!("read everything again"),
    ///         _ => {}
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub fn watch(&self) -> WatchEvents {
        let request = pb::WatchEventsRequest::default();
        WatchEvents { call: Call::new(&self.core, request).in_tenant(|request, parent| request.parent = parent) }
    }

    /// Watches what happens in the whole installation; for platform administrators.
    pub fn watch_installation(&self) -> WatchEvents {
        WatchEvents { call: Call::new(&self.core, pb::WatchEventsRequest::default()) }
    }

    /// Lists what happened in the client's tenant and is kept, oldest first.
    pub fn list(&self) -> ListEvents {
        let request = pb::ListEventsRequest::default();
        ListEvents { call: Call::new(&self.core, request).in_tenant(|request, parent| request.parent = parent) }
    }

    /// Reads the token for now. Take it, list what there is, and watch from it: nothing is missed between the two.
    ///
    /// # Errors
    /// [`is_permission_denied`](Error::is_permission_denied).
    pub fn cursor(&self) -> GetEventCursor {
        let request = pb::GetEventCursorRequest::default();
        GetEventCursor { call: Call::new(&self.core, request).in_tenant(|request, parent| request.parent = parent) }
    }
}

request! {
    /// A token to read; see [`Events::cursor`].
    GetEventCursor(pb::GetEventCursorRequest) -> String =
        "/freehold.events.v1.EventService/GetEventCursor", |answer: pb::GetEventCursorResponse| Ok(answer.resume_token)
}

impl GetEventCursor {
    /// The token for a time instead.
    pub fn time(mut self, time: Timestamp) -> Self {
        self.call.request.time = Some(timestamp(time));
        self
    }
}

/// Which events, for a watch or a list.
macro_rules! selection {
    ($builder:ident, $start:ident) => {
        impl $builder {
            /// Only those of this resource and all below it, by its full name, for example `tenants/acme/projects/shop`.
            pub fn below(mut self, parent: impl Into<String>) -> Self {
                self.call.request.parent = parent.into();
                self
            }

            /// Also those of this kind, `run.created`, or `run.*` for all of one resource; all kinds when none is said.
            pub fn kind(mut self, kind: impl Into<String>) -> Self {
                self.call.request.kinds.push(kind.into());
                self
            }

            /// Only those for which this CEL expression over `event` holds, for example `event.data.phase == 'DONE'`.
            pub fn filter(mut self, filter: impl Into<String>) -> Self {
                self.call.request.filter = filter.into();
                self
            }

            /// Begins after what this token stands for.
            pub fn resume(mut self, token: impl Into<String>) -> Self {
                self.call.request.start = Some(pb::$start::Start::ResumeToken(token.into()));
                self
            }

            /// Begins with the first event at or after this time.
            pub fn since(mut self, time: Timestamp) -> Self {
                self.call.request.start = Some(pb::$start::Start::StartTime(timestamp(time)));
                self
            }
        }
    };
}

/// A watch being built; see [`Events::watch`].
#[must_use = "nothing is sent before `stream`"]
#[derive(Clone)]
pub struct WatchEvents {
    call: Call<pb::WatchEventsRequest>,
}

selection!(WatchEvents, watch_events_request);

impl WatchEvents {
    /// Streams what happens for as long as it is read, through disconnects and restarts of servers. Each event is given once, those of
    /// one resource in order; a program that dies goes on with the last [`Watched::Checkpoint`] that it kept.
    ///
    /// The stream fails when the server refuses the watch, and after five minutes without any answer.
    pub fn stream(self) -> Answers<Watched> {
        in_task(move |out| async move { watch(self.call, &out).await })
    }
}

/// A list being built; see [`Events::list`].
#[must_use = "nothing is sent before `events`"]
#[derive(Clone)]
pub struct ListEvents {
    call: Call<pb::ListEventsRequest>,
}

selection!(ListEvents, list_events_request);

impl ListEvents {
    /// The list, page by page or event by event.
    pub fn events(self) -> List<Event> {
        let call = self.call;
        list!(call, "/freehold.events.v1.EventService/ListEvents", pb::ListEventsResponse { events })
    }
}

async fn watch(mut call: Call<pb::WatchEventsRequest>, out: &Out<Watched>) -> Result<()> {
    use pb::watch_events_request::Start;
    call.check()?;
    let core = Arc::clone(&call.core);
    let mut patience = Patience::new(core.policy);
    loop {
        let (mut open, mut news) = (false, false);
        let end = match core.stream::<pb::WatchEventsResponse>(WATCH, &call.request, call.tenant()).await {
            Err(error) => Err(error),
            Ok(mut messages) => loop {
                let message = match timeout(IDLE, messages.next()).await {
                    Err(_) => break Err(Error::new(Code::Unavailable, "the watch showed no sign of life")),
                    Ok(None) => break Ok(()),
                    Ok(Some(Err(error))) => break Err(error),
                    Ok(Some(Ok(message))) => message,
                };
                patience.restored();
                open = true;
                news |= !message.events.is_empty();
                for event in message.events {
                    if put(out, Watched::Event(Box::new(event.lift()))).await.is_err() {
                        return Ok(());
                    }
                }
                if put(out, Watched::Checkpoint(message.resume_token.clone())).await.is_err() {
                    return Ok(());
                }
                call.request.start = Some(Start::ResumeToken(message.resume_token));
            },
        };
        match end {
            Ok(()) => patience.rest(news).await,
            // What it missed is in the database, and opening it again gets another token, or an error if there is none.
            Err(error) if open && matches!(error.reason(), Some("WATCH_SLOW_CONSUMER" | "TOKEN_EXPIRED")) => {
                patience.rest(news).await
            }
            Err(error) if error.reason() == Some("RESUME_TOKEN_EXPIRED") => {
                let token = now(&core, &call).await?;
                call.request.start = Some(Start::ResumeToken(token));
                if put(out, Watched::Resync).await.is_err() {
                    return Ok(());
                }
            }
            Err(error) => patience.wait(error).await?,
        }
    }
}

/// The token from which on nothing is missed that is not listed after this.
async fn now(core: &Arc<Core>, call: &Call<pb::WatchEventsRequest>) -> Result<String> {
    let request = pb::GetEventCursorRequest { parent: call.request.parent.clone(), time: None };
    let answer: pb::GetEventCursorResponse = core.unary(CURSOR, &request, call.tenant(), None).await?;
    Ok(answer.resume_token)
}
