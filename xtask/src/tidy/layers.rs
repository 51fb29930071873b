//! Crates depend on lower layers only, and only the crates named here may know Burn or protobuf.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, MetadataCommand};

/// Where a crate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Depends on lower layers.
    Layer(u8),
    /// Used by tests only; itself depends on layer 0.
    TestKit,
    /// Developer tools: may depend on anything, and nothing depends on them.
    Tool,
}

/// Where every crate stands, by package name.
pub(super) type Places = BTreeMap<String, Place>;

/// Reads the table of `docs/architecture.md`: rows of a layer, or `dev`, and the crates in it.
/// A package that is not named as its crate stands after it: `` `mil` (package `coreml-mil`) ``.
pub(super) fn places(text: &str) -> Places {
    let mut places = Places::new();
    for line in text.lines() {
        let Some((layer, row)) = line.strip_prefix("| ").and_then(|row| row.split_once(" | ")) else { continue };
        let layer = layer.parse().map(Place::Layer);
        for name in packages(row.split(" |").next().unwrap_or_default()) {
            let place = match (&layer, name) {
                (Ok(layer), _) => *layer,
                (Err(_), "testkit") => Place::TestKit,
                (Err(_), _) => Place::Tool,
            };
            if layer.is_ok() || line.starts_with("| dev ") {
                places.insert(name.to_owned(), place);
            }
        }
    }
    places
}

/// The packages in a cell.
fn packages(cell: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let parts: Vec<&str> = cell.split('`').collect();
    for pair in parts.chunks_exact(2) {
        if pair[0].ends_with("(package ") {
            names.pop();
        }
        names.push(pair[1]);
    }
    names
}

/// Crates that only the named layered crates may use outside their tests.
const RESERVED: &[(&str, &[&str])] = &[
    ("burn", &["sd-models", "burn-mil", "sd-convert"]),
    ("burn-core", &["sd-engines", "sd-finetune"]),
    ("prost", &["coremltools-proto", "mlpackage"]),
    ("coremltools-proto", &["mlpackage"]),
    ("anyhow", &["smelt-cli"]),
    ("clap", &["smelt-cli"]),
];

/// Clients of the library, and what they may use of this workspace: what one of them needs below it, the others would need too.
const CLIENTS: &[(&str, &[&str])] = &[
    ("smelt-serve", &["smelt-diffusion", "safe-files"]),
    ("smelt-cli", &["smelt-diffusion", "smelt-serve", "safe-files"]),
];

/// A dependency as a manifest declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edge {
    from: String,
    to: String,
    is_dev: bool,
}

/// Every dependency of every workspace member, from `cargo metadata`.
pub(super) fn edges(root: &Path) -> Result<Vec<Edge>> {
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .no_deps()
        .exec()
        .context("cargo metadata failed")?;
    Ok(metadata
        .packages
        .iter()
        .flat_map(|package| {
            // A member without dependencies must be in the table too.
            let own = Edge { from: package.name.to_string(), to: String::new(), is_dev: false };
            let others = package.dependencies.iter().map(|dependency| Edge {
                from: package.name.to_string(),
                to: dependency.name.clone(),
                is_dev: dependency.kind == DependencyKind::Development,
            });
            std::iter::once(own).chain(others).collect::<Vec<_>>()
        })
        .collect())
}

/// The faults of all edges, and the crates of the table that do not exist.
pub(super) fn check(edges: &[Edge], places: &Places) -> Vec<String> {
    let gone = places.keys().filter(|name| !edges.iter().any(|edge| edge.from == **name));
    let gone = gone.map(|name| format!("docs/architecture.md: the table has {name}, and there is no such crate"));
    edges.iter().filter_map(|edge| fault(edge, places)).chain(gone).collect()
}

fn fault(edge: &Edge, places: &Places) -> Option<String> {
    let Edge { from, to, is_dev } = edge;
    let place = |name: &str| places.get(name).copied();
    let Some(from_place) = place(from) else {
        return Some(format!("crate {from} has no layer: add it to the table of docs/architecture.md"));
    };
    let reserved = RESERVED.iter().find(|(name, _)| name == to).map(|(_, users)| *users);
    if let (Some(users), Place::Layer(_), false) = (reserved, from_place, is_dev)
        && !users.contains(&from.as_str())
    {
        return Some(format!("{from} depends on {to}, which only {} may use", users.join(", ")));
    }
    let to_place = place(to)?;
    if let Some((_, uses)) = CLIENTS.iter().find(|(name, _)| name == from)
        && !is_dev
        && !uses.contains(&to.as_str())
    {
        return Some(format!(
            "{from} is a client of the library and must not depend on {to}: move what needs it there"
        ));
    }
    let is_allowed = match (from_place, to_place) {
        (_, Place::Tool) => false,
        (Place::Tool, _) => true,
        (_, Place::TestKit) => *is_dev,
        (Place::TestKit, Place::Layer(to)) => to == 0,
        // A test may bring a neighbour: the engine runs what the package reader read.
        (Place::Layer(from), Place::Layer(to)) => to < from || (*is_dev && to == from),
    };
    (!is_allowed).then(|| format!("{from} ({from_place:?}) must not depend on {to} ({to_place:?})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fault of an edge by the table as it is.
    fn fault(edge: &Edge) -> Option<String> {
        let table = std::fs::read_to_string(crate::workspace_root().join("docs/architecture.md"));
        super::fault(edge, &places(&table.expect("docs/architecture.md")))
    }

    fn edge(from: &str, to: &str) -> Edge {
        Edge { from: from.into(), to: to.into(), is_dev: false }
    }

    #[track_caller]
    fn finds(edge: &Edge, wanted: &str) {
        let fault = fault(edge).expect("a fault");
        assert!(fault.contains(wanted), "{fault}");
    }

    #[test]
    fn edges_to_lower_layers_pass() {
        for (from, to) in [("mlpackage", "coreml-mil"), ("sd-convert", "mil-engine"), ("testkit", "host-tensor")] {
            assert_eq!(fault(&edge(from, to)), None);
        }
        assert_eq!(fault(&edge("xtask", "smelt-diffusion")), None);
        assert_eq!(fault(&edge("coreml-mil", "thiserror")), None);
    }

    #[test]
    fn edges_upward_and_sideways_are_found() {
        finds(&edge("coreml-mil", "mlpackage"), "must not depend");
        finds(&edge("mil-engine", "mlpackage"), "must not depend");
        finds(&edge("testkit", "coreml-mil"), "must not depend");
        finds(&edge("smelt-diffusion", "xtask"), "must not depend");
        let dev = Edge { is_dev: true, ..edge("coreml-mil", "mil-engine") };
        finds(&dev, "must not depend");
        assert_eq!(fault(&Edge { is_dev: true, ..edge("mil-engine", "mlpackage") }), None);
    }

    #[test]
    fn clients_use_the_library_and_nothing_below_it() {
        assert_eq!(fault(&edge("smelt-cli", "smelt-diffusion")), None);
        finds(&edge("smelt-cli", "sd-convert"), "client of the library");
        assert_eq!(fault(&Edge { is_dev: true, ..edge("smelt-cli", "sd-convert") }), None);
    }

    #[test]
    fn the_test_kit_is_for_tests_only() {
        assert_eq!(fault(&Edge { is_dev: true, ..edge("host-tensor", "testkit") }), None);
        finds(&edge("mil-engine", "testkit"), "must not depend");
    }

    #[test]
    fn burn_and_protobuf_stay_where_they_belong() {
        assert_eq!(fault(&edge("burn-mil", "burn")), None);
        assert_eq!(fault(&edge("mlpackage", "prost")), None);
        finds(&edge("coreml-mil", "prost"), "only coremltools-proto, mlpackage");
        finds(&edge("mil-engine", "burn"), "only sd-models");
        finds(&edge("sd-runtime", "anyhow"), "only smelt-cli");
        finds(&edge("smelt-diffusion", "clap"), "only smelt-cli");
    }

    #[test]
    fn the_table_is_read_by_package() {
        let text = "| layer | crate | what |\n|---|---|---|\n| 0 | `a` | bytes, `x` |\n| 12 | `b` (package `core-b`), `c` | |\n\
                    | dev | `testkit`, `benches` (package `d`) | |\n| other | `e` | |\n";
        let wanted = [
            ("a", Place::Layer(0)),
            ("c", Place::Layer(12)),
            ("core-b", Place::Layer(12)),
            ("d", Place::Tool),
            ("testkit", Place::TestKit),
        ];
        assert_eq!(places(text), wanted.map(|(name, place)| (name.to_owned(), place)).into());
    }

    #[test]
    fn a_crate_of_the_table_that_is_gone_is_found() {
        let faults = check(&[edge("a", "")], &places("| 0 | `a` | |\n| 1 | `b` | |\n"));
        assert_eq!(faults, ["docs/architecture.md: the table has b, and there is no such crate"]);
    }

    #[test]
    fn a_crate_without_a_layer_is_found() {
        finds(&edge("sd-sideways", ""), "has no layer");
    }

    #[test]
    fn every_member_of_this_workspace_is_read() {
        let edges = edges(&crate::workspace_root()).expect("cargo metadata");
        for member in ["host-tensor", "xtask", "smelt-diffusion", "smelt-cli"] {
            assert!(edges.contains(&edge(member, "")), "{member}");
        }
        assert!(edges.contains(&edge("mlpackage", "coreml-mil")));
    }
}
