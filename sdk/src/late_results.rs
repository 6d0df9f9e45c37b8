//! What runners came to with applies that they had lost.

use freehold_proto::deployments::v1 as pb;
use futures::StreamExt as _;
use jiff::Timestamp;

use crate::{
    LogLine, Result, RunError, RunHandle, Runs,
    call::Call,
    names::Kind,
    wire::{Lift, resource},
};

resource! {
    /// What a runner came to with an apply that was not its own any more: the run was given to another one, given up, or its lock
    /// was broken. It is evidence of what was made, and has changed nothing else.
    LateResult = pb::LateResult {
        /// The fence under which the runner was given the apply.
        epoch: i64,
        /// The runner.
        runner: String,
        /// Digest of the state that it had in the end, `sha256:…`.
        digest: String,
        /// Size of that state.
        size_bytes: i64,
        /// It changed something real.
        changed: bool,
        /// It was stopped before its end.
        cancelled: bool,
        /// Why it did not reach its end; absent when it did, and when it was stopped.
        error: Option<RunError>,
        /// Resources that are in it and were not in the newest state of the deployment when it was offered; the first 100 of them.
        unrecorded: Vec<UnrecordedResource>,
        /// How many of these there are.
        unrecorded_count: i32,
        /// Resources whose fate the runner could not find out; the first 100 of them.
        unknown_addresses: Vec<String>,
        /// When it was offered.
        create_time: Option<Timestamp>,
    }
}

resource! {
    /// Something that was made, and that no state of the deployment knows of.
    UnrecordedResource = pb::UnrecordedResource {
        /// `type.name`, with the path of its module and its key where the engine has them.
        address: String,
        /// Kind of resource, for example `file` or `aws_vpc`.
        r#type: String,
        /// What its provider calls it.
        id: Option<String>,
    }
}

/// A late result with everything that was offered.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct LateContent {
    /// What it is.
    pub late_result: LateResult,
    /// The state, as the engine wrote it; holds secrets.
    pub state: Vec<u8>,
    /// Lines of log that nobody had taken.
    pub lines: Vec<LogLine>,
}

/// Names what it is, never what is in it.
impl std::fmt::Debug for LateContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LateContent").field("late_result", &self.late_result).finish_non_exhaustive()
    }
}

impl Runs {
    /// Downloads what a runner offered of an apply that it had lost, the newest one; nothing when nothing was offered. It holds
    /// secrets, and is audited.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_permission_denied`](crate::Error::is_permission_denied).
    pub fn late_result(&self, run: impl AsRef<str>) -> DownloadLateResult {
        let call = Call::new(&self.core, pb::DownloadLateResultRequest::default());
        DownloadLateResult { call: call.name(Kind::Run, run.as_ref(), |request, name| request.name = name) }
    }
}

impl RunHandle {
    /// Downloads what a runner offered late; see [`Runs::late_result`].
    pub fn late_result(&self) -> DownloadLateResult {
        self.runs().late_result(&self.run().name)
    }
}

/// A late result to download; see [`Runs::late_result`].
#[must_use = "nothing is sent before `send`"]
pub struct DownloadLateResult {
    call: Call<pb::DownloadLateResultRequest>,
}

impl DownloadLateResult {
    /// The one that was offered under this fence.
    pub fn epoch(mut self, epoch: i64) -> Self {
        self.call.request.epoch = epoch;
        self
    }

    /// Downloads it.
    ///
    /// # Errors
    /// See [`Runs::late_result`].
    pub async fn send(self) -> Result<Option<LateContent>> {
        let mut pieces =
            self.call.stream::<pb::DownloadLateResultResponse>("/freehold.deployments.v1.RunService/DownloadLateResult").await?;
        let (mut late_result, mut state, mut lines) = (None, Vec::new(), Vec::new());
        while let Some(piece) = pieces.next().await {
            let piece = piece?;
            late_result = late_result.or(piece.late_result);
            state.extend_from_slice(&piece.content);
            lines.extend(piece.lines);
        }
        Ok(late_result.map(|late: pb::LateResult| LateContent { late_result: late.lift(), state, lines: lines.lift() }))
    }
}
