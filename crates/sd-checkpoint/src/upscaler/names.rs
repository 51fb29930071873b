//! The namings that an ESRGAN's tensors come in.

use std::collections::BTreeMap;

/// What the network calls a tensor, and what the file does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    by_key: BTreeMap<String, String>,
}

/// Whose names they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Naming {
    /// BasicSR and Real-ESRGAN: those of the network.
    Network,
    /// ESRGAN's second version: `RRDB_trunk.0.RDB1.conv1`, `HRconv`.
    Trunk,
    /// ESRGAN's first version: `model.1.sub.0.RDB1.conv1.0`, `model.10`.
    List,
}

/// Each with a key that no other has; it is also how a prefix is found.
const NAMINGS: [(Naming, &str); 3] = [
    (Naming::Network, "body.0.rdb1.conv1.weight"),
    (Naming::Trunk, "RRDB_trunk.0.RDB1.conv1.weight"),
    (Naming::List, "model.1.sub.0.RDB1.conv1.0.weight"),
];

/// Modules of the second version and those of the network.
const TRUNK: [(&str, &str); 7] = [
    ("RRDB_trunk", "body"),
    ("trunk_conv", "conv_body"),
    ("upconv1", "conv_up1"),
    ("upconv2", "conv_up2"),
    ("upconv3", "conv_up3"),
    ("HRconv", "conv_hr"),
    ("conv_first", "conv_first"),
];

impl Names {
    /// The names of a file's tensors; none where they are not an ESRGAN's.
    pub(super) fn of(keys: &[&str]) -> Option<Self> {
        let found =
            |(naming, known): (Naming, &str)| Some((naming, keys.iter().find_map(|key| key.strip_suffix(known))?));
        // A network inside of another one has a dot before its own names.
        let (naming, prefix) =
            NAMINGS.into_iter().filter_map(found).find(|(_, prefix)| prefix.is_empty() || prefix.ends_with('.'))?;
        let own: Vec<(&str, &str)> = keys.iter().filter_map(|key| Some((*key, key.strip_prefix(prefix)?))).collect();
        let list = List::of(own.iter().map(|(_, rest)| *rest));
        let name = |rest: &str| match naming {
            Naming::Network => Some(rest.to_owned()),
            Naming::Trunk => of_trunk(rest),
            Naming::List => list.name(rest),
        };
        Some(Self { by_key: own.iter().filter_map(|(key, rest)| Some(((*key).to_owned(), name(rest)?))).collect() })
    }

    /// What the network calls a tensor of the file; none for one that it has no name for.
    pub(super) fn name_of(&self, key: &str) -> Option<String> {
        self.by_key.get(key).cloned()
    }

    /// What the file calls a tensor of the network.
    pub(super) fn key_of(&self, name: &str) -> String {
        let own = self.by_key.iter().find(|(_, own)| *own == name).map(|(key, _)| key);
        own.map_or_else(|| name.to_owned(), Clone::clone)
    }
}

fn of_trunk(key: &str) -> Option<String> {
    let (module, rest) = key.split_once('.')?;
    let name = TRUNK.iter().find(|(own, _)| *own == module).map_or(module, |(_, name)| name);
    Some(format!("{name}.{}", rest.replace(".RDB", ".rdb")))
}

/// The positions of the last layers in the list: doublings, then the two convolutions behind them.
struct List {
    behind: Vec<usize>,
}

impl List {
    fn of<'a>(keys: impl Iterator<Item = &'a str>) -> Self {
        let position = |key: &str| key.strip_prefix("model.")?.strip_suffix(".weight")?.parse::<usize>().ok();
        let mut behind: Vec<usize> = keys.filter_map(position).filter(|position| *position > 1).collect();
        behind.sort_unstable();
        Self { behind }
    }

    fn name(&self, key: &str) -> Option<String> {
        let rest = key.strip_prefix("model.")?;
        let (position, rest) = rest.split_once('.')?;
        match position.parse().ok()? {
            0 => Some(format!("conv_first.{rest}")),
            1 => {
                let rest = rest.strip_prefix("sub.")?;
                match rest.split_once(".RDB") {
                    Some((block, rest)) => Some(format!("body.{block}.rdb{}", without_list(rest))),
                    None => Some(format!("conv_body.{}", rest.split_once('.')?.1)),
                }
            }
            position => {
                let nth = self.behind.iter().position(|own| *own == position)?;
                match self.behind.len() - nth {
                    1 => Some(format!("conv_last.{rest}")),
                    2 => Some(format!("conv_hr.{rest}")),
                    _ => Some(format!("conv_up{}.{rest}", nth + 1)),
                }
            }
        }
    }
}

/// `1.conv1.0.weight` as `1.conv1.weight`: a layer is the first of a list with its activation.
fn without_list(rest: &str) -> String {
    rest.replacen(".0.", ".", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(keys: &[&str], names: &[&str]) {
        let found = Names::of(keys).unwrap();
        assert_eq!(keys.iter().filter_map(|key| found.name_of(key)).collect::<Vec<_>>(), names);
        for (key, name) in keys.iter().zip(names) {
            assert_eq!(found.key_of(name), *key);
        }
    }

    #[test]
    fn three_namings_say_the_same() {
        let names = [
            "conv_first.weight",
            "body.0.rdb1.conv1.weight",
            "body.22.rdb3.conv5.bias",
            "conv_body.bias",
            "conv_up1.weight",
            "conv_up2.weight",
            "conv_hr.weight",
            "conv_last.weight",
        ];
        check(&names, &names);
        let trunk = [
            "conv_first.weight",
            "RRDB_trunk.0.RDB1.conv1.weight",
            "RRDB_trunk.22.RDB3.conv5.bias",
            "trunk_conv.bias",
            "upconv1.weight",
            "upconv2.weight",
            "HRconv.weight",
            "conv_last.weight",
        ];
        check(&trunk, &names);
        let list = [
            "model.0.weight",
            "model.1.sub.0.RDB1.conv1.0.weight",
            "model.1.sub.22.RDB3.conv5.0.bias",
            "model.1.sub.23.bias",
            "model.3.weight",
            "model.6.weight",
            "model.8.weight",
            "model.10.weight",
        ];
        check(&list, &names);
        let inside: Vec<String> = names.iter().map(|name| format!("generator.{name}")).collect();
        check(&inside.iter().map(String::as_str).collect::<Vec<_>>(), &names);
    }

    #[test]
    fn the_list_ends_where_the_factor_says() {
        let of = |behind: &[&str]| -> Vec<String> {
            let keys: Vec<&str> = ["model.1.sub.0.RDB1.conv1.0.weight"].iter().chain(behind).copied().collect();
            let names = Names::of(&keys).unwrap();
            behind.iter().filter_map(|key| names.name_of(key)).collect()
        };
        assert_eq!(of(&["model.2.weight", "model.4.weight"]), ["conv_hr.weight", "conv_last.weight"]);
        let once = ["model.3.weight", "model.5.weight", "model.7.weight"];
        assert_eq!(of(&once), ["conv_up1.weight", "conv_hr.weight", "conv_last.weight"]);
        assert_eq!(Names::of(&["model.0.weight", "down_blocks.0.resnets.0.conv1.weight"]), None);
        assert_eq!(Names::of(&["antibody.0.rdb1.conv1.weight"]), None);
    }
}
