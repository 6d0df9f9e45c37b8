//! What a check makes of the items of a deployment.

use std::collections::{BTreeMap, BTreeSet};

use ring::digest::{Context, SHA256};

use super::{
    exception::{DriftException, Seen},
    item::{DriftClass, DriftItem, DriftItemState, Findings, Values, hex},
};
use crate::{
    deployments::Deployment,
    names::{DeploymentName, DriftItemName},
    time::{Timestamp, Uid},
};

/// A check that came to its end.
pub struct Check<'a> {
    /// The deployment.
    pub deployment: &'a Deployment,
    /// The run that looked.
    pub run: Uid,
    /// What may stay.
    pub exceptions: &'a [DriftException],
    /// The last run that changed something, if it did not reach its end, with the resources that it left in an unknown state.
    pub cause: Option<(Uid, BTreeSet<String>)>,
    /// When.
    pub now: Timestamp,
}

/// An item that is kept, with its values.
pub type Known = (DriftItem, Values);

/// What is worth telling of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It is there for the first time.
    Found,
    /// It is there again.
    Reopened,
    /// It is gone.
    Resolved,
}

/// An item to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The item.
    pub item: DriftItem,
    /// Its values.
    pub values: Values,
    /// Its version before; `None` when it is new.
    pub seen: Option<i64>,
    /// What is to be told.
    pub news: Option<News>,
}

/// What a check makes of the items of a deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Items to write.
    pub written: Vec<Written>,
    /// Digest of the set that a run could put right; empty when there is nothing.
    pub remedy: String,
}

/// Takes what a check found over into the items that are known. Where it left something out, nothing is taken to be gone.
pub fn reconcile(check: &Check<'_>, findings: &Findings, known: Vec<Known>, mut new_uid: impl FnMut() -> Uid) -> Outcome {
    let Check { deployment, run, exceptions, cause, now } = check;
    let now = *now;
    let mut known: BTreeMap<String, Known> = known.into_iter().map(|known| (known.0.fingerprint.clone(), known)).collect();
    let mut written = Vec::new();
    for finding in &findings.items {
        let before = known.remove(&finding.fingerprint(deployment.meta.uid));
        let seen = Seen::now(&deployment.name, &deployment.meta.labels, finding, before.as_ref().map(|(_, values)| values));
        let exception = DriftException::covering(exceptions, &seen, now).map(DriftException::uid);
        let cause = cause.as_ref().filter(|(_, addresses)| addresses.contains(&finding.address)).map(|(run, _)| *run);
        let seen = before.as_ref().map(|(item, _)| item.version);
        let mut item = match before {
            Some((item, _)) => item,
            None => DriftItem::new(name(&deployment.name, new_uid()), deployment.meta.uid, finding, *run, now),
        };
        let news = see(&mut item, seen.is_none(), exception, cause, now);
        (item.run, item.last_seen_time) = (*run, now);
        item.count += 1;
        written.push(Written { item, values: finding.values.clone(), seen, news });
    }
    if findings.left_out == 0 {
        for (mut item, values) in known.into_values().filter(|(item, _)| item.state != DriftItemState::Resolved) {
            let (seen, told) = (item.version, item.class != DriftClass::Expected && item.state != DriftItemState::Accepted);
            item.resolve(now);
            written.push(Written { item, values, seen: Some(seen), news: told.then_some(News::Resolved) });
        }
    }
    let remedy = remedy_set(written.iter().map(|written| &written.item));
    Outcome { written, remedy }
}

/// What being seen makes of an item; answers what is to be told.
fn see(item: &mut DriftItem, is_new: bool, exception: Option<Uid>, cause: Option<Uid>, now: Timestamp) -> Option<News> {
    item.cause = cause;
    if let Some(exception) = exception {
        item.resolve_time = None;
        item.cover(exception, now);
        return None;
    }
    let mut news = None;
    if is_new {
        item.version = 1;
        news = Some(News::Found);
    } else if matches!(item.state, DriftItemState::Accepted | DriftItemState::Resolved) {
        item.uncover(now);
        news = Some(News::Reopened);
    } else {
        item.class = DriftClass::Known;
    }
    if cause.is_some() {
        item.class = DriftClass::Expected;
        return None;
    }
    news
}

/// Digest of the items that a run is to put right or may be begun for; empty when there are none.
pub fn remedy_set<'a>(items: impl IntoIterator<Item = &'a DriftItem>) -> String {
    let fingerprints: BTreeSet<&str> =
        items.into_iter().filter(|item| item.is_mendable()).map(|item| item.fingerprint.as_str()).collect();
    if fingerprints.is_empty() {
        return String::new();
    }
    let mut hash = Context::new(&SHA256);
    fingerprints.into_iter().for_each(|fingerprint| hash.update(fingerprint.as_bytes()));
    hex(hash.finish().as_ref())
}

fn name(deployment: &DeploymentName, drift_item: Uid) -> DriftItemName {
    let DeploymentName { tenant, project, environment, deployment } = deployment.clone();
    DriftItemName { tenant, project, environment, deployment, drift_item }
}
