//! Follows a program: its output line by line, until its end.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

use freehold_domain::fault;
use tokio::time::Instant;

use super::events::{Diagnostic, Event};
use crate::{Exit, Hold, Level, Process, Redactor, Sink};

/// Between two looks at the output.
const LOOK: Duration = Duration::from_millis(100);
/// How long a program has to end in order after it was asked to.
const GRACE: Duration = Duration::from_secs(600);
/// Longest line that is read; the rest of a longer one is left out.
const LINE: usize = 64 << 10;
/// Bytes that are read at once.
const PIECE: u64 = 1 << 20;

/// A program that is followed.
pub(super) struct Follower<'a> {
    process: Box<dyn Process>,
    output: Lines,
    errors: Lines,
    sink: &'a dyn Sink,
    redactor: &'a Mutex<Redactor>,
    /// Lines up to this byte are in the log already.
    logged: u64,
    /// Errors that it reported, in their order.
    pub failures: Vec<Diagnostic>,
    /// The last lines of its standard error.
    pub last_words: Vec<String>,
    /// When it was asked to end.
    interrupted: Option<Instant>,
    ended: Option<Exit>,
    left: bool,
}

impl<'a> Follower<'a> {
    /// Follows the program with this record. Of its output, lines up to the byte `logged` are not logged again.
    pub fn new(process: Box<dyn Process>, record: &Path, sink: &'a dyn Sink, redactor: &'a Mutex<Redactor>, logged: u64) -> Self {
        Self {
            process,
            output: Lines::new(record.join("stdout")),
            errors: Lines::new(record.join("stderr")),
            sink,
            redactor,
            logged,
            failures: Vec::new(),
            last_words: Vec::new(),
            interrupted: None,
            ended: None,
            left: false,
        }
    }

    /// What it said since the last call; waits for a moment if it says nothing. Nothing when it has ended and said everything.
    pub async fn next(&mut self) -> Option<Vec<Event>> {
        if self.ended.is_none() {
            tokio::select! {
                exit = self.process.ended() => self.ended = Some(exit),
                () = tokio::time::sleep(LOOK) => self.look_after(),
            }
        }
        if self.left {
            return None;
        }
        let ended = self.ended.is_some();
        let begun = self.output.offset;
        let events: Vec<Event> = self.output.read(ended).iter().map(|line| Event::read(line)).collect();
        for event in &events {
            self.failures.extend(event.diagnostic().filter(|diagnostic| diagnostic.is_error()).cloned());
            if let Some(level) = event.level().filter(|_| begun >= self.logged) {
                self.log(level, event.address(), &event.text());
            }
        }
        for line in self.errors.read(ended) {
            self.log(Level::Warn, "", &line);
            self.last_words.push(self.clean(&line));
            let surplus = self.last_words.len().saturating_sub(20);
            self.last_words.drain(..surplus);
        }
        let more = !events.is_empty() || !ended || self.output.has_more();
        more.then_some(events)
    }

    /// Follows it to its end.
    pub async fn finish(&mut self) -> Exit {
        while self.next().await.is_some() {}
        self.exit()
    }

    /// How it ended; [`Exit::Unknown`] before.
    pub fn exit(&self) -> Exit {
        self.ended.clone().unwrap_or(Exit::Unknown)
    }

    /// Somebody else in this runner follows it from now on, or ends it.
    pub fn was_left(&self) -> bool {
        self.left
    }

    /// Ends it at once, with everything that it has started.
    pub async fn kill(&self) {
        self.process.kill();
        self.process.ended().await;
    }

    /// It was asked to end before it did.
    pub fn was_interrupted(&self) -> bool {
        self.interrupted.is_some()
    }

    /// How far its output was read.
    pub fn offset(&self) -> u64 {
        self.output.offset
    }

    /// Keeps the program going as long as the run is this runner's, and asks it to end when it should.
    fn look_after(&mut self) {
        let hold = if fault::mutant("claims") { Hold::Held } else { self.sink.hold() };
        match hold {
            Hold::Held => self.process.claim(),
            Hold::Left => return self.left = true,
            Hold::Unsure | Hold::Lost => {}
        }
        match self.interrupted {
            None if self.sink.cancelled() || hold == Hold::Lost => {
                let why = if hold == Hold::Lost { "the run was given to another runner" } else { "asked to stop" };
                self.sink.log(Level::Warn, "", &format!("{why}: what is under way is finished, nothing new begins"));
                self.process.interrupt();
                self.interrupted = Some(Instant::now());
            }
            Some(since) if since.elapsed() > fault::time("grace", GRACE) => {
                self.sink.log(Level::Error, "", "it did not end in time and is ended by force");
                self.process.kill();
                self.interrupted = Some(Instant::now());
            }
            _ => {}
        }
    }

    fn log(&self, level: Level, address: &str, text: &str) {
        self.sink.log(level, address, &self.clean(text));
    }

    fn clean(&self, text: &str) -> String {
        self.redactor.lock().unwrap_or_else(std::sync::PoisonError::into_inner).redact(text)
    }
}

/// A file that grows, by the line.
struct Lines {
    path: PathBuf,
    offset: u64,
    rest: Vec<u8>,
    more: bool,
}

impl Lines {
    fn new(path: PathBuf) -> Self {
        Self { path, offset: 0, rest: Vec::new(), more: false }
    }

    /// There is more in the file than the last read took.
    fn has_more(&self) -> bool {
        self.more
    }

    /// Lines that were completed since the last read; with `all`, also a last one without an end.
    fn read(&mut self, all: bool) -> Vec<String> {
        let mut piece = Vec::new();
        let read = File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.offset))?;
            file.take(PIECE).read_to_end(&mut piece)
        });
        let read = read.unwrap_or(0) as u64;
        self.offset += read;
        self.more = read == PIECE;
        let mut lines = Vec::new();
        for byte in piece {
            if byte == b'\n' {
                lines.push(String::from_utf8_lossy(&std::mem::take(&mut self.rest)).into_owned());
            } else if self.rest.len() < LINE {
                self.rest.push(byte);
            }
        }
        if all && !self.more && !self.rest.is_empty() {
            lines.push(String::from_utf8_lossy(&std::mem::take(&mut self.rest)).into_owned());
        }
        lines.retain(|line| !line.trim().is_empty());
        lines
    }
}
