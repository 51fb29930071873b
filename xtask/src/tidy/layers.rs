//! Crates depend on lower layers only, and only the crates named here may know Burn or protobuf.

use std::path::Path;

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, MetadataCommand};

/// Where a crate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Depends on lower layers.
    Layer(u8),
    /// Used by tests only; itself depends on layer 0.
    TestKit,
    /// Developer tools: may depend on anything, and nothing depends on them.
    Tool,
}

/// The table of `docs/architecture.md`, by package name.
const PLACES: &[(&str, Place)] = &[
    ("host-tensor", Place::Layer(0)),
    ("safe-files", Place::Layer(0)),
    ("sd-spec", Place::Layer(0)),
    ("coremltools-proto", Place::Layer(0)),
    ("sd-demo-unet-a", Place::Layer(0)),
    ("sd-demo-unet-b", Place::Layer(0)),
    ("sd-demo-unet-c", Place::Layer(0)),
    ("coreml-mil", Place::Layer(1)),
    ("sd-demo", Place::Layer(1)),
    ("sd-models", Place::Layer(1)),
    ("sd-runtime", Place::Layer(1)),
    ("sd-checkpoint", Place::Layer(2)),
    ("mlpackage", Place::Layer(2)),
    ("mil-engine", Place::Layer(2)),
    ("mil-compress", Place::Layer(2)),
    ("burn-mil", Place::Layer(2)),
    ("sd-convert", Place::Layer(3)),
    ("sd-engines", Place::Layer(3)),
    ("smelt-diffusion", Place::Layer(4)),
    ("smelt-cli", Place::Layer(6)),
    ("testkit", Place::TestKit),
    ("smelt-benches", Place::Tool),
    ("xtask", Place::Tool),
];

/// Crates that only the named layered crates may use outside their tests.
const RESERVED: &[(&str, &[&str])] = &[
    ("burn", &["sd-models", "burn-mil", "sd-convert"]),
    ("burn-core", &["sd-engines"]),
    ("prost", &["coremltools-proto", "mlpackage"]),
    ("coremltools-proto", &["mlpackage"]),
    ("anyhow", &["smelt-cli"]),
    ("clap", &["smelt-cli"]),
];

/// Clients of the library, and what they may use of this workspace: what one of them needs below it, the others would need too.
const CLIENTS: &[(&str, &[&str])] = &[("smelt-cli", &["smelt-diffusion", "safe-files"])];

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

/// The faults of all edges.
pub(super) fn check(edges: &[Edge]) -> Vec<String> {
    edges.iter().filter_map(fault).collect()
}

fn place(name: &str) -> Option<Place> {
    PLACES.iter().find(|(known, _)| *known == name).map(|(_, place)| *place)
}

fn fault(edge: &Edge) -> Option<String> {
    let Edge { from, to, is_dev } = edge;
    let Some(from_place) = place(from) else {
        return Some(format!("crate {from} has no layer: add it to xtask/src/tidy/layers.rs and docs/architecture.md"));
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
