//! Waits on conditions, never for a time.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

/// How long a condition may take; generous, since machines of tests are slow and shared.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a whole story may take.
const STORY: Duration = Duration::from_secs(300);

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

/// Tells a story to its end. Panics when that takes longer than any story does, so that one that waits for ever fails by its name.
pub async fn told(story: impl Future<Output = ()>) {
    tokio::time::timeout(STORY, story).await.unwrap_or_else(|_| panic!("the story did not end in {STORY:?}"));
}
