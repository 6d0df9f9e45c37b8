//! The console's files: what may be kept, what may run, and that calls pass by them.

use freehold_api::policy::Surface;

use crate::{
    support::{ADA, Installation, ORIGIN, Server},
    web::{Answer, EMPTY, GRPC_WEB, IDENTITY, http1},
};

async fn get(here: &Installation, server: &Server, path: &str, headers: &[(&str, &str)]) -> Answer {
    http1(here, server, "GET", path, headers, b"").await
}

/// The path of the script that the page begins with.
fn script(page: &Answer) -> String {
    let page = String::from_utf8(page.body.clone()).expect("text");
    let (_, from) = page.split_once("src=\"").expect("the page has a script");
    from.split('"').next().expect("a whole attribute").to_owned()
}

#[tokio::test]
async fn every_path_of_the_console_is_the_page_and_nothing_runs_but_its_own_files() {
    let here = Installation::new();
    let server = here.serve(Surface::Web).await;

    for path in ["/", "/t/acme/p/shop/e/dev/d/hello/runs/0199", "/audit?resource=x.y", "/index.html"] {
        let page = get(&here, &server, path, &[]).await;
        assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")), "{path}");
        assert_eq!(page.header("cache-control"), Some("no-cache"));
        assert!(page.body_has("<div id=\"app\">"), "{path}");
        // A policy without inline scripts and styles would break a page that has some.
        assert!(!page.body_has("<style") && !page.body_has("style=") && !page.body_has("onload="));
        let policy = page.header("content-security-policy").expect("there");
        for rule in
            ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"]
        {
            assert!(policy.contains(rule), "{rule} in {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(page.header("cross-origin-opener-policy"), Some("same-origin"));
        // Other servers of this machine are `localhost` too.
        assert_eq!(page.header("strict-transport-security"), None);
    }
    for path in ["/assets/gone.js", "/favicon.ico", "/../Cargo.toml", "/assets/..%2f..%2fbuild.rs"] {
        let missing = get(&here, &server, path, &[]).await;
        assert_eq!((missing.status, missing.header("x-content-type-options")), (404, Some("nosniff")), "{path}");
    }
}

#[tokio::test]
async fn files_with_a_digest_may_be_kept_and_are_sent_in_the_form_that_is_asked_for() {
    let here = Installation::new();
    let server = here.serve(Surface::Web).await;
    let path = script(&get(&here, &server, "/", &[]).await);

    let plain = get(&here, &server, &path, &[]).await;
    assert_eq!((plain.status, plain.header("content-encoding")), (200, None));
    assert_eq!(plain.header("cache-control"), Some("public, max-age=31536000, immutable"));
    assert_eq!(plain.header("vary"), Some("accept-encoding"));
    assert_eq!(plain.header("content-length"), Some(plain.body.len().to_string().as_str()));
    let mut tags = vec![plain.header("etag").expect("there").to_owned()];
    for (accepts, encoding) in
        [("gzip, deflate, br, zstd", "br"), ("gzip", "gzip"), ("br;q=0, GZIP;q=0.5", "gzip"), ("br;q=1.0", "br")]
    {
        let small = get(&here, &server, &path, &[("accept-encoding", accepts)]).await;
        assert_eq!((small.status, small.header("content-encoding")), (200, Some(encoding)), "{accepts}");
        assert!(small.body.len() * 2 < plain.body.len(), "{accepts}: {} of {}", small.body.len(), plain.body.len());
        tags.push(small.header("etag").expect("there").to_owned());
    }
    assert_eq!(get(&here, &server, &path, &[("accept-encoding", "identity, br;q=0")]).await.header("content-encoding"), None);
    assert_eq!((tags[1].as_str(), tags[2].as_str()), (tags[4].as_str(), tags[3].as_str()));
    assert!(tags[0] != tags[1] && tags[1] != tags[2], "{tags:?}");

    let known = [("accept-encoding", "br"), ("if-none-match", &format!("\"x\", W/{}", tags[1]))];
    let unchanged = get(&here, &server, &path, &known).await;
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    assert_eq!(unchanged.header("etag"), Some(tags[1].as_str()));
    // The tag of another form is not that of this one.
    let other = [("accept-encoding", "gzip"), ("if-none-match", tags[1].as_str())];
    assert_eq!(get(&here, &server, &path, &other).await.status, 200);

    let head = http1(&here, &server, "HEAD", &path, &[("accept-encoding", "br")], b"").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("etag"), Some(tags[1].as_str()));
    assert!(head.header("content-length").is_some_and(|length| length != "0"), "{}", head.head);
}

#[tokio::test]
async fn calls_and_preflights_pass_by_the_console() {
    let here = Installation::new();
    let server = here.serve(Surface::Web).await;
    let bearer = format!("Bearer {}", here.token(None));

    let call = http1(&here, &server, "POST", IDENTITY, &[GRPC_WEB, ("authorization", bearer.as_str())], EMPTY).await;
    assert!(call.body_has(ADA) && call.body_has("grpc-status:0"), "{}", call.head);
    let asks = [("origin", ORIGIN), ("access-control-request-method", "POST")];
    let preflight = http1(&here, &server, "OPTIONS", IDENTITY, &asks, b"").await;
    assert_eq!(preflight.header("access-control-allow-origin"), Some(ORIGIN));
    assert_eq!(preflight.header("content-security-policy"), None);
}
