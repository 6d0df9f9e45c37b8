//! Drafts whose files come from repositories: at commits, within limits, and for those alone who may use the connection.

use std::time::Duration;

use freehold::{BlueprintDraft, BlueprintFile, BlueprintSource, Client, Error, Timestamp};
use freehold_fakes::{Entry, FakeGithub, Fault, Reply};
use freehold_tests::{Database, World};

use crate::{
    cli::Shell,
    connections::{PRIVATE, trusting},
};

const DOCUMENT: &str = "apiVersion: freehold.dev/v1\nengine: native\nresources:\n  \
    page: { type: file, path: \"${deployment.id}.txt\", content: \"${file('modules/pages/page.txt')}\" }\n\
    outputs:\n  size: { value: \"${resources.page.size}\" }\n";

/// A world whose connection `code` reaches a GitHub Enterprise server.
async fn world(database: Database) -> (World, FakeGithub) {
    let world = World::with(database, PRIVATE).await.with_sample().await;
    let github = FakeGithub::start(Timestamp::now().as_second()).await;
    connect(&world.admin, "code", &github).await;
    world.admin.blueprints().create("web").send().await.expect("a blueprint");
    (world, github)
}

async fn connect(acme: &Client, name: &str, github: &FakeGithub) {
    let create = acme.connections().create(name, "github").setting("base_url", github.enterprise_api());
    trusting(create, &github.server).credential("token", FakeGithub::TOKEN).send().await.expect("a connection");
}

fn web() -> BlueprintSource {
    BlueprintSource::new("code", "acme/infra", "main").path("web")
}

fn paths(files: &[BlueprintFile]) -> Vec<&str> {
    files.iter().map(|file| file.path.as_str()).collect()
}

fn commits(draft: &BlueprintDraft) -> Vec<&str> {
    draft.sources.iter().map(|source| source.commit.as_str()).collect()
}

fn asked(github: &FakeGithub, text: &str) -> usize {
    github.server.requests().iter().filter(|request| request.path.contains(text)).count()
}

both_databases!(a_draft_is_what_repositories_have_at_their_commits);

async fn a_draft_is_what_repositories_have_at_their_commits(database: Database) {
    let (world, github) = world(database).await;
    let (acme, blueprints) = (&world.admin, world.admin.blueprints());
    let entries = [
        Entry::file("README.md", "# Infra\n"),
        Entry::Link("elsewhere".to_owned(), "/etc/passwd".to_owned()),
        Entry::file("web/blueprint.yaml", DOCUMENT),
        Entry::file("web/.gitignore", "*.log\n"),
        Entry::file("web/prod.tfvars", "password = 1\n"),
        Entry::file("website/index.html", "<html>"),
    ];
    let first = github.commit("acme/infra", "main", &entries);
    // Somebody pushes between the two requests of the server.
    let pushed = github.commit_once_asked("acme/infra", "main", &[Entry::file("web/blueprint.yaml", "broken")]);
    let page = [Entry::file("pages/page.txt", "content-of-a-page\n")];
    let pages = github.commit("acme/modules", "release/1.4", &page);
    let modules = BlueprintSource::new("code", "acme/modules", "release/1.4").path("pages").directory("modules/pages");

    let import = blueprints.import_draft("web", [web(), modules.clone()]);
    let written = import.clone().send().await.expect("a draft");
    let draft = &written.blueprint_draft;
    assert_eq!(paths(&draft.files), ["blueprint.yaml", "modules/pages/page.txt"]);
    assert_eq!((draft.files[0].content.as_slice(), written.diagnostics.len()), (DOCUMENT.as_bytes(), 0));
    assert_eq!(commits(draft), [first.as_str(), pages.as_str()], "the commit of the moment, whatever became of the branch");
    let (one, two) = (&draft.sources[0], &draft.sources[1]);
    assert_eq!((one.connection.as_str(), one.revision.as_str()), ("tenants/acme/connections/code", "main"));
    assert_eq!((two.path.as_str(), two.directory.as_str()), ("pages", "modules/pages"));
    for request in github.server.requests() {
        let elsewhere = request.path.starts_with("/codeload/");
        assert!(elsewhere || request.path.starts_with("/api/v3/repos/acme/"), "{}", request.path);
        assert_eq!(request.header("authorization").is_empty(), elsewhere, "the token is for GitHub alone");
    }

    // A repeat is answered as the first time, and nobody is asked.
    let requests = github.server.requests().len();
    let again = import.send().await.expect("the same draft");
    assert_eq!((&again, github.server.requests().len()), (&written, requests));
    let stale = blueprints.import_draft("web", [web()]).send().await.expect_err("there is a draft by now");
    assert!(stale.is_etag_mismatch(), "{stale:?}");
    assert_eq!(github.server.requests().len(), requests, "what cannot be written is not fetched");
    assert_eq!(blueprints.get_draft("web").send().await.expect("the draft"), *draft);

    let version = blueprints.publish("web@1.0.0", &draft.etag).send().await.expect("published");
    assert_eq!(version.sources, draft.sources);
    let listed = blueprints.list_versions("web").collect_up_to(10).await.expect("versions");
    assert_eq!(listed[0].sources, draft.sources);
    let runner = world.runner();
    acme.deployments().create("shop/dev/web", "web@1.0.0").send().await.expect("a deployment");
    let run = acme.runs().plan("shop/dev/web").auto_apply().send().await.expect("a run");
    run.wait_done().await.expect("it ends").into_result().expect("well");
    let outputs = acme.state().outputs("shop/dev/web").send().await.expect("outputs");
    assert_eq!(outputs[0].value, Some("content-of-a-page\n".len().into()), "{outputs:?}");
    drop(runner);

    // Two folders of a commit come in one archive, and the commit by its own name.
    let before = (asked(&github, "/commits/"), asked(&github, "/codeload/"));
    let both = [web(), BlueprintSource::new("code", "acme/infra", "main").path("website").directory("site")];
    github.commit("acme/infra", "main", &entries);
    let written = blueprints.import_draft("web", both).etag(&draft.etag).send().await.expect("a draft");
    assert_eq!(paths(&written.blueprint_draft.files), ["blueprint.yaml", "site/index.html"]);
    assert_eq!((asked(&github, "/commits/"), asked(&github, "/codeload/")), (before.0 + 1, before.1 + 1));
    let by_commit = BlueprintSource::new("code", "acme/infra", &pushed).path("web");
    let etag = &written.blueprint_draft.etag;
    let written = blueprints.import_draft("web", [by_commit]).etag(etag).send().await.expect("a draft");
    assert_eq!(written.blueprint_draft.files[0].content, b"broken");
    assert!(!written.diagnostics.is_empty(), "drafts may be wrong");

    // Who writes files has them from nowhere.
    let files = [BlueprintFile::new("blueprint.yaml", DOCUMENT.replace("file('modules/pages/page.txt')", "deployment.id"))];
    let edited = blueprints.write_draft("web", files).etag(&written.blueprint_draft.etag).send().await.expect("a draft");
    assert_eq!(edited.blueprint_draft.sources, []);
    let version = blueprints.publish("web@1.0.1", &edited.blueprint_draft.etag).send().await.expect("published");
    assert_eq!(version.sources, []);
    assert_eq!(blueprints.get_version("web@1.0.0").send().await.expect("it stays").sources.len(), 2);
    // A repeat from before that tells what it did, and has no files of then.
    let late = blueprints.import_draft("late", [modules]).request_id("01a202e9-323a-75ec-8ce8-f07773f31a38");
    blueprints.create("late").send().await.expect("a blueprint");
    let first = late.clone().send().await.expect("a draft").blueprint_draft;
    blueprints.write_draft("late", [BlueprintFile::new("a", "b")]).etag(&first.etag).send().await.expect("a draft");
    let again = late.send().await.expect("a repeat").blueprint_draft;
    assert_eq!((again.etag, again.sources, again.files.len()), (first.etag, first.sources, 0));

    let trail = acme.audit().list().collect_up_to(1000).await.expect("the trail");
    let of_import: Vec<_> = trail.iter().filter(|record| record.method.ends_with("/ImportBlueprintDraft")).collect();
    let told = format!("{of_import:?}");
    assert!(told.contains(&pages) && told.contains("connection.invoked") && told.contains("acme/modules"), "{told}");
    assert!(!told.contains("content-of-a-page") && !world.replica.process.said().contains("content-of-a-page"));
}

both_databases!(what_cannot_be_a_draft_is_refused_with_every_reason);

async fn what_cannot_be_a_draft_is_refused_with_every_reason(database: Database) {
    let (world, github) = world(database).await;
    let (acme, blueprints) = (&world.admin, world.admin.blueprints());
    let import =
        async |sources: Vec<BlueprintSource>| blueprints.import_draft("web", sources).send().await.expect_err("it is refused");
    let told = |error: &Error| {
        let wrong = error.violations().iter().map(|wrong| (wrong.field.clone(), wrong.description.clone()));
        wrong.collect::<Vec<_>>()
    };
    let fields = |error: &Error| told(error).into_iter().map(|(field, _)| field).collect::<Vec<_>>();

    // What can be said without asking anybody.
    let odd = BlueprintSource::new("code", "shop", "a b").path("/x").directory("a/../b");
    let wrong = import(vec![web(), odd]).await;
    let expected = ["sources[1].repository", "sources[1].revision", "sources[1].path", "sources[1].directory"];
    assert_eq!(fields(&wrong), expected, "{wrong:?}");
    for count in [0, 17] {
        assert_eq!(fields(&import(vec![web(); count]).await), ["sources"]);
    }
    acme.connections().create("hook", "webhook").setting("url", "https://x.example").send().await.expect("a connection");
    let wrong = import(vec![web(), BlueprintSource::new("hook", "acme/infra", "main")]).await;
    assert_eq!(fields(&wrong), ["sources[1].connection"]);
    assert!(told(&wrong)[0].1.contains("webhook has no repositories; name a connection of github"), "{wrong:?}");
    let rival = world.tenant("rival").await;
    connect(&rival, "code", &github).await;
    for connection in ["none", "tenants/rival/connections/code"] {
        let hidden = import(vec![BlueprintSource::new(connection, "acme/infra", "main")]).await;
        assert!(hidden.is_not_found(), "{connection}: {hidden:?}");
    }
    let author = world.person("acme", "author", &["blueprint-author"]).await;
    author.blueprints().write_draft("web", []).send().await.expect("an author writes drafts");
    let etag = author.blueprints().get_draft("web").send().await.expect("a draft").etag;
    let denied = author.blueprints().import_draft("web", [web()]).etag(&etag).send().await.expect_err("over no connection");
    assert_eq!(denied.metadata("permission"), Some("integrations.connections.invoke"), "{denied:?}");
    acme.connections().disable("code").send().await.expect("disabled");
    let import = async |sources: Vec<BlueprintSource>| {
        blueprints.import_draft("web", sources).etag(&etag).send().await.expect_err("it is refused")
    };
    assert_eq!(import(vec![web()]).await.reason(), Some("CONNECTION_UNCONFIGURED"));
    acme.connections().enable("code").send().await.expect("enabled");
    assert!(github.server.requests().is_empty(), "nobody was asked: {:?}", github.server.requests());

    // What GitHub says.
    github.commit("acme/infra", "main", &[Entry::file("web/blueprint.yaml", DOCUMENT), Entry::file("other/a", "x")]);
    let unknown = import(vec![web(), BlueprintSource::new("code", "acme/infra", "mian")]).await;
    assert_eq!((unknown.reason(), unknown.metadata("source")), (Some("VENDOR_NOT_FOUND"), Some("1")), "{unknown:?}");
    assert!(unknown.message().contains("no branch, tag or commit `mian`"), "{unknown:?}");
    let unknown = import(vec![BlueprintSource::new("code", "acme/secret", "main")]).await;
    assert_eq!(unknown.reason(), Some("VENDOR_NOT_FOUND"), "{unknown:?}");
    let deep = import(vec![BlueprintSource::new("code", "acme/infra/web", "main")]).await;
    assert_eq!(fields(&deep), ["sources[0].repository"]);

    // What is in it.
    let entries = |prefix: &str, count: usize| -> Vec<Entry> {
        (0..count).map(|number| Entry::file(format!("{prefix}{number}"), "x")).collect()
    };
    let link = Entry::Link("bad/link".to_owned(), "../web".to_owned());
    let bad =
        [link, Entry::file("bad/c:d", "x"), Entry::file("bad/big", vec![b'x'; 2 << 20]), Entry::file("bad/blueprint.yaml", "x")];
    github.commit("acme/bad", "main", &bad);
    github.commit("acme/many", "main", &entries("f", 201));
    let of = |repository: &str| BlueprintSource::new("code", repository, "main");
    let wrong = told(&import(vec![web(), of("acme/bad").path("bad"), of("acme/infra").path("none")]).await);
    let expected = [
        ("sources", "2097"),
        ("sources[1]", "`link` is a link"),
        ("sources[1]", "`big` has 2097152 bytes alone"),
        ("sources[2].path", "there is no file below `none`"),
        ("sources[1]", "`c:d` has a colon"),
    ];
    for (field, why) in expected {
        assert!(wrong.iter().any(|(of, told)| of == field && told.contains(why)), "{field} {why}: {wrong:?}");
    }
    let wrong = told(&import(vec![of("acme/many"), web()]).await);
    assert_eq!(wrong, [("sources".to_owned(), "202 files; 200 at most".to_owned())]);
    let wrong = told(&import(vec![web(), web().directory("a"), of("acme/infra").path("web")]).await);
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    assert!(wrong[0].1.contains("`blueprint.yaml` is the same path as that of sources[0]"), "{wrong:?}");

    // What is not what it should be.
    let hostile = [
        Entry::file("a", "x"),
        Entry::Hostile("acme-evil/../../etc/passwd".to_owned()),
        Entry::Hostile("/etc/shadow".to_owned()),
    ];
    github.commit("acme/evil", "main", &hostile);
    let refused = import(vec![of("acme/evil").path("a")]).await;
    assert_eq!(refused.reason(), Some("VENDOR_REFUSED"), "{refused:?}");
    assert!(["../../etc/passwd`", "`/etc/shadow`"].iter().all(|path| refused.message().contains(path)), "{refused:?}");
    github.server.fail("/codeload/", Fault::Reply(Reply::text(200, vec![0; (64 << 20) + 1])));
    let refused = import(vec![web()]).await;
    assert_eq!(refused.reason(), Some("VENDOR_REFUSED"), "{refused:?}");
    assert!(refused.message().contains("67108864 bytes"), "{refused:?}");
    github.server.fail("/codeload/", Fault::Reply(Reply::text(200, "<html>Sign in</html>")));
    assert_eq!(import(vec![web()]).await.reason(), Some("VENDOR_REFUSED"));
    let draft = blueprints.get_draft("web").send().await.expect("the draft");
    assert_eq!((draft.etag.as_str(), draft.files.len()), (etag.as_str(), 0), "none of that has changed anything");

    // What passes.
    github.server.fail("/codeload/", Fault::Cut);
    github.server.fail("/commits/", Fault::status(502));
    let written = blueprints.import_draft("web", [web()]).etag(&etag).send().await.expect("at the second try");
    let etag = written.blueprint_draft.etag;
    for (name, status) in [("one", 429), ("two", 403)] {
        let busy = FakeGithub::start(Timestamp::now().as_second()).await;
        busy.commit("acme/infra", "main", &[Entry::file("web/blueprint.yaml", DOCUMENT)]);
        connect(acme, name, &busy).await;
        let slow = Reply::json(status, &serde_json::json!({ "message": "You have exceeded a secondary rate limit." }));
        busy.server.fail("/tarball/", Fault::Reply(slow.with("retry-after", 3600)));
        let source = BlueprintSource::new(name, "acme/infra", "main");
        let throttled = blueprints.import_draft("web", [source]).etag(&etag).send().await.expect_err("too many calls");
        assert_eq!(throttled.reason(), Some("VENDOR_THROTTLED"), "{throttled:?}");
        assert!(throttled.retry_after().is_some_and(|wait| wait >= Duration::from_secs(3500)), "{throttled:?}");
    }

    // As a person does it.
    github.commit("acme/modules", "v1", &[Entry::file("page.txt", "hello\n")]);
    let shell = Shell::of(&world, "admin");
    let more = "--source repository=acme/modules,revision=v1,directory=modules/pages";
    let ran =
        shell.run(&format!("blueprint import web --connection code --repository acme/infra --revision main --path web {more}"));
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let commit = &blueprints.get_draft("web").send().await.expect("the draft").sources[0].commit.clone();
    for text in [format!(".: acme/infra at {commit} (main), web\n"), "draft of web: 2 files".to_owned()] {
        assert!(ran.out.contains(&text), "{text}: {}", ran.out);
    }
}
