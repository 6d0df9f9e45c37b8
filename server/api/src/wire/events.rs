//! EventService.

use std::{pin::Pin, sync::Arc, time::Duration};

use freehold_domain::{
    Result, Violations,
    events::{Logged, Selection},
};
use freehold_proto::events::v1 as pb;
use freehold_service::events::{self, Start, Watch};
use futures::{Stream, stream};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::{Wire, parse, render, wait_end};
use crate::status;

/// A watch ends after this long, so that watchers spread over the replicas again.
const LONGEST: Duration = Duration::from_secs(50 * 60);

#[tonic::async_trait]
impl pb::event_service_server::EventService for Wire {
    type WatchEventsStream = Pin<Box<dyn Stream<Item = Result<pb::WatchEventsResponse, Status>> + Send>>;

    async fn watch_events(&self, request: Request<pb::WatchEventsRequest>) -> Result<Response<Self::WatchEventsStream>, Status> {
        let end = wait_end(&request, LONGEST);
        self.serve(request, |caller, body| async move {
            use pb::watch_events_request::Start as Wanted;
            let wanted = body.start.map(|start| match start {
                Wanted::ResumeToken(token) => Beginning::Token(token),
                Wanted::StartTime(time) => Beginning::Time(time),
            });
            let (selection, start) = parse(&body.parent, body.kinds, &body.filter, wanted, Start::Now)?;
            let watch = events::watch(&self.app, &caller, &body.parent, selection, &start).await?;
            Ok(frames(watch, end))
        })
        .await
    }

    async fn list_events(&self, request: Request<pb::ListEventsRequest>) -> Result<Response<pb::ListEventsResponse>, Status> {
        self.serve(request, |caller, body| async move {
            use pb::list_events_request::Start as Wanted;
            let wanted = match (body.page_token.is_empty(), body.start) {
                (false, _) => Some(Beginning::Token(body.page_token)),
                (true, Some(Wanted::ResumeToken(token))) => Some(Beginning::Token(token)),
                (true, Some(Wanted::StartTime(time))) => Some(Beginning::Time(time)),
                (true, None) => None,
            };
            let size = parse::Fields::new().page(body.page_size, "", false, "")?.size;
            let (selection, start) = parse(&body.parent, body.kinds, &body.filter, wanted, Start::Oldest)?;
            let page = events::list(&self.app, &caller, &body.parent, &selection, &start, size).await?;
            Ok(pb::ListEventsResponse {
                events: page.events.iter().map(message).collect(),
                next_page_token: if page.more { page.token.clone() } else { String::new() },
                resume_token: page.token,
            })
        })
        .await
    }

    async fn get_event_cursor(
        &self,
        request: Request<pb::GetEventCursorRequest>,
    ) -> Result<Response<pb::GetEventCursorResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let mut fields = parse::Fields::new();
            let time = fields.time("time", body.time.as_ref());
            fields.finish(|| Some(()))?;
            let (resume_token, oldest) = events::cursor(&self.app, &caller, &body.parent, time).await?;
            Ok(pb::GetEventCursorResponse { resume_token, oldest_time: oldest.map(render::time) })
        })
        .await
    }
}

enum Beginning {
    Token(String),
    Time(prost_types::Timestamp),
}

fn parse(
    parent: &str,
    kinds: Vec<String>,
    filter: &str,
    wanted: Option<Beginning>,
    otherwise: Start,
) -> Result<(Selection, Start)> {
    let mut wrong = Violations::new();
    let selection = Selection::new(parent.to_owned(), kinds, filter, &mut wrong);
    let start = match wanted {
        None => Some(otherwise),
        Some(Beginning::Token(token)) => Some(Start::Token(token)),
        Some(Beginning::Time(time)) => wrong.check("start_time", parse::time(&time)).map(Start::Time),
    };
    wrong.finish()?;
    Ok((selection, start.unwrap_or(Start::Now)))
}

/// The messages of a watch, until its time is over.
fn frames(watch: Watch, end: Instant) -> <Wire as pb::event_service_server::EventService>::WatchEventsStream {
    Box::pin(stream::try_unfold(watch, move |mut watch| async move {
        if Instant::now() >= end {
            return Ok(None);
        }
        match watch.next().await {
            Ok(batch) => {
                let events = batch.events.iter().map(message).collect();
                Ok(Some((pb::WatchEventsResponse { events, resume_token: batch.token }, watch)))
            }
            Err(error) => Err(status::render(&error, &watch.caller().call.request_id)),
        }
    }))
}

fn message(logged: &Arc<Logged>) -> pb::Event {
    let announced = &logged.announced;
    let event = &announced.event;
    pb::Event {
        uid: logged.uid.to_string(),
        kind: event.kind.clone(),
        resource: event.resource.clone(),
        resource_uid: event.uid.to_string(),
        resource_version: event.version,
        time: Some(render::time(announced.time)),
        principal: announced.principal.clone(),
        request_id: announced.request_id.clone(),
        data: if event.data.is_object() { event.data.to_string() } else { String::new() },
    }
}
