//! Which resource needs which, and an order in which they can be made.

use std::collections::{BTreeMap, BTreeSet};

/// Dependencies between the resources of a blueprint, by name. Never cyclic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    edges: BTreeMap<String, BTreeSet<String>>,
    order: Vec<String>,
}

impl Graph {
    /// Builds a graph from each resource and what it needs. What is needed but is no resource itself is left out.
    ///
    /// # Errors
    /// One cycle for each knot of resources that need each other: every name in it, beginning with the first by name.
    pub fn new(mut edges: BTreeMap<String, BTreeSet<String>>) -> Result<Self, Vec<Vec<String>>> {
        let known: BTreeSet<String> = edges.keys().cloned().collect();
        edges.values_mut().for_each(|needs| needs.retain(|name| known.contains(name)));
        let mut waiting: BTreeMap<&str, usize> = edges.iter().map(|(name, needs)| (name.as_str(), needs.len())).collect();
        let mut users: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, needs) in &edges {
            needs.iter().for_each(|needed| users.entry(needed).or_default().push(name));
        }
        let mut ready: BTreeSet<&str> = waiting.iter().filter(|(_, needs)| **needs == 0).map(|(name, _)| *name).collect();
        let mut order = Vec::new();
        while let Some(name) = ready.pop_first() {
            order.push(name.to_owned());
            waiting.remove(name);
            for user in users.get(name).into_iter().flatten() {
                if let Some(left) = waiting.get_mut(user) {
                    *left -= 1;
                    if *left == 0 {
                        ready.insert(user);
                    }
                }
            }
        }
        if waiting.is_empty() {
            return Ok(Self { order, edges });
        }
        Err(cycles(&edges, waiting.into_keys().collect()))
    }

    /// What a resource needs, by name.
    pub fn needs(&self, name: &str) -> impl Iterator<Item = &str> {
        self.edges.get(name).into_iter().flatten().map(String::as_str)
    }

    /// What needs a resource, by name.
    pub fn users(&self, name: &str) -> impl Iterator<Item = &str> {
        self.edges.iter().filter(move |(_, needs)| needs.contains(name)).map(|(user, _)| user.as_str())
    }

    /// Each resource after all that it needs; by name where that leaves a choice. Backwards for a removal.
    pub fn order(&self) -> &[String] {
        &self.order
    }

    /// Each resource with what it needs, by name.
    pub fn edges(&self) -> &BTreeMap<String, BTreeSet<String>> {
        &self.edges
    }
}

/// A cycle out of each knot. `stuck` are the resources in a cycle or behind one; each of them needs another of them.
fn cycles(edges: &BTreeMap<String, BTreeSet<String>>, stuck: BTreeSet<&str>) -> Vec<Vec<String>> {
    let mut cycles: Vec<Vec<String>> = Vec::new();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for start in &stuck {
        // Following what is needed always ends in a cycle, or where another walk has been.
        let mut path: Vec<&str> = Vec::new();
        let mut at = *start;
        while seen.insert(at) {
            path.push(at);
            let Some(next) = edges[at].iter().find(|name| stuck.contains(name.as_str())) else { break };
            at = next;
        }
        if let Some(begin) = path.iter().position(|name| *name == at) {
            let mut cycle = path.split_off(begin);
            let first = cycle.iter().enumerate().min_by_key(|(_, name)| **name).map_or(0, |(index, _)| index);
            cycle.rotate_left(first);
            cycles.push(cycle.into_iter().map(str::to_owned).collect());
        }
    }
    cycles
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn edges(list: &[(&str, &[&str])]) -> BTreeMap<String, BTreeSet<String>> {
        list.iter().map(|(name, needs)| ((*name).to_owned(), needs.iter().map(|n| (*n).to_owned()).collect())).collect()
    }

    #[test]
    fn the_order_is_by_need_and_then_by_name() {
        let graph =
            Graph::new(edges(&[("web", &["net", "db"]), ("db", &["net"]), ("net", &[]), ("bin", &[])])).expect("no cycle");
        assert_eq!(graph.order(), ["bin", "net", "db", "web"]);
        assert_eq!(graph.needs("web").collect::<Vec<_>>(), ["db", "net"]);
        assert_eq!(graph.users("net").collect::<Vec<_>>(), ["db", "web"]);
    }

    #[test]
    fn each_knot_gives_one_cycle() {
        let knots = edges(&[("a", &["c"]), ("b", &["a"]), ("c", &["b"]), ("d", &["d"]), ("e", &["a"]), ("f", &[])]);
        let cycles = Graph::new(knots).expect_err("two knots");
        assert_eq!(cycles, [vec!["a", "c", "b"], vec!["d"]]);
    }

    proptest! {
        #[test]
        fn an_order_keeps_every_need_and_a_cycle_is_one(pairs in proptest::collection::vec((0_u8..12, 0_u8..12), 0..30)) {
            let mut edges: BTreeMap<String, BTreeSet<String>> = (0..12).map(|n| (format!("r{n}"), BTreeSet::new())).collect();
            for (user, needed) in pairs {
                edges.entry(format!("r{user}")).or_default().insert(format!("r{needed}"));
            }
            match Graph::new(edges.clone()) {
                Ok(graph) => {
                    let place = |name: &str| graph.order().iter().position(|other| other == name);
                    for (user, needs) in &edges {
                        for needed in needs {
                            prop_assert!(place(needed) < place(user));
                        }
                    }
                }
                Err(cycles) => {
                    prop_assert!(!cycles.is_empty());
                    for cycle in cycles {
                        for (at, name) in cycle.iter().enumerate() {
                            prop_assert!(edges[name].contains(&cycle[(at + 1) % cycle.len()]));
                        }
                    }
                }
            }
        }
    }
}
