//! Logs of runs; how to read them is in [`RunHandle`](crate::RunHandle).

use freehold_proto::deployments::v1 as pb;
use jiff::Timestamp;

use crate::wire::{resource, values};

resource! {
    /// One line of the log of a run. Secrets are replaced before it leaves the runner.
    LogLine = pb::LogLine {
        /// When, by the clock of the runner.
        time: Option<Timestamp>,
        /// How important.
        level: LogLevel,
        /// The resource it is about, if one.
        address: Option<String>,
        /// The line, at most 8 KiB.
        text: String,
    }
}

values! {
    /// How important a line is.
    LogLevel {
        /// For who looks for a fault.
        Debug = 1 "DEBUG",
        /// Progress.
        Info = 2 "INFO",
        /// Worth a look.
        Warn = 3 "WARN",
        /// Something failed.
        Error = 4 "ERROR",
    }
}
