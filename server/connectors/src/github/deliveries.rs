//! What GitHub tried to tell us and could not.

use std::collections::{BTreeMap, BTreeSet};

use freehold_domain::{scrapes::Missed, time::Timestamp};
use reqwest::Method as Verb;

use super::{Settings, call, shown, time};
use crate::{ConnectorError, Context, Effect, ErrorKind, Halt, outbound::Request};

const OPERATION: &str = "hooks.missed";
/// Pages that are looked through at most; GitHub forgets deliveries after three days anyway.
const PAGES: usize = 50;

/// Deliveries since a moment none of whose attempts arrived.
pub(super) async fn missed(cx: &Context, since: Timestamp) -> Result<Vec<Missed>, Halt> {
    let settings: Settings = cx.settings()?;
    let mut places = Vec::new();
    if settings.app_id.is_some() {
        places.push("/app/hook/deliveries".to_owned());
    }
    for hook in &settings.hooks {
        let mut fields =
            serde_json::Map::from_iter([("repo".to_owned(), hook.repo.clone().into()), ("hook".to_owned(), hook.id.into())]);
        places.push(call::path("/repos/{repo}/hooks/{hook}/deliveries", &mut fields)?);
    }
    let mut found = Vec::new();
    for place in places {
        found.extend(of_hook(cx, &settings, &place, since).await?);
    }
    Ok(found)
}

async fn of_hook(cx: &Context, settings: &Settings, place: &str, since: Timestamp) -> Result<Vec<Missed>, Halt> {
    let mut url = call::url(settings, place);
    url.query_pairs_mut().append_pair("per_page", "100");
    let (mut arrived, mut failed) = (BTreeSet::new(), BTreeMap::new());
    for _ in 0..PAGES {
        let request = Request::new(OPERATION, Effect::Read, Verb::GET, url.clone());
        let answer =
            if place.starts_with("/app") { call::send_as_app(cx, request).await? } else { call::send(cx, request).await? };
        let mut older = false;
        for delivery in answer.value().as_array().into_iter().flatten() {
            let tried = time(&delivery["delivered_at"]);
            older |= tried.is_some_and(|tried| tried < since);
            if tried.is_some_and(|tried| tried < since) {
                continue;
            }
            let guid = shown(&delivery["guid"]);
            if delivery["status_code"].as_u64().is_some_and(|status| (200..300).contains(&status)) {
                arrived.insert(guid);
                continue;
            }
            // The newest comes first; that one is sent again.
            failed.entry(guid.clone()).or_insert_with(|| Missed {
                handle: format!("{place}/{}", shown(&delivery["id"])),
                delivery_id: guid,
                tried,
                kind: super::inbound::kind(delivery["event"].as_str().unwrap_or_default(), &delivery["action"]),
            });
        }
        match call::next(&url, &answer)? {
            Some(next) if !older => url = next,
            _ => break,
        }
    }
    failed.retain(|guid, _| !arrived.contains(guid));
    Ok(failed.into_values().collect())
}

/// Has GitHub send a delivery again.
pub(super) async fn redeliver(cx: &Context, handle: &str) -> Result<(), Halt> {
    let settings: Settings = cx.settings()?;
    let known = handle.starts_with("/app/hook/deliveries/") || handle.starts_with("/repos/");
    if !known || handle.contains("..") {
        return Err(ConnectorError::new(ErrorKind::Invalid, "this names no delivery; pass on what `missed` gave").into());
    }
    // Whoever gets it twice knows it by its id.
    let url = call::url(&settings, &format!("{handle}/attempts"));
    let request = Request::new("hooks.redeliver", Effect::Idempotent, Verb::POST, url);
    if handle.starts_with("/app") {
        call::send_as_app(cx, request).await?
    } else {
        call::send(cx, request).await?
    };
    Ok(())
}
