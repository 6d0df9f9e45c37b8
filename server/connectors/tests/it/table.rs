//! Every operation of a vendor under every kind of answer. No cell is left out: one that makes no sense says why, and is counted.

use std::time::Duration;

use freehold_connectors::{Effect, ErrorKind, Manifest};
use freehold_fakes::{Fault, Server};
use futures::{
    future::BoxFuture,
    stream::{self, StreamExt as _},
};
use serde_json::Value;

use crate::support::Connection;

/// One operation, and what is special about it.
pub struct Row {
    pub operation: &'static str,
    pub input: Value,
    /// Part of method and path of the request that decides.
    pub path: &'static str,
    /// How the third page is got, or why there is none.
    pub page: Page,
    /// What the same call does a second time.
    pub again: Again,
    /// Whether a token is needed at all.
    pub token: Token,
}

pub enum Page {
    /// With this input, as many items come as are in this list of the answer.
    Third(Value, &'static str, usize),
    No(&'static str),
}

pub enum Again {
    Works,
    Refused(ErrorKind),
}

#[derive(PartialEq)]
pub enum Token {
    Needed,
    No(&'static str),
}

/// A vendor with a fresh state.
pub trait Bench: Send + Sync {
    fn connection(&self) -> &Connection;
    fn server(&self) -> &Server;
    /// No credential is good any more.
    fn revoke(&self);
    /// A refusal for too many calls that lets the next one through.
    fn throttled(&self) -> Fault;
    /// Makes enough for three pages.
    fn fill(&self);
}

pub type Make = fn() -> BoxFuture<'static, Box<dyn Bench>>;

/// Cells that were run, and those that make no sense, with the reason.
#[derive(Default, Debug)]
pub struct Tally {
    pub run: usize,
    pub senseless: Vec<String>,
}

/// Runs all of a table, and makes sure that it has every operation of the connector.
pub async fn run(make: Make, rows: Vec<Row>) -> Tally {
    let mut tally = Tally::default();
    let bench = make().await;
    let manifest = bench.connection().connector.manifest().clone();
    let (mut known, mut told): (Vec<_>, Vec<_>) =
        (manifest.operations.iter().map(|known| known.name).collect(), rows.iter().map(|row| row.operation).collect());
    known.sort_unstable();
    told.sort_unstable();
    assert_eq!(told, known, "every operation has a row");
    let mut tallies = stream::iter(&rows).map(|row| every_answer(make, row, effect(&manifest, row))).buffer_unordered(ALONGSIDE);
    while let Some(one) = tallies.next().await {
        tally.run += one.run;
        tally.senseless.extend(one.senseless);
    }
    tally.print(manifest.kind);
    tally
}

impl Tally {
    /// Says how many cells there are.
    pub fn print(&self, kind: &str) {
        let (run, senseless) = (self.run, self.senseless.len());
        println!("{kind}: {} cells, of which {run} were run and {senseless} make no sense", run + senseless);
        self.senseless.iter().for_each(|why| println!("    {why}"));
    }
}

/// Rows that run at the same time.
const ALONGSIDE: usize = 12;

fn effect(manifest: &Manifest, row: &Row) -> Effect {
    manifest.operations.iter().find(|known| known.name == row.operation).expect("it is there").effect
}

async fn every_answer(make: Make, row: &Row, effect: Effect) -> Tally {
    let mut tally = Tally { run: 5, senseless: Vec::new() };
    success_and_again(make, row).await;
    refused(make, row, &mut tally).await;
    throttled(make, row).await;
    broken(make, row, effect).await;
    silent(make, row, effect).await;
    paged(make, row, &mut tally).await;
    tally
}

/// The input of a row; `https://vendor` in it stands for where the vendor listens.
fn input(bench: &dyn Bench, row: &Row) -> Value {
    let text = row.input.to_string().replace("https://vendor", &bench.server().url());
    serde_json::from_str(&text).expect("it is still JSON")
}

fn sent(bench: &dyn Bench, row: &Row) -> usize {
    bench.server().requests().iter().filter(|one| format!("{} {}", one.method, one.path).contains(row.path)).count()
}

async fn success_and_again(make: Make, row: &Row) {
    let bench = make().await;
    let connection = bench.connection();
    connection.call(row.operation, input(bench.as_ref(), row)).await;
    assert!(sent(bench.as_ref(), row) > 0, "{}: nothing was sent to {}", row.operation, row.path);
    let again = connection.invoke(row.operation, input(bench.as_ref(), row)).await.map_err(|error| error.kind);
    match row.again {
        Again::Works => assert!(again.is_ok(), "{} again: {again:?}", row.operation),
        Again::Refused(kind) => assert_eq!(again.err(), Some(kind), "{} again", row.operation),
    }
}

async fn refused(make: Make, row: &Row, tally: &mut Tally) {
    if let Token::No(why) = row.token {
        tally.senseless.push(format!("{} × auth: {why}", row.operation));
        return;
    }
    let bench = make().await;
    bench.revoke();
    let error = bench.connection().invoke(row.operation, input(bench.as_ref(), row)).await.expect_err("nobody is let in");
    assert_eq!((error.kind, error.maybe_done), (ErrorKind::Auth, false), "{}: {error}", row.operation);
    tally.run += 1;
}

async fn throttled(make: Make, row: &Row) {
    let bench = make().await;
    bench.server().fail(row.path, bench.throttled());
    bench.connection().call(row.operation, input(bench.as_ref(), row)).await;
    assert_eq!(bench.connection().outbound.snapshot().retries, 1, "{}", row.operation);
}

async fn broken(make: Make, row: &Row, effect: Effect) {
    let bench = make().await;
    bench.server().fail(row.path, Fault::status(502));
    let result = bench.connection().invoke(row.operation, input(bench.as_ref(), row)).await;
    match (effect, result) {
        (Effect::Unsafe, Err(error)) => {
            assert_eq!((error.kind, error.maybe_done), (ErrorKind::Transient, true), "{}: {error}", row.operation);
            assert_eq!(sent(bench.as_ref(), row), 1, "{} is not done twice", row.operation);
        }
        (Effect::Unsafe, Ok(_)) => panic!("{} was repeated, and nobody knows whether it had happened", row.operation),
        (_, result) => {
            result.unwrap_or_else(|error| panic!("{} is repeated: {error:?}", row.operation));
            assert!(sent(bench.as_ref(), row) >= 2, "{}", row.operation);
        }
    }
}

async fn silent(make: Make, row: &Row, effect: Effect) {
    let bench = make().await;
    bench.server().fail(row.path, Fault::Silent);
    let connection = bench.connection();
    let cx = connection.cx().within(Duration::from_millis(2500));
    let error = connection.connector.invoke(&cx, row.operation, input(bench.as_ref(), row)).await.expect_err("nobody answers");
    let kind = (error.kind, error.maybe_done);
    assert_eq!(kind, (ErrorKind::Transient, effect != Effect::Read), "{}: {error}", row.operation);
}

async fn paged(make: Make, row: &Row, tally: &mut Tally) {
    match &row.page {
        Page::No(why) => tally.senseless.push(format!("{} × page 3: {why}", row.operation)),
        Page::Third(input, list, count) => {
            let bench = make().await;
            bench.fill();
            let found = bench.connection().call(row.operation, input.clone()).await;
            assert_eq!(found[list].as_array().map(Vec::len), Some(*count), "{}", row.operation);
            assert!(sent(bench.as_ref(), row) >= 3, "{}: {} pages", row.operation, sent(bench.as_ref(), row));
            tally.run += 1;
        }
    }
}
