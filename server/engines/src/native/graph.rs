//! In which order effects come.

use std::collections::{BTreeMap, BTreeSet};

use crate::Action;
use crate::native::{Change, Operation, Step};

type Node<'a> = (&'a str, Operation);

/// The effects of changes, each after those it needs: things are made after what they are made from, and removed before it.
///
/// Of a thing that is replaced, whatever was made from it and goes away goes first, and the new one comes before whatever is
/// made from it.
pub(super) fn steps(changes: &BTreeMap<String, Change>) -> Vec<Step> {
    let mut graph = Graph::default();
    for change in changes.values() {
        for operation in operations(change.action) {
            graph.after.insert((change.address.as_str(), *operation), BTreeSet::new());
        }
    }
    for change in changes.values() {
        let address = change.address.as_str();
        graph.add((address, Operation::Create), (address, Operation::Delete));
        for needed in &change.depends_on {
            for (this, that) in pairs([Operation::Create, Operation::Update]) {
                graph.add((address, this), (needed, that));
            }
        }
    }
    for (needed, user) in earlier(changes) {
        graph.add((needed, Operation::Delete), (user, Operation::Delete));
    }
    for (needed, user) in earlier(changes) {
        // What no longer uses it lets go of it first. Something that is replaced cannot wait for that: its users need the new one.
        if changes.get(needed).is_some_and(|change| change.action == Action::Delete) {
            graph.add((needed, Operation::Delete), (user, Operation::Update));
        }
    }
    graph.into_steps(changes)
}

/// Effects of an action, in their order.
pub(super) fn operations(action: Action) -> &'static [Operation] {
    match action {
        Action::Create => &[Operation::Create],
        Action::Update => &[Operation::Update],
        Action::Replace => &[Operation::Delete, Operation::Create],
        Action::Delete => &[Operation::Delete],
        Action::Noop => &[],
    }
}

fn pairs(operations: [Operation; 2]) -> impl Iterator<Item = (Operation, Operation)> {
    operations.into_iter().flat_map(move |this| operations.into_iter().map(move |that| (this, that)))
}

/// Who was made from what, as of the last apply.
fn earlier(changes: &BTreeMap<String, Change>) -> impl Iterator<Item = (&str, &str)> {
    changes.values().flat_map(|change| {
        let needs = change.before.iter().flat_map(|resource| resource.depends_on.iter());
        needs.map(|needed| (needed.as_str(), change.address.as_str()))
    })
}

/// Effects and those each comes after.
#[derive(Default)]
struct Graph<'a> {
    after: BTreeMap<Node<'a>, BTreeSet<Node<'a>>>,
}

impl<'a> Graph<'a> {
    /// Puts one effect after another, if both are there. Rules are added by their weight: one that would close a circle with
    /// those before it is left out.
    fn add(&mut self, later: Node<'a>, first: Node<'a>) {
        if self.after.contains_key(&first)
            && later != first
            && !self.comes_after(first, later)
            && let Some(after) = self.after.get_mut(&later)
        {
            after.insert(first);
        }
    }

    fn comes_after(&self, later: Node<'a>, first: Node<'a>) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![later];
        while let Some(node) = open.pop() {
            if node == first {
                return true;
            }
            if seen.insert(node) {
                open.extend(self.after.get(&node).into_iter().flatten());
            }
        }
        false
    }

    fn into_steps(self, changes: &BTreeMap<String, Change>) -> Vec<Step> {
        let mut places: BTreeMap<Node<'a>, usize> = BTreeMap::new();
        let mut steps = Vec::new();
        while steps.len() < self.after.len() {
            for (node, after) in &self.after {
                if places.contains_key(node) {
                    continue;
                }
                let Some(after) = after.iter().map(|first| places.get(first).copied()).collect::<Option<BTreeSet<_>>>() else {
                    continue;
                };
                places.insert(*node, steps.len());
                let (address, operation) = *node;
                steps.push(Step {
                    step_id: changes[address].step_id.clone(),
                    address: address.to_owned(),
                    operation,
                    after: after.into_iter().collect(),
                });
            }
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use freehold_domain::runs::Reversibility;

    use super::*;
    use crate::native::Resource;

    fn change(address: &str, action: Action, before: Option<&[&str]>, after: &[&str]) -> (String, Change) {
        let owned = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let resource = before.map(|depends_on| Resource {
            address: address.to_owned(),
            kind: String::new(),
            name: address.to_owned(),
            id: String::new(),
            attributes: BTreeMap::new(),
            sensitive: Vec::new(),
            depends_on: owned(depends_on),
        });
        let change = Change {
            address: address.to_owned(),
            kind: String::new(),
            name: address.to_owned(),
            step_id: address.to_owned(),
            action,
            before: resource,
            after: BTreeMap::new(),
            sensitive: Vec::new(),
            replaced_by: Vec::new(),
            depends_on: owned(after),
            reason: String::new(),
            drifted: false,
            reversibility: Reversibility::Reversible,
        };
        (address.to_owned(), change)
    }

    fn order(changes: Vec<(String, Change)>) -> Vec<String> {
        let steps = steps(&changes.into_iter().collect());
        for (place, step) in steps.iter().enumerate() {
            assert!(step.after.iter().all(|first| *first < place), "{steps:?}");
        }
        steps.iter().map(|step| format!("{:?} {}", step.operation, step.address)).collect()
    }

    #[test]
    fn a_chain_is_replaced_from_its_end_and_made_from_its_beginning() {
        let chain = vec![
            change("a", Action::Replace, Some(&[]), &[]),
            change("b", Action::Replace, Some(&["a"]), &["a"]),
            change("c", Action::Update, Some(&["b"]), &["b"]),
        ];
        assert_eq!(order(chain), ["Delete b", "Delete a", "Create a", "Create b", "Update c"]);
    }

    #[test]
    fn what_lets_go_of_a_thing_does_so_before_it_is_removed() {
        let changes = vec![change("a", Action::Delete, Some(&[]), &[]), change("b", Action::Update, Some(&["a"]), &[])];
        assert_eq!(order(changes), ["Update b", "Delete a"]);
    }

    #[test]
    fn a_circle_between_old_and_new_needs_is_broken() {
        // `u` lets go of `old`, which was made from `base`, which is replaced, and which `u` needs: no order keeps all of it.
        let changes = vec![
            change("base", Action::Replace, Some(&[]), &[]),
            change("old", Action::Delete, Some(&["base"]), &[]),
            change("u", Action::Update, Some(&["base", "old"]), &["base"]),
        ];
        assert_eq!(order(changes), ["Delete old", "Delete base", "Create base", "Update u"]);
    }
}
