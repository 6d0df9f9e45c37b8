//! Makes the calls and counts what comes of them.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::client::SendRequest;
use hdrhistogram::Histogram;
use http::{HeaderMap, Request};
use prost_reflect::MethodDescriptor;
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinSet,
    time::{sleep, sleep_until, timeout_at},
};

use super::{
    Options,
    cpu::{self, Moment},
    payload::Payload,
    report::Report,
    target::Target,
};
use crate::Failure;

/// How long calls under way at the end are waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long to wait before a connection that failed is tried again.
const PAUSE: Duration = Duration::from_millis(50);

/// What came of the calls.
pub struct Tally {
    /// Answers by gRPC code; a code that is no number counts as 2, UNKNOWN, as the protocol says.
    pub codes: BTreeMap<u32, u64>,
    /// Calls that ended without a gRPC status.
    pub broken: u64,
    /// Calls that had not ended when the patience did, and calls that were due and not begun.
    pub unanswered: u64,
    /// Microseconds from when a call was due to its OK.
    pub latency: Histogram<u64>,
    /// What the first call that failed said.
    pub first_failure: Option<String>,
}

/// Everything that the workers share.
struct Shared {
    request: Request<()>,
    payload: Payload,
    /// Calls due before this are not counted.
    from: Instant,
    until: Instant,
    numbers: RefCell<u64>,
    begun: RefCell<u64>,
    tally: RefCell<Tally>,
}

/// One connection, made again when it breaks.
struct Line {
    target: Rc<Target>,
    /// The connection and its number, so that nobody forgets a newer one than the one that failed.
    open: RefCell<Option<(u64, SendRequest<Bytes>)>>,
    connecting: Mutex<u64>,
}

/// How a call ended: with a gRPC status, or without.
enum Ended {
    Status(u32, String),
    Broken(String),
}

/// Calls as the options say, and returns the figures.
pub async fn drive(options: &Options, target: Target, method: &MethodDescriptor, payload: Payload) -> Result<Report, Failure> {
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let target = Rc::new(target);
    let mut lines = Vec::new();
    for _ in 0..options.connections {
        let line = Line { target: Rc::clone(&target), open: RefCell::new(None), connecting: Mutex::new(0) };
        line.sender().await?;
        lines.push(Rc::new(line));
    }
    let server = server(options);
    let begun = Instant::now();
    let from = begun + options.warm_up;
    let shared = Rc::new(Shared {
        request: target.request(&path)?,
        payload,
        from,
        until: from + options.seconds,
        numbers: RefCell::new(0),
        begun: RefCell::new(0),
        tally: RefCell::new(Tally::new()?),
    });
    eprintln!("calling {path} at {} for {:.0?} after {:.0?} of warm-up", options.address, options.seconds, options.warm_up);

    let arrivals = options.rate.map(|rate| Rc::new(Mutex::new(arrivals(rate, begun, shared.until))));
    let mut workers = JoinSet::new();
    for index in 0..options.concurrency {
        let line = Rc::clone(&lines[usize::from(index) % lines.len()]);
        workers.spawn_local(work(Rc::clone(&shared), line, arrivals.clone()));
    }
    sleep_until(from.into()).await;
    let before = Moment::now(&server)?;
    let _ = timeout_at((shared.until + PATIENCE).into(), async { while workers.join_next().await.is_some() {} }).await;
    let elapsed = from.elapsed();
    let usage = before.usage_until(&Moment::now(&server)?, !server.is_empty());
    workers.shutdown().await;

    let shared = Rc::into_inner(shared).ok_or("a worker outlived the run")?;
    let mut tally = shared.tally.into_inner();
    tally.unanswered += shared.begun.into_inner() - tally.answered();
    if let Some(arrivals) = arrivals {
        tally.unanswered += left(&mut *arrivals.lock().await, from);
    }
    Ok(Report::new(options, tally, elapsed, usage))
}

/// The processes of the server: those that were named, and on this machine those that listen on its port.
fn server(options: &Options) -> Vec<u32> {
    let mut pids = options.pids.clone();
    let Some((host, port)) = options.address.rsplit_once(':') else { return pids };
    let here = host == "localhost" || host.starts_with("127.") || host == "[::1]";
    if here && let Ok(port) = port.parse() {
        pids.extend(cpu::listening(port));
        pids.sort_unstable();
        pids.dedup();
    }
    pids
}

/// The moments at which calls are due, told when they come. On a thread of its own: the runtime's timers are late by up to a
/// millisecond, and latency counts from here.
fn arrivals(rate: u32, begun: Instant, until: Instant) -> mpsc::UnboundedReceiver<Instant> {
    let (tell, told) = mpsc::unbounded_channel();
    thread::spawn(move || {
        let gap = Duration::from_secs(1) / rate;
        let mut due = begun;
        while due < until {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if tell.send(due).is_err() {
                return;
            }
            due += gap;
        }
    });
    told
}

/// Calls that were due and that no worker came to.
fn left(arrivals: &mut mpsc::UnboundedReceiver<Instant>, from: Instant) -> u64 {
    let mut count = 0;
    while let Ok(due) = arrivals.try_recv() {
        count += u64::from(due >= from);
    }
    count
}

async fn work(shared: Rc<Shared>, line: Rc<Line>, arrivals: Option<Rc<Mutex<mpsc::UnboundedReceiver<Instant>>>>) {
    loop {
        let due = match &arrivals {
            None => Instant::now(),
            Some(arrivals) => match arrivals.lock().await.recv().await {
                Some(due) => due,
                None => return,
            },
        };
        let late = arrivals.is_some() && Instant::now() > shared.until + PATIENCE;
        if due >= shared.until || late {
            return;
        }
        let counts = due >= shared.from;
        *shared.begun.borrow_mut() += u64::from(counts);
        let number = shared.numbers.replace_with(|number| *number + 1);
        let ended = line.call(&shared.request, shared.payload.bytes(number)).await;
        let broken = matches!(ended, Ended::Broken(_));
        if counts {
            shared.tally.borrow_mut().add(ended, due.elapsed());
        }
        if broken {
            sleep(PAUSE).await;
        }
    }
}

impl Line {
    /// The connection, made if there is none or it can take no more calls.
    async fn sender(&self) -> Result<(u64, SendRequest<Bytes>), Failure> {
        loop {
            let open = self.open.borrow().clone();
            if let Some((number, sender)) = open {
                match sender.ready().await {
                    Ok(sender) => return Ok((number, sender)),
                    // No call was begun on it, so this is no failed call: servers end connections when they like.
                    Err(_) => self.forget(number),
                }
            }
            let mut connections = self.connecting.lock().await;
            if self.open.borrow().is_none() {
                let sender = self.target.connect().await?;
                *connections += 1;
                *self.open.borrow_mut() = Some((*connections, sender));
            }
        }
    }

    fn forget(&self, number: u64) {
        let mut open = self.open.borrow_mut();
        if open.as_ref().is_some_and(|(current, _)| *current == number) {
            *open = None;
        }
    }

    async fn call(&self, request: &Request<()>, body: Bytes) -> Ended {
        let (number, sender) = match self.sender().await {
            Ok(open) => open,
            Err(failure) => return Ended::Broken(failure.to_string()),
        };
        match exchange(sender, request.clone(), body).await {
            Ok(ended) => ended,
            Err(error) => {
                if !error.is_reset() {
                    self.forget(number);
                }
                Ended::Broken(error.to_string())
            }
        }
    }
}

async fn exchange(mut sender: SendRequest<Bytes>, request: Request<()>, body: Bytes) -> Result<Ended, h2::Error> {
    let (response, mut stream) = sender.send_request(request, false)?;
    stream.send_data(body, true)?;
    let (head, mut answer) = response.await?.into_parts();
    if head.status != 200 {
        return Ok(Ended::Broken(format!("HTTP status {}", head.status)));
    }
    while let Some(chunk) = answer.data().await {
        let length = chunk?.len();
        answer.flow_control().release_capacity(length)?;
    }
    let trailers = answer.trailers().await?;
    // A refusal before the first message has its status in the head.
    let ended = status(&head.headers).or_else(|| trailers.as_ref().and_then(status));
    Ok(ended.unwrap_or_else(|| Ended::Broken("the answer has no grpc-status".to_owned())))
}

fn status(headers: &HeaderMap) -> Option<Ended> {
    let code = headers.get("grpc-status")?.to_str().ok().and_then(|code| code.parse().ok()).unwrap_or(2);
    let message = if code == 0 { None } else { headers.get("grpc-message").and_then(|text| text.to_str().ok()) };
    Some(Ended::Status(code, decoded(message.unwrap_or_default())))
}

/// The text of a `grpc-message`, which is percent-encoded.
fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, after @ ..] = rest {
        let hex = (*first == b'%')
            .then(|| after.get(..2))
            .flatten()
            .and_then(|hex| u8::from_str_radix(str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(hex.unwrap_or(*first));
        rest = if hex.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Tally {
    fn new() -> Result<Self, Failure> {
        Ok(Self {
            codes: BTreeMap::new(),
            broken: 0,
            unanswered: 0,
            latency: Histogram::new_with_bounds(1, 3_600_000_000, 3)?,
            first_failure: None,
        })
    }

    /// Calls that came to an end.
    pub fn answered(&self) -> u64 {
        self.codes.values().sum::<u64>() + self.broken
    }

    fn add(&mut self, ended: Ended, took: Duration) {
        let failure = match ended {
            Ended::Status(code, message) => {
                *self.codes.entry(code).or_default() += 1;
                if code == 0 {
                    self.latency.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
                    return;
                }
                message
            }
            Ended::Broken(message) => {
                self.broken += 1;
                message
            }
        };
        self.first_failure.get_or_insert(failure);
    }
}
