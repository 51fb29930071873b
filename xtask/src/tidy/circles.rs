//! Modules beside each other do not use each other, directly or by way of others.
//!
//! A module stands for all that is below it: of `crate::a::x` and `crate::b::y`, the one names the other as `a` names `b`.
//! What a module and those below it name of each other is no circle: a parent holds what its children share.
//! Names that a module re-exports count as the module's where they come from.
//! What a module `error` names is no use of it: an error holds what failed, and who failed returns it.

use std::collections::{BTreeMap, BTreeSet};

use syn::Item;

use super::code::{self, Crates, Module};

/// Modules that recurse by way of each other, by crate; what recurses is said.
const RECURSIVE: &[(&str, [&str; 2])] = &[
    // The rules of a specification read an operation by the view, and the view's defaults are the specification's.
    ("mil", ["ops::spec", "ops::view"]),
    // An operation runs blocks, which run operations.
    ("mil-engine", ["reference::control_flow", "reference::run"]),
];

type Name = Vec<String>;
type Modules<'a> = BTreeMap<Name, Module<'a>>;
/// Of two modules with one parent: which names which, and one place where it does.
type Graph = BTreeMap<Name, BTreeMap<Name, String>>;

/// Every circle, in a line with the modules in it, and a line for each way from one to another; and every recursion that
/// is none any more.
pub(super) fn check(crates: &Crates<'_>) -> Vec<String> {
    let mut faults = Vec::new();
    for (folder, modules) in crates {
        let graph = graph(modules);
        let circles = circles(&graph);
        let known: Vec<&[&str; 2]> = RECURSIVE.iter().filter(|(of, _)| of == folder).map(|(_, both)| both).collect();
        let is = |circle: &BTreeSet<Name>, both: &[&str; 2]| circle.iter().map(|name| name.join("::")).eq(*both);
        let gone = known.iter().filter(|both| !circles.iter().any(|circle| is(circle, both)));
        faults.extend(gone.map(|both| format!("crates/{folder}: {both:?} recurse no more: take them from RECURSIVE")));
        let new = circles.iter().filter(|circle| !known.iter().any(|both| is(circle, both)));
        faults.extend(new.map(|circle| fault(folder, circle, &graph)));
    }
    faults
}

fn fault(folder: &str, circle: &BTreeSet<Name>, graph: &Graph) -> String {
    let names: Vec<String> = circle.iter().map(|name| name.join("::")).collect();
    let mut fault = format!("crates/{folder}: modules use each other: {}", names.join(", "));
    for (to, place) in circle.iter().filter_map(|from| graph.get(from)).flatten() {
        if circle.contains(to) {
            fault += &format!("\n    {place}");
        }
    }
    fault
}

fn graph(modules: &Modules<'_>) -> Graph {
    let mut graph = Graph::new();
    for (from, module) in modules.iter().filter(|(name, _)| name.last().is_none_or(|last| last != "error")) {
        for path in code::named(&module.syntax) {
            let Some(to) = resolve(modules, from, &path, 0) else { continue };
            let n_shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
            // One is above the other, or they are the same.
            if n_shared < from.len() && n_shared < to.len() {
                let uses = graph.entry(from[..=n_shared].to_vec()).or_default();
                let place = || format!("{} names {} of {}", module.path, path.join("::"), to.join("::"));
                uses.entry(to[..=n_shared].to_vec()).or_insert_with(place);
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
            for next in graph.get(name).into_iter().flat_map(BTreeMap::keys) {
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
        let wanted = "crates/x: modules use each other: a, b\n    crates/x/src/a.rs names crate::b::B of b\n    \
                      crates/x/src/b.rs names super::a::g of a";
        assert_eq!(faults(&[("a", "use crate::b::B;"), ("b", "fn f() { super::a::g() }")]), [wanted]);
        let found = faults(&[("a", ""), ("a/p", "use crate::b::q;"), ("b", ""), ("b/q", "use crate::a::p;")]);
        assert!(found.len() == 1 && found[0].contains("crates/x/src/a/p.rs names crate::b::q of b::q"), "{found:?}");
        let three = [("a", "use crate::b::B;"), ("b", "use crate::c::C;"), ("c", "use crate::a::A;")];
        assert!(faults(&three)[0].starts_with("crates/x: modules use each other: a, b, c\n"));
    }

    #[test]
    fn a_name_counts_where_it_comes_from() {
        let files = [("lib", "mod a; mod b; pub use b::B;"), ("a", "use crate::B;"), ("b", "use crate::a::A;")];
        assert_eq!(faults(&files).len(), 1);
        let files = [("lib", "mod a; mod b; pub use b::B;"), ("a", "use crate::B;"), ("b", "struct B;")];
        assert!(faults(&files).is_empty());
    }

    #[test]
    fn an_error_may_hold_what_failed() {
        assert!(faults(&[("error", "use crate::b::Report;"), ("b", "use crate::error::Error;")]).is_empty());
    }

    #[test]
    fn parents_children_and_tests_are_let_pass() {
        assert!(faults(&[("a", "mod p; use p::P; struct A;"), ("a/p", "use super::A;")]).is_empty());
        assert!(faults(&[("a", "use crate::b::B;"), ("b", "#[cfg(test)] mod tests { use crate::a::A; }")]).is_empty());
        assert!(
            faults(&[("lib", "mod a; #[cfg(test)] mod b;"), ("a", "use crate::b::B;"), ("b", "use crate::a::A;")])
                .is_empty()
        );
        assert!(faults(&[("a", "use crate::b::B;"), ("b", "use std::a::A;")]).is_empty());
    }
}
