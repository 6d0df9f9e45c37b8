//! What a runner came to with an apply that it had lost by then: evidence of what was made, which changes nothing else.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::{Run, RunError, RunPhase};
use crate::{
    deployments::ManagedResource,
    error::{Error, Reason, Result},
    fault,
    names::RunnerName,
    time::Timestamp,
};

/// Holders of an apply that are remembered; more than it is ever given to.
const HOLDERS: usize = 16;
/// Resources that are named in a late result.
const NAMED: usize = 100;
/// Characters of a text in it.
const TEXT: usize = 1000;

/// Who was given the apply of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The fence.
    pub epoch: i64,
    /// The runner.
    pub runner: RunnerName,
    /// The end of the apply was reported under it, in time.
    #[serde(default)]
    pub reported: bool,
}

/// What a runner came to with an apply that was not its own any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateResult {
    /// The fence under which it was given the apply.
    pub epoch: i64,
    /// The runner.
    pub runner: RunnerName,
    /// Digest of the state it had in the end.
    pub digest: String,
    /// Size of that state.
    pub size_bytes: i64,
    /// It changed something real.
    pub changed: bool,
    /// It was stopped before its end.
    pub cancelled: bool,
    /// Why it did not reach its end.
    pub error: Option<RunError>,
    /// Resources in it that the newest state of the deployment did not have, by address and id; the first of them.
    pub unrecorded: Vec<ManagedResource>,
    /// How many of these there are.
    pub unrecorded_count: i32,
    /// Resources whose fate the runner could not find out; the first of them.
    pub unknown: Vec<String>,
    /// When it was offered.
    pub create_time: Timestamp,
}

impl LateResult {
    /// Keeps what is said of it within bounds: it becomes part of the run, and is said by whoever had a certificate.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        let cut = |text: &mut String| {
            if let Some((at, _)) = text.char_indices().nth(TEXT) {
                text.truncate(at);
            }
        };
        self.unrecorded.truncate(NAMED);
        for resource in &mut self.unrecorded {
            cut(&mut resource.address);
            cut(&mut resource.kind);
            cut(&mut resource.id);
            resource.depends_on.clear();
        }
        self.unknown.truncate(NAMED);
        self.unknown.iter_mut().for_each(cut);
        if let Some(error) = &mut self.error {
            [&mut error.code, &mut error.message, &mut error.address, &mut error.hint].into_iter().for_each(cut);
        }
        self
    }
}

/// Resources of a late state that the newest one does not have: of the same address with another id, something else was made.
pub fn unrecorded(late: Vec<ManagedResource>, newest: &[ManagedResource]) -> Vec<ManagedResource> {
    let known: HashSet<(&str, &str)> = newest.iter().map(|resource| (resource.address.as_str(), resource.id.as_str())).collect();
    late.into_iter().filter(|resource| !known.contains(&(resource.address.as_str(), resource.id.as_str()))).collect()
}

impl Run {
    /// Remembers who has its apply now.
    pub(super) fn held_by(&mut self, runner: RunnerName) {
        self.holders.push(Holder { epoch: self.epoch, runner, reported: false });
        let surplus = self.holders.len().saturating_sub(HOLDERS);
        self.holders.drain(..surplus);
    }

    /// Remembers that the present holder has said how the apply ended.
    pub(super) fn is_reported(&mut self) {
        if let Some(holder) = self.holders.iter_mut().find(|holder| holder.epoch == self.epoch) {
            holder.reported = true;
        }
    }

    /// Fails unless this runner may offer what it came to under this fence.
    ///
    /// With `RESOURCE_NOT_FOUND` for everybody who was not given the apply under it, and with `STATE_NOT_ALLOWED` as long as the
    /// runner can still report in time: it has the run, or takes it up again.
    pub fn expect_late(&self, runner: &RunnerName, epoch: i64) -> Result<()> {
        if fault::mutant("late") {
            return Ok(());
        }
        if !self.holders.iter().any(|holder| holder.epoch == epoch && holder.runner == *runner) {
            return Err(Error::not_found(&self.name));
        }
        let with_it = self.runner.as_ref() == Some(runner);
        if with_it && matches!(self.phase, RunPhase::Applying | RunPhase::Recovering) {
            let why = "the run is still with this runner; go on with it, and report its end by CompleteJob";
            return Err(Error::new(Reason::StateNotAllowed, why).with("state", self.phase.as_str()));
        }
        Ok(())
    }

    /// Keeps what a runner offers of an apply that it has lost. A repeat, and what was reported in time, changes nothing.
    pub(super) fn offered(&mut self, late: LateResult) -> Result<()> {
        self.expect_late(&late.runner, late.epoch)?;
        if self.holders.iter().any(|holder| holder.epoch == late.epoch && holder.reported) {
            return Ok(());
        }
        match self.late_results.iter().find(|known| known.epoch == late.epoch) {
            Some(known) if known.digest == late.digest => Ok(()),
            Some(known) => {
                let why = format!("under this fence the state {} was offered already; there is one for each fence", known.digest);
                Err(Error::new(Reason::StateNotAllowed, why).with("state", "offered"))
            }
            None => {
                self.late_results.push(late.bounded());
                Ok(())
            }
        }
    }

    /// The newest late result, in words, with where to see it.
    pub fn late_word(&self) -> Option<String> {
        let late = self.late_results.last()?;
        let named: Vec<&str> = late.unrecorded.iter().take(5).map(|resource| resource.address.as_str()).collect();
        let more = if late.unrecorded_count as usize > named.len() { ", …" } else { "" };
        let what = match late.unrecorded_count {
            0 => "no resource that the newest state did not have".to_owned(),
            1 => format!("1 resource that the newest state did not have: {}", named.join(", ")),
            count => format!("{count} resources that the newest state did not have: {}{more}", named.join(", ")),
        };
        let see = format!("freehold run late-result {}", self.name);
        Some(format!("{}, which had lost it, offered later what it had made: {what}; see `{see}`", late.runner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(address: &str, id: &str) -> ManagedResource {
        let (address, id) = (address.to_owned(), id.to_owned());
        ManagedResource { address, kind: "x".to_owned(), id, depends_on: vec!["y".to_owned()] }
    }

    #[test]
    fn what_no_state_knows_is_told_by_address_and_id() {
        let newest = [resource("x.a", "1"), resource("x.b", "2")];
        let late = vec![resource("x.a", "1"), resource("x.b", "3"), resource("x.c", "1")];
        assert_eq!(unrecorded(late, &newest), [resource("x.b", "3"), resource("x.c", "1")]);
        assert_eq!(unrecorded(vec![resource("x.a", "1")], &[]).len(), 1);
    }

    #[test]
    fn a_result_of_any_size_stays_small() {
        let long = "ä".repeat(100_000);
        let late = LateResult {
            epoch: 1,
            runner: "runnerPools/default/runners/r1".parse().expect("valid"),
            digest: String::new(),
            size_bytes: 1,
            changed: true,
            cancelled: false,
            error: Some(RunError::new("failed", long.clone(), "", false)),
            unrecorded: vec![resource(&long, &long); 1000],
            unrecorded_count: 1000,
            unknown: vec![long; 1000],
            create_time: Timestamp::default(),
        };
        let kept = late.bounded();
        assert_eq!((kept.unrecorded.len(), kept.unknown.len(), kept.unrecorded_count), (100, 100, 1000));
        assert!(serde_json::to_string(&kept).expect("JSON").len() < 1 << 20);
        assert!(kept.error.expect("it failed").message.starts_with("ää"));
    }
}
