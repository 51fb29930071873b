//! Modules beside each other do not use each other, directly or by way of others.
//!
//! A module stands for all that is below it: of `crate::a::x` and `crate::b::y`, the one names the other as `a` names `b`.
//! What a module and those below it name of each other is no circle: a parent holds what its children share.
//! Names that a module re-exports count as the module's where they come from.

use std::collections::{BTreeMap, BTreeSet};

use syn::Item;

use super::code::{self, Crates, Module};

type Name = Vec<String>;
type Modules<'a> = BTreeMap<Name, Module<'a>>;
/// Of two modules with one parent: which names which.
type Graph = BTreeMap<Name, BTreeSet<Name>>;

/// Every circle, in a line with the modules in it.
pub(super) fn check(crates: &Crates<'_>) -> Vec<String> {
    let mut faults = Vec::new();
    for (folder, modules) in crates {
        for circle in circles(&graph(modules)) {
            let names: Vec<String> = circle.iter().map(|name| name.join("::")).collect();
            faults.push(format!("crates/{folder}: modules use each other: {}", names.join(", ")));
        }
    }
    faults
}

fn graph(modules: &Modules<'_>) -> Graph {
    let mut graph = Graph::new();
    for (from, module) in modules {
        for path in code::named(&module.syntax) {
            let Some(to) = resolve(modules, from, &path, 0) else { continue };
            let n_shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
            // One is above the other, or they are the same.
            if n_shared < from.len() && n_shared < to.len() {
                graph.entry(from[..=n_shared].to_vec()).or_default().insert(to[..=n_shared].to_vec());
            }
        }
    }
    graph
}

/// The module that a path leads to, re-exports followed; `None` for paths out of the crate and to names in scope.
fn resolve(modules: &Modules<'_>, from: &Name, path: &[String], depth: usize) -> Option<Name> {
    let (mut at, mut rest) = match path.split_first()? {
        (first, rest) if first == "crate" => (Vec::new(), rest),
        (first, rest) if first == "self" => (from.clone(), rest),
        (first, _) if first == "super" => (from.clone(), path),
        (first, _) if modules.contains_key(&child(from, first)) => (from.clone(), path),
        _ => return None,
    };
    while let Some((first, after)) = rest.split_first() {
        if first == "super" {
            at.pop()?;
        } else if modules.contains_key(&child(&at, first)) {
            at.push(first.clone());
        } else {
            // A name of this module, or one that it took from elsewhere.
            let origin = reexported(modules.get(&at)?, first).filter(|_| depth < 8);
            return origin.and_then(|path| resolve(modules, &at, &path, depth + 1)).or(Some(at));
        }
        rest = after;
    }
    Some(at)
}

fn child(parent: &[String], name: &str) -> Name {
    let mut child = parent.to_vec();
    child.push(name.to_owned());
    child
}

/// Where a name that the module brings by `use` comes from.
fn reexported(module: &Module<'_>, name: &str) -> Option<Vec<String>> {
    let mut origin = None;
    for item in &module.syntax.items {
        if let Item::Use(item) = item {
            code::imports(&item.tree, &mut Vec::new(), &mut |path, known| {
                if known == name {
                    origin = Some(path.to_vec());
                }
            });
        }
    }
    origin
}

/// Sets of modules each of which reaches all others of its set.
fn circles(graph: &Graph) -> Vec<BTreeSet<Name>> {
    let reached = |from: &Name| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(name) = open.pop() {
            for next in graph.get(name).into_iter().flatten() {
                if seen.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
        seen
    };
    let all: BTreeMap<&Name, BTreeSet<Name>> = graph.keys().map(|name| (name, reached(name))).collect();
    let mut found: Vec<BTreeSet<Name>> = Vec::new();
    for (name, reaches) in &all {
        let circle: BTreeSet<Name> =
            reaches.iter().filter(|other| all.get(other).is_some_and(|back| back.contains(*name))).cloned().collect();
        if circle.len() > 1 && !found.contains(&circle) {
            found.push(circle);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::SourceFile;

    #[track_caller]
    fn faults(files: &[(&str, &str)]) -> Vec<String> {
        let file = |(path, text): &(&str, &str)| SourceFile {
            path: format!("crates/x/src/{path}.rs"),
            text: (*text).to_owned(),
        };
        let files: Vec<SourceFile> = files.iter().map(file).collect();
        check(&code::read(&files).expect("code"))
    }

    #[test]
    fn neighbours_that_use_each_other_are_found_at_every_depth() {
        let wanted = ["crates/x: modules use each other: a, b"];
        assert_eq!(faults(&[("a", "use crate::b::B;"), ("b", "fn f() { super::a::g() }")]), wanted);
        assert_eq!(faults(&[("a", ""), ("a/p", "use crate::b::q;"), ("b", ""), ("b/q", "use crate::a::p;")]), wanted);
        let three = [("a", "use crate::b::X;"), ("b", "use crate::c::X;"), ("c", "use crate::a::X;")];
        assert_eq!(faults(&three), ["crates/x: modules use each other: a, b, c"]);
    }

    #[test]
    fn a_name_counts_where_it_comes_from() {
        let files = [("lib", "mod a; mod b; pub use b::B;"), ("a", "use crate::B;"), ("b", "use crate::a::A;")];
        assert_eq!(faults(&files).len(), 1);
        let files = [("lib", "mod a; mod b; pub use b::B;"), ("a", "use crate::B;"), ("b", "struct B;")];
        assert!(faults(&files).is_empty());
    }

    #[test]
    fn parents_children_and_tests_are_let_pass() {
        assert!(faults(&[("a", "mod p; use p::P; struct A;"), ("a/p", "use super::A;")]).is_empty());
        assert!(faults(&[("a", "use crate::b::B;"), ("b", "#[cfg(test)] mod tests { use crate::a::A; }")]).is_empty());
        assert!(faults(&[("a", "use crate::b::B;"), ("b", "use std::a::A;")]).is_empty());
    }
}
