//! Lists: a page, all pages, all items.

use std::{collections::VecDeque, pin::Pin, sync::Arc, time::Duration};

use futures::{Stream, TryStreamExt as _, future::BoxFuture, stream};
use tokio::task::JoinSet;

use crate::error::Result;

/// A stream of answers, any of which can be the failure that ends it.
pub type Answers<T> = Pin<Box<dyn Stream<Item = Result<T>> + Send>>;

/// One page of a list.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Page<T> {
    /// Its items, in the order of the list.
    pub items: Vec<T>,
    /// Token of the next page; absent on the last one.
    pub next_page_token: Option<String>,
}

/// What to ask a list for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ask {
    pub(crate) page_size: i32,
    pub(crate) page_token: String,
    pub(crate) newest_first: bool,
    pub(crate) deadline: Option<Duration>,
}

type Fetch<T> = Arc<dyn Fn(Ask) -> BoxFuture<'static, Result<Page<T>>> + Send + Sync>;

/// A list being asked for; nothing is sent before one of the methods that end it.
#[must_use = "nothing is sent before `send`, `pages`, `items` or `collect_up_to`"]
pub struct List<T> {
    fetch: Fetch<T>,
    pub(crate) ask: Ask,
}

impl<T: Send + 'static> List<T> {
    pub(crate) fn new(fetch: impl Fn(Ask) -> BoxFuture<'static, Result<Page<T>>> + Send + Sync + 'static) -> Self {
        Self { fetch: Arc::new(fetch), ask: Ask::default() }
    }

    /// Items in one page, 1 to 500; 50 if not said.
    pub fn page_size(mut self, size: u16) -> Self {
        self.ask.page_size = size.into();
        self
    }

    /// Begins at the page with this token.
    pub fn page_token(mut self, token: impl Into<String>) -> Self {
        self.ask.page_token = token.into();
        self
    }

    /// How long the call for one page may take, repeats included; 30 seconds if not said.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.ask.deadline = Some(deadline);
        self
    }

    /// Fetches one page.
    ///
    /// # Errors
    /// [`is_invalid_argument`](crate::Error::is_invalid_argument) when the page token is not one of this list, and those of any
    /// call.
    pub async fn send(self) -> Result<Page<T>> {
        (self.fetch)(self.ask).await
    }

    /// Streams all pages; while one is read, the next is fetched. A failure ends the stream.
    pub fn pages(self) -> Answers<Page<T>> {
        let first = self.ask.clone();
        Box::pin(stream::unfold(Ahead::Begin(self, first), Ahead::next))
    }

    /// Streams all items; while those of one page are read, the next page is fetched. A failure ends the stream.
    ///
    /// ```no_run
    /// # async fn example(freehold: freehold::Client) -> freehold::Result<()> {
    /// use futures::TryStreamExt;
    ///
    /// let mut projects = freehold.projects().list().items();
    /// while let Some(project) = projects.try_next().await? {
    ///     println!("{}", project.name);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn items(self) -> Answers<T> {
        Box::pin(self.pages().map_ok(|page| stream::iter(page.items.into_iter().map(Ok))).try_flatten())
    }

    /// Collects the first `limit` items.
    ///
    /// # Errors
    /// The first failure of any page.
    pub async fn collect_up_to(self, limit: usize) -> Result<Vec<T>> {
        let mut items = VecDeque::new();
        let mut pages = self.pages();
        while items.len() < limit
            && let Some(page) = pages.try_next().await?
        {
            items.extend(page.items);
        }
        items.truncate(limit);
        Ok(items.into())
    }
}

/// Where a stream of pages stands.
enum Ahead<T> {
    Begin(List<T>, Ask),
    /// The next page is on its way; dropping the set gives the fetch up.
    Under(List<T>, JoinSet<Result<Page<T>>>),
    End,
}

impl<T: Send + 'static> Ahead<T> {
    async fn next(self) -> Option<(Result<Page<T>>, Self)> {
        let (list, page) = match self {
            Self::Begin(list, ask) => {
                let page = (list.fetch)(ask).await;
                (list, page)
            }
            Self::Under(list, mut fetch) => {
                // The task is never aborted, and a panic in it would be one of ours: nothing is left to give then.
                let page = fetch.join_next().await?.ok()?;
                (list, page)
            }
            Self::End => return None,
        };
        let Ok(Page { next_page_token: Some(token), .. }) = &page else { return Some((page, Self::End)) };
        let mut fetch = JoinSet::new();
        fetch.spawn((list.fetch)(Ask { page_token: token.clone(), ..list.ask.clone() }));
        Some((page, Self::Under(list, fetch)))
    }
}

/// A [`List`] of what `$path` answers with.
macro_rules! list {
    ($core:expr, $request:expr, $path:literal, $answer:ty { $items:ident } $(, newest_first: $newest:ident)?) => {{
        let call = $crate::call::Call::new($core, $request);
        $crate::list::list!(call, $path, $answer { $items } $(, newest_first: $newest)?)
    }};
    ($call:ident, $path:literal, $answer:ty { $items:ident } $(, newest_first: $newest:ident)?) => {
        $crate::list::List::new(move |ask: $crate::list::Ask| {
            let mut call = $call.clone();
            call.request.page_size = ask.page_size;
            call.request.page_token = ask.page_token;
            call.deadline = ask.deadline;
            $(call.request.$newest = ask.newest_first;)?
            Box::pin(async move {
                let answer: $answer = call.send($path).await?;
                Ok($crate::list::Page {
                    items: $crate::wire::Lift::lift(answer.$items),
                    next_page_token: $crate::wire::Lift::lift(answer.next_page_token),
                })
            })
        })
    };
}
pub(crate) use list;

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use bytes::Bytes;
    use freehold_proto::tenants::v1 as pb;
    use futures::{FutureExt as _, StreamExt as _};
    use prost::Message as _;

    use super::*;
    use crate::{Client, Code, Error, Stub};

    /// Seven projects in pages of the size asked for; the page with the token `broken` fails. Keeps what it was asked.
    #[derive(Clone, Default)]
    struct Seven {
        asked: Arc<Mutex<Vec<pb::ListProjectsRequest>>>,
        broken: Option<&'static str>,
    }

    impl Stub for Seven {
        fn call<'a>(&'a self, path: &'a str, request: Bytes) -> BoxFuture<'a, Result<Bytes>> {
            assert_eq!(path, "/freehold.tenants.v1.ProjectService/ListProjects");
            let request = pb::ListProjectsRequest::decode(request).expect("a request");
            self.asked.lock().expect("a lock").push(request.clone());
            let broken = self.broken == Some(&request.page_token);
            async move {
                if broken {
                    return Err(Error::new(Code::Internal, "broken").with_reason("INTERNAL"));
                }
                let begin: usize = request.page_token.parse().unwrap_or(0);
                let end = (begin + request.page_size as usize).min(7);
                let projects = (begin..end).map(|n| pb::Project { name: n.to_string(), ..Default::default() }).collect();
                let next_page_token = if end < 7 { end.to_string() } else { String::new() };
                Ok(pb::ListProjectsResponse { projects, next_page_token }.encode_to_vec().into())
            }
            .boxed()
        }
    }

    fn names(projects: &[crate::Project]) -> Vec<&str> {
        projects.iter().map(|project| project.name.as_str()).collect()
    }

    #[tokio::test]
    async fn one_page_all_pages_all_items() {
        let seven = Seven::default();
        let projects = Client::from_stub(seven.clone(), "acme").projects();

        let page = projects.list().page_size(3).page_token("3").send().await.expect("a page");
        assert_eq!((names(&page.items), page.next_page_token.as_deref()), (vec!["3", "4", "5"], Some("6")));
        assert_eq!(seven.asked.lock().expect("a lock")[0].parent, "tenants/acme");

        let pages: Vec<_> =
            projects.list().page_size(3).pages().map_ok(|page| page.items.len()).try_collect().await.expect("pages");
        assert_eq!(pages, [3, 3, 1]);
        let items: Vec<_> = projects.list().page_size(2).items().try_collect().await.expect("items");
        assert_eq!(names(&items), ["0", "1", "2", "3", "4", "5", "6"]);
    }

    #[tokio::test]
    async fn collecting_stops_at_the_limit_and_asks_for_one_page_ahead_at_most() {
        let seven = Seven::default();
        let projects = Client::from_stub(seven.clone(), "acme").projects();
        let first = projects.list().page_size(2).collect_up_to(3).await.expect("items");
        assert_eq!(names(&first), ["0", "1", "2"]);
        assert!(seven.asked.lock().expect("a lock").len() <= 3);
    }

    #[tokio::test]
    async fn a_failure_ends_the_stream_after_what_was_good() {
        let seven = Seven { broken: Some("4"), ..Default::default() };
        let items: Vec<_> = Client::from_stub(seven, "acme").projects().list().page_size(2).items().collect().await;
        assert_eq!(items.len(), 5);
        assert!(items[..4].iter().all(Result::is_ok));
        assert_eq!(items[4].as_ref().expect_err("broken").code(), Code::Internal);
    }
}
