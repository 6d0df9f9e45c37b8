//! Waits on conditions, never for a time.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

/// How long a condition may take; generous, since machines of tests are slow and shared.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until there is an answer. Panics with the last reason when there is none in time.
pub async fn eventually<T, E: Debug, F: Future<Output = Result<T, E>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let begun = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(why) if begun.elapsed() > PATIENCE => panic!("waited {PATIENCE:?} for {what}: {why:?}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Asks again and again until it is so.
pub async fn until<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) {
    eventually(what, || {
        let answer = ask();
        async move { if answer.await { Ok(()) } else { Err("not yet") } }
    })
    .await;
}
