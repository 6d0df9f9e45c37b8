//! A plan, or drift, as people know it from Terraform.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use freehold::{AttributeChange, ChangeAction, OutputChange, PlanSummary, ResourceChange, Reversibility, RunPlan};
use serde_json::Value;

use crate::{show::short, table::clean};

/// What would be done, resource by resource, and the numbers; with colours, which the terminal decides about.
pub(crate) fn plan(plan: &RunPlan) -> String {
    let mut out = String::new();
    let drifted: Vec<_> = plan.changes.iter().filter(|change| change.drifted).collect();
    if !drifted.is_empty() {
        out.push_str("Changed outside of Freehold:\n\n");
        for change in drifted {
            let reason = change.reason.as_ref().map(|reason| format!(": {}", clean(reason))).unwrap_or_default();
            let _ = writeln!(out, "  {} {}{reason}", paint("~", yellow()), clean(&change.address));
        }
        out.push('\n');
    }
    for dependency in plan.dependencies.iter().filter(|dependency| !dependency.bindings.is_empty()) {
        let revision = dependency.revision.map(|revision| format!(" (revision {revision})")).unwrap_or_default();
        let _ = writeln!(out, "With outputs of {}{revision}.", clean(&short(&dependency.deployment)));
    }
    let changes: Vec<_> = plan.changes.iter().filter(|change| symbol(change.action).is_some()).collect();
    if changes.is_empty() && plan.outputs.iter().all(|output| output.action == ChangeAction::Noop) {
        out.push_str("No changes. What is there is as it should be.\n");
        return out;
    }
    if !changes.is_empty() {
        out.push_str("Freehold will do this:\n\n");
    }
    for change in changes {
        resource(change, symbol(change.action), &mut out);
    }
    outputs(&plan.outputs, &mut out);
    let _ = writeln!(out, "{}", paint(&plan.summary(), Style::new().bold()));
    if let Some(warning) = plan.summary.as_ref().and_then(undoing) {
        let _ = writeln!(out, "{}", paint(&warning, red()));
    }
    out
}

/// What of a plan cannot be undone; nothing when all of it can.
fn undoing(numbers: &PlanSummary) -> Option<String> {
    let parts = [
        (numbers.irreversible, "cannot be undone"),
        (numbers.reversible_with_data_loss, "can be undone but for data that is lost"),
        (numbers.unknown_reversibility, "may not be undoable, which the engine cannot tell"),
    ];
    let said: Vec<_> = parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    (!said.is_empty()).then(|| format!("Of these changes, {}.", said.join(", ")))
}

/// What a look at reality found: from what was made to what is there.
pub(crate) fn drift(found: &RunPlan) -> String {
    let drifted: Vec<_> = found.changes.iter().filter(|change| change.drifted).collect();
    if drifted.is_empty() {
        return "No drift. Everything is as it was made.\n".to_owned();
    }
    let mut out = "Changed outside of Freehold:\n\n".to_owned();
    for change in &drifted {
        let words = match change.action {
            ChangeAction::Create => Some(("+", green(), "is new")),
            ChangeAction::Delete => Some(("-", red(), "is gone")),
            _ => Some(("~", yellow(), "is not as it was made")),
        };
        resource(change, words, &mut out);
    }
    let resources = if drifted.len() == 1 { "1 resource".to_owned() } else { format!("{} resources", drifted.len()) };
    let _ = writeln!(out, "{}", paint(&format!("Drift: {resources}. An apply makes it as it should be."), Style::new().bold()));
    out
}

/// Sign, colour and words of what happens to a resource.
type Symbol = (&'static str, Style, &'static str);

fn resource(change: &ResourceChange, symbol: Option<Symbol>, out: &mut String) {
    let Some((mark, style, words)) = symbol else { return };
    let address = clean(&change.address);
    let reason =
        change.reason.as_ref().filter(|_| !change.drifted).map(|reason| format!(" ({})", clean(reason))).unwrap_or_default();
    let undo = match change.reversibility.filter(|_| !change.drifted || change.action != ChangeAction::Noop) {
        Some(Reversibility::Irreversible) => ", which cannot be undone",
        Some(Reversibility::ReversibleWithDataLoss) => ", which loses data",
        _ => "",
    };
    let _ = writeln!(out, "  {}", paint(&format!("# {address} {words}{undo}{reason}"), Style::new().bold()));
    let _ = writeln!(out, "{} {address}", paint(&format!("{mark:>3}"), style));
    let shown: Vec<_> =
        change.attributes.iter().filter_map(|attribute| Some((attribute, attribute_mark(change.action, attribute)?))).collect();
    let width = shown.iter().map(|(attribute, _)| attribute.path.chars().count()).max().unwrap_or(0);
    for (attribute, mark) in shown {
        let path = clean(&attribute.path);
        let gap = " ".repeat(width - path.chars().count());
        let forces = if attribute.forces_replacement { paint(" # forces replacement", red()) } else { String::new() };
        let _ = writeln!(out, "      {} {path}{gap} = {}{forces}", paint(mark.0, mark.1), values(change.action, attribute));
    }
    out.push('\n');
}

/// What is done; nothing for what is left alone.
fn symbol(action: ChangeAction) -> Option<Symbol> {
    match action {
        ChangeAction::Create => Some(("+", green(), "will be created")),
        ChangeAction::Update => Some(("~", yellow(), "will be updated in place")),
        ChangeAction::Replace => Some(("-/+", red(), "must be replaced")),
        ChangeAction::Delete => Some(("-", red(), "will be destroyed")),
        ChangeAction::Noop => None,
        _ => Some(("?", Style::new(), "will be changed in a way that this version has no word for; update freehold")),
    }
}

/// Sign and colour of one attribute; nothing when it stays as it is.
fn attribute_mark(action: ChangeAction, attribute: &AttributeChange) -> Option<(&'static str, Style)> {
    let stays = attribute.before == attribute.after && !attribute.unknown_after && !attribute.sensitive;
    match action {
        ChangeAction::Create => Some(("+", green())),
        ChangeAction::Delete => Some(("-", red())),
        _ if stays => None,
        _ if attribute.sensitive => Some(("~", yellow())),
        _ if attribute.before.is_none() => Some(("+", green())),
        _ if attribute.after.is_none() && !attribute.unknown_after => Some(("-", red())),
        _ => Some(("~", yellow())),
    }
}

fn values(action: ChangeAction, attribute: &AttributeChange) -> String {
    if attribute.sensitive {
        return "(sensitive)".to_owned();
    }
    let value = |it: Option<&Value>| value(it, 8);
    let after = || if attribute.unknown_after { "(known after apply)".to_owned() } else { value(attribute.after.as_ref()) };
    match (&attribute.before, action) {
        (_, ChangeAction::Create) | (None, _) => after(),
        (before, ChangeAction::Delete) => format!("{} -> null", value(before.as_ref())),
        (before, _) => format!("{} -> {}", value(before.as_ref()), after()),
    }
}

/// A value as JSON; a text of several lines as they are, below the line it belongs to.
fn value(value: Option<&Value>, indent: usize) -> String {
    match value {
        None => "null".to_owned(),
        Some(Value::String(text)) if text.trim_end_matches('\n').contains('\n') => {
            let gap = " ".repeat(indent);
            let lines: String = text.trim_end_matches('\n').split('\n').map(|line| format!("{gap}  {}\n", clean(line))).collect();
            format!("<<END\n{lines}{gap}END")
        }
        Some(value) => value.to_string(),
    }
}

fn outputs(outputs: &[OutputChange], out: &mut String) {
    let changed: Vec<_> = outputs.iter().filter(|output| output.action != ChangeAction::Noop).collect();
    if changed.is_empty() {
        return;
    }
    out.push_str("Outputs:\n\n");
    let width = changed.iter().map(|output| output.name.chars().count()).max().unwrap_or(0);
    let value = |it: Option<&Value>| value(it, 4);
    for output in changed {
        let mark = match output.action {
            ChangeAction::Create => paint("+", green()),
            ChangeAction::Delete => paint("-", red()),
            _ => paint("~", yellow()),
        };
        let name = clean(&output.name);
        let after = if output.unknown_after { "(known after apply)".to_owned() } else { value(output.after.as_ref()) };
        let shown = match output.action {
            _ if output.sensitive => "(sensitive)".to_owned(),
            ChangeAction::Create => after,
            _ => format!("{} -> {after}", value(output.before.as_ref())),
        };
        let _ = writeln!(out, "  {mark} {name}{} = {shown}", " ".repeat(width - name.chars().count()));
    }
    out.push('\n');
}

fn paint(text: &str, style: Style) -> String {
    format!("{}{text}{}", style.render(), style.render_reset())
}

fn green() -> Style {
    AnsiColor::Green.on_default()
}

fn yellow() -> Style {
    AnsiColor::Yellow.on_default()
}

fn red() -> Style {
    AnsiColor::Red.on_default()
}

#[cfg(test)]
mod tests {
    use freehold::{Bytes, Client, Stub, raw::proto::deployments::v1 as pb};
    use futures::{FutureExt as _, future::BoxFuture};
    use prost::Message as _;

    use super::*;

    struct Answer(pb::RunPlan);

    impl Stub for Answer {
        fn call<'a>(&'a self, _: &'a str, _: Bytes) -> BoxFuture<'a, freehold::Result<Bytes>> {
            let answer = pb::GetRunPlanResponse { run_plan: Some(self.0.clone()) };
            async move { Ok(answer.encode_to_vec().into()) }.boxed()
        }
    }

    /// As the SDK reads it from a server.
    async fn read(wire: pb::RunPlan) -> RunPlan {
        Client::from_stub(Answer(wire), "acme").runs().get_plan("shop/dev/web/1").send().await.expect("a plan")
    }

    /// Without colours.
    async fn shown(wire: pb::RunPlan) -> String {
        anstream::adapter::strip_str(&plan(&read(wire).await)).to_string()
    }

    fn attribute(path: &str, before: &str, after: &str) -> pb::AttributeChange {
        pb::AttributeChange { path: path.into(), before: before.into(), after: after.into(), ..Default::default() }
    }

    fn change(address: &str, action: pb::ChangeAction, attributes: Vec<pb::AttributeChange>) -> pb::ResourceChange {
        pb::ResourceChange { address: address.into(), action: action.into(), attributes, ..Default::default() }
    }

    fn output(name: &str, action: pb::ChangeAction) -> pb::OutputChange {
        pb::OutputChange { name: name.into(), action: action.into(), ..Default::default() }
    }

    #[tokio::test]
    async fn every_kind_of_change_is_shown_as_terraform_shows_it() {
        let wire = pb::RunPlan {
            changes: vec![
                change(
                    "file.motd",
                    pb::ChangeAction::Create,
                    vec![
                        attribute("content", "", "\"hello \\\"world\\\"\""),
                        pb::AttributeChange { unknown_after: true, ..attribute("id", "", "") },
                        attribute("key", "", "\"BEGIN\\n  END\\n\""),
                        pb::AttributeChange { sensitive: true, ..attribute("password", "", "") },
                    ],
                ),
                change(
                    "file.page",
                    pb::ChangeAction::Update,
                    vec![
                        attribute("mode", "\"0644\"", "\"0600\""),
                        attribute("path", "\"/a\"", "\"/a\""),
                        attribute("tags", "", "[\"x\"]"),
                        attribute("ttl", "60", ""),
                        pb::AttributeChange { unknown_after: true, ..attribute("digest", "\"77\"", "") },
                        pb::AttributeChange { sensitive: true, ..attribute("token", "", "") },
                    ],
                ),
                pb::ResourceChange {
                    reason: "the path cannot be changed".into(),
                    ..change(
                        "file.moved",
                        pb::ChangeAction::Replace,
                        vec![pb::AttributeChange { forces_replacement: true, ..attribute("path", "\"/a\"", "\"/b\"") }],
                    )
                },
                pb::ResourceChange {
                    reversibility: pb::Reversibility::Irreversible.into(),
                    ..change("file.old", pb::ChangeAction::Delete, vec![attribute("path", "\"/old\"", "")])
                },
                change("file.same", pb::ChangeAction::Noop, vec![attribute("path", "\"/s\"", "\"/s\"")]),
            ],
            outputs: vec![
                pb::OutputChange { unknown_after: true, ..output("url", pb::ChangeAction::Create) },
                pb::OutputChange { before: "1".into(), after: "2".into(), ..output("size", pb::ChangeAction::Update) },
                pb::OutputChange { before: "1".into(), after: "1".into(), ..output("same", pb::ChangeAction::Noop) },
                pb::OutputChange { sensitive: true, ..output("key", pb::ChangeAction::Update) },
                pb::OutputChange { sensitive: true, ..output("pin", pb::ChangeAction::Noop) },
            ],
            summary: Some(pb::PlanSummary {
                create: 1,
                update: 1,
                replace: 1,
                delete: 1,
                unchanged: 1,
                irreversible: 2,
                ..Default::default()
            }),
            ..Default::default()
        };
        assert_eq!(
            shown(wire).await,
            r#"Freehold will do this:

  # file.motd will be created
  + file.motd
      + content  = "hello \"world\""
      + id       = (known after apply)
      + key      = <<END
          BEGIN
            END
        END
      + password = (sensitive)

  # file.page will be updated in place
  ~ file.page
      ~ mode   = "0644" -> "0600"
      + tags   = ["x"]
      - ttl    = 60 -> null
      ~ digest = "77" -> (known after apply)
      ~ token  = (sensitive)

  # file.moved must be replaced (the path cannot be changed)
-/+ file.moved
      ~ path = "/a" -> "/b" # forces replacement

  # file.old will be destroyed, which cannot be undone
  - file.old
      - path = "/old" -> null

Outputs:

  + url  = (known after apply)
  ~ size = 1 -> 2
  ~ key  = (sensitive)

Plan: 2 to create, 1 to change, 2 to destroy.
Of these changes, 2 cannot be undone.
"#
        );
    }

    #[tokio::test]
    async fn a_plan_without_changes_says_so() {
        let wire = pb::RunPlan { changes: vec![change("file.same", pb::ChangeAction::Noop, vec![])], ..Default::default() };
        assert_eq!(shown(wire).await, "No changes. What is there is as it should be.\n");
    }

    #[tokio::test]
    async fn drift_comes_first() {
        let drifted = pb::ResourceChange {
            drifted: true,
            reason: "content is another".into(),
            ..change("file.motd", pb::ChangeAction::Noop, vec![])
        };
        let wire = pb::RunPlan { changes: vec![drifted], ..Default::default() };
        assert_eq!(
            shown(wire).await,
            "Changed outside of Freehold:\n\n  ~ file.motd: content is another\n\nNo changes. What is there is as it should be.\n"
        );
    }

    #[tokio::test]
    async fn a_look_at_reality_is_told_as_what_happened_and_not_as_what_will() {
        let wire = pb::RunPlan {
            changes: vec![
                pb::ResourceChange {
                    drifted: true,
                    ..change("file.motd", pb::ChangeAction::Update, vec![attribute("content", "\"a\"", "\"b\"")])
                },
                pb::ResourceChange {
                    drifted: true,
                    ..change("file.old", pb::ChangeAction::Delete, vec![attribute("path", "\"/old\"", "")])
                },
                change("file.same", pb::ChangeAction::Noop, vec![]),
            ],
            ..Default::default()
        };
        let shown = anstream::adapter::strip_str(&drift(&read(wire).await)).to_string();
        assert_eq!(
            shown,
            r#"Changed outside of Freehold:

  # file.motd is not as it was made
  ~ file.motd
      ~ content = "a" -> "b"

  # file.old is gone
  - file.old
      - path = "/old" -> null

Drift: 2 resources. An apply makes it as it should be.
"#
        );
        assert_eq!(drift(&read(pb::RunPlan::default()).await), "No drift. Everything is as it was made.\n");
    }
}
