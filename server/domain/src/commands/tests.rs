use super::*;

const RUN: &str = "0199a0de-0000-7000-8000-000000000000";
const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn web() -> DeploymentPath {
    "shop/dev/web".parse().expect("a deployment")
}

fn decided(approve: bool, digest: Option<&str>, comment: &str) -> Command {
    let run = RunPath { deployment: web(), run: RUN.parse().expect("a UUID") };
    Command::Decide(Decide { approve, run, digest: digest.map(str::to_owned), comment: comment.to_owned() })
}

#[test]
fn commands_are_read_and_what_is_not_understood_asks_for_help() {
    let run = format!("shop/dev/web/{RUN}");
    let cases = [
        ("", Command::Help(None)),
        ("  HELP  ", Command::Help(None)),
        ("link", Command::Link),
        ("status", Command::Status(None)),
        ("Status shop/dev/web", Command::Status(Some(web()))),
        ("plan shop/dev/web", Command::Plan(web())),
        ("apply\tshop/dev/web", Command::Apply(web())),
        (&format!("approve {run}"), decided(true, None, "")),
        (&format!("approve {run} {DIGEST}"), decided(true, Some(DIGEST), "")),
        (&format!("approve {run} 0123456789ab looks right"), decided(true, Some("0123456789ab"), "looks right")),
        (&format!("reject {run} added too much"), decided(false, None, "added too much")),
        (&format!("cancel {run}"), Command::Cancel(run.parse().expect("a run"))),
        ("unlock shop/dev/web", Command::Unlock(web())),
    ];
    for (text, expected) in cases {
        assert_eq!(Command::parse(text), expected, "{text}");
    }
    for (text, why) in [
        ("destroy-everything", "`destroy-everything`"),
        ("plan", "takes one deployment"),
        ("plan shop/dev", "`shop/dev` is no deployment"),
        ("plan shop/dev/web twice", "takes one deployment"),
        ("plan shop/dev/Web", "`Web` is not an id"),
        ("approve", "takes a run"),
        ("cancel", "takes one run"),
        ("unlock shop/dev", "is no deployment"),
        ("approve shop/dev/web", "is no run"),
        ("approve shop/dev/web/7", "is no run"),
        ("approve tenants/rival/projects/shop", "is no run"),
    ] {
        let Command::Help(Some(said)) = Command::parse(text) else { panic!("{text} is understood") };
        assert!(said.contains(why), "{text}: {said}");
    }
}

#[test]
fn a_command_is_a_line_of_a_comment() {
    for (text, expected) in [
        ("/freehold plan shop/dev/web", Some(Command::Plan(web()))),
        ("Looks good.\r\n/freehold  APPLY shop/dev/web\r\nThanks", Some(Command::Apply(web()))),
        ("/freehold", Some(Command::Help(None))),
        ("/freehold link\n/freehold apply shop/dev/web", Some(Command::Link)),
        ("/freeholder plan", None),
        ("> /freehold apply shop/dev/web", None),
        ("please /freehold apply shop/dev/web", None),
        ("```\n/freehold apply shop/dev/web\n```", None),
        ("    /freehold apply shop/dev/web", None),
        ("", None),
    ] {
        assert_eq!(Command::in_comment(text), expected, "{text}");
    }
}

#[test]
fn a_button_names_run_and_plan() {
    let button = |run: &str| Button { run: run.to_owned(), digest: DIGEST.to_owned(), channel: None };
    let value = |run: &str| serde_json::to_string(&button(run)).expect("JSON");
    let right = value(&format!("shop/dev/web/{RUN}"));
    assert_eq!(Command::pressed(APPROVE, &right, ""), Some(decided(true, Some(DIGEST), "")));
    assert_eq!(Command::pressed(REJECT, &right, "too big"), Some(decided(false, Some(DIGEST), "too big")));
    assert_eq!(Command::pressed(DISCUSS, &right, ""), Some(Command::Discuss(button(&format!("shop/dev/web/{RUN}")))));
    assert_eq!(Command::pressed("somebody.else", &right, ""), None);
    assert_eq!(Command::pressed(APPROVE, "{}", ""), None);
    assert!(matches!(Command::pressed(APPROVE, &value("shop"), ""), Some(Command::Help(Some(_)))));
}

#[test]
fn the_digest_that_was_seen_is_the_one_that_is_approved() {
    let said = |digest: Option<&str>| {
        let Command::Decide(decide) = decided(true, digest, "") else { unreachable!("a decision") };
        decide.digest(DIGEST)
    };
    for same in [None, Some(DIGEST), Some("0123456789ab"), Some("sha256:0123456789ab")] {
        assert_eq!(said(same), DIGEST, "{same:?}");
    }
    for other in ["0123456789ac", "0123", "sha256:", "sha256:ffff456789ab"] {
        assert_eq!(said(Some(other)), other);
    }
}

#[test]
fn no_text_is_too_strange() {
    // Words of commands and of rubbish, in every order of three.
    let words = ["approve", "plan", "shop/dev/web", RUN, DIGEST, "/", "////", "\u{0}", "ä/ö/ü", "sha256:", "--x=y", "tenants/a"];
    let mut read = 0;
    for one in words {
        for two in words {
            for three in words {
                let text = format!("{one} {two}/{three} {three}");
                if !matches!(Command::parse(&text), Command::Help(_)) {
                    read += 1;
                }
                let _ = Command::in_comment(&format!("{two}\n/freehold {text}"));
            }
        }
    }
    assert!(read > 0, "some of it makes sense");
    assert!(matches!(Command::parse(&"approve ".repeat(100_000)), Command::Help(Some(_))));
    assert_eq!(ExternalAccount::new("T1/U1".to_owned(), "Ada\u{7}").map(|one| one.display_name), Some("Ada\u{fffd}".to_owned()));
    assert_eq!(ExternalAccount::new("T1 U1".to_owned(), ""), None);
}
