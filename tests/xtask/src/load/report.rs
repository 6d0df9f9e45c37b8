//! The figures of a run, for people and for programs.

use std::{fmt, time::Duration};

use serde_json::{Value, json};

use super::{Options, cpu::Usage, drive::Tally};

/// Names of the gRPC codes, by number.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The figures of a run.
pub struct Report {
    options: Options,
    tally: Tally,
    elapsed: Duration,
    usage: Usage,
    /// Why the figures mean nothing, if they do.
    pub rejected: Option<String>,
}

impl Report {
    pub(super) fn new(options: &Options, tally: Tally, elapsed: Duration, usage: Usage) -> Self {
        let rejected = usage.rejection();
        Self { options: options.clone(), tally, elapsed, usage, rejected }
    }

    /// Calls that ended with a status, each second.
    pub fn calls_per_second(&self) -> f64 {
        self.statuses() as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Calls that ended with a status.
    fn statuses(&self) -> u64 {
        self.tally.codes.values().sum()
    }

    /// Milliseconds within which this share of the calls that succeeded was answered.
    fn milliseconds(&self, quantile: f64) -> Option<f64> {
        let latency = &self.tally.latency;
        (!latency.is_empty()).then(|| latency.value_at_quantile(quantile) as f64 / 1000.0)
    }

    /// Microseconds of processor for each call, of that many cores.
    fn microseconds_per_call(&self, cores: f64) -> Option<f64> {
        (self.statuses() > 0).then(|| cores * self.elapsed.as_secs_f64() * 1e6 / self.statuses() as f64)
    }

    /// The figures for programs: times in milliseconds, processor time in cores and in microseconds a call.
    pub fn to_json(&self) -> Value {
        let codes: serde_json::Map<_, _> = self.tally.codes.iter().map(|(code, count)| (name(*code), json!(count))).collect();
        json!({
            "address": self.options.address,
            "call": self.options.call,
            "connections": self.options.connections,
            "concurrency": self.options.concurrency,
            "rate": self.options.rate,
            "seconds": self.elapsed.as_secs_f64(),
            "calls": self.statuses(),
            "calls_per_second": self.calls_per_second(),
            "codes": codes,
            "broken": self.tally.broken,
            "unanswered": self.tally.unanswered,
            "first_failure": self.tally.first_failure,
            "latency_ms": {
                "p50": self.milliseconds(0.5),
                "p90": self.milliseconds(0.9),
                "p99": self.milliseconds(0.99),
                "max": self.milliseconds(1.0),
            },
            "cpu": {
                "generator_cores": self.usage.own,
                "server_cores": self.usage.server,
                "other_cores": self.usage.others,
                "server_us_per_call": self.usage.server.and_then(|cores| self.microseconds_per_call(cores)),
            },
            "rejected": self.rejected,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { connections, concurrency, rate, .. } = &self.options;
        let load = match rate {
            None => format!("{concurrency} at a time"),
            Some(rate) => format!("{rate} begun each second"),
        };
        writeln!(f, "calls      {} in {:.2} s, {load}, {connections} connections", self.statuses(), self.elapsed.as_secs_f64())?;
        writeln!(f, "rate       {:.0} calls/s", self.calls_per_second())?;
        let codes: Vec<_> = self.tally.codes.iter().map(|(code, count)| format!("{} {count}", name(*code))).collect();
        writeln!(f, "codes      {}", if codes.is_empty() { "none".to_owned() } else { codes.join(", ") })?;
        if self.tally.broken > 0 {
            writeln!(f, "broken     {} calls ended without a gRPC status", self.tally.broken)?;
        }
        if self.tally.unanswered > 0 {
            writeln!(f, "unanswered {} calls; the server does not keep up", self.tally.unanswered)?;
        }
        if let Some(failure) = &self.tally.first_failure {
            writeln!(f, "first failure: {failure}")?;
        }
        if let (Some(p50), Some(p90), Some(p99), Some(max)) =
            (self.milliseconds(0.5), self.milliseconds(0.9), self.milliseconds(0.99), self.milliseconds(1.0))
        {
            writeln!(f, "latency    p50 {p50:.2} ms, p90 {p90:.2} ms, p99 {p99:.2} ms, max {max:.2} ms")?;
        }
        write!(f, "processor  generator {:.2} of a core", self.usage.own)?;
        if let Some(server) = self.usage.server {
            write!(f, ", server {server:.2}")?;
            if let Some(each) = self.microseconds_per_call(server) {
                write!(f, " ({each:.0} us a call)")?;
            }
        }
        writeln!(f, ", others {:.2}", self.usage.others)?;
        if let Some(why) = &self.rejected {
            writeln!(f, "REJECTED: {why}; run it again on a quiet machine")?;
        }
        Ok(())
    }
}

/// The name of a gRPC code.
fn name(code: u32) -> String {
    CODES.get(code as usize).map_or_else(|| format!("CODE_{code}"), |name| (*name).to_owned())
}
