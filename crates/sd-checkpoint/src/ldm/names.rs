//! Names of tensors in two layouts, and how a tensor of one is made of a tensor of the other.
//!
//! A network is a list of [`Module`]s, each with its name in both layouts and a table of the names below it. A list follows
//! from the network's structure; the tables are constants.

/// How a tensor in diffusers' layout is made of one of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// It is the same.
    Same,
    /// A 1×1 convolution, `[o, i, 1, 1]`, is the matrix `[o, i]`.
    Squeezed,
    /// `[i, o]` is `[o, i]`.
    Transposed,
    /// The first, second or last third of its rows.
    Third(usize),
    /// The halves of its rows change places: (shift, scale) is (scale, shift).
    HalvesSwapped,
}

/// What is called so below a module of diffusers, what it is called in the file, and how one is made of the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leaf(pub(crate) &'static str, pub(crate) &'static str, pub(crate) How);

/// A module in both layouts; without leaves, everything below it has the same names.
#[derive(Debug, Clone)]
pub(crate) struct Module {
    diffusers: String,
    file: String,
    leaves: &'static [Leaf],
}

/// Where in a file a tensor is, and how diffusers' is made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) key: String,
    pub(crate) how: How,
}

/// The names of a network.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    modules: Vec<Module>,
}

impl Names {
    /// Adds a module.
    pub(crate) fn add(
        &mut self,
        diffusers: impl Into<String>,
        file: impl Into<String>,
        leaves: &'static [Leaf],
    ) -> &mut Self {
        self.modules.push(Module { diffusers: diffusers.into(), file: file.into(), leaves });
        self
    }

    /// Where the tensor, or the module, is that diffusers calls so.
    pub(crate) fn origin(&self, diffusers: &str) -> Option<Origin> {
        self.modules.iter().find_map(|module| {
            let rest = below(diffusers, &module.diffusers)?;
            if module.leaves.is_empty() {
                return Some(Origin { key: join(&module.file, rest), how: How::Same });
            }
            let of_leaf = |Leaf(name, file, how): &Leaf| {
                let rest = below(rest, name)?;
                Some(Origin { key: join(&join(&module.file, file), rest), how: *how })
            };
            module.leaves.iter().find_map(of_leaf)
        })
    }

    /// Everything that is made of a tensor of the file, by diffusers' names.
    pub(crate) fn made_of(&self, file: &str) -> Vec<(String, How)> {
        let of_module = |module: &Module| -> Vec<(String, How)> {
            let Some(rest) = below(file, &module.file) else { return Vec::new() };
            if module.leaves.is_empty() {
                return vec![(join(&module.diffusers, rest), How::Same)];
            }
            let of_leaf =
                |Leaf(name, file, how): &Leaf| Some((join(&join(&module.diffusers, name), below(rest, file)?), *how));
            module.leaves.iter().filter_map(of_leaf).collect()
        };
        self.modules.iter().flat_map(of_module).collect()
    }
}

/// What stands below a module; nothing for the module itself.
fn below<'a>(name: &'a str, module: &str) -> Option<&'a str> {
    if module.is_empty() {
        return Some(name);
    }
    let rest = name.strip_prefix(module)?;
    if rest.is_empty() { Some("") } else { rest.strip_prefix('.') }
}

fn join(module: &str, rest: &str) -> String {
    match (module, rest) {
        ("", rest) => rest.to_owned(),
        (module, "") => module.to_owned(),
        (module, rest) => format!("{module}.{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_at_dots_in_both_directions() {
        const LEAVES: &[Leaf] = &[Leaf("to_q", "q", How::Squeezed), Leaf("to_out.0", "proj_out", How::Same)];
        let mut names = Names::default();
        names.add("mid.attentions.0", "mid.attn_1", LEAVES).add("conv", "out.2", &[]);
        let origin = |key: &str, how| Some(Origin { key: key.to_owned(), how });
        assert_eq!(names.origin("mid.attentions.0.to_q.weight"), origin("mid.attn_1.q.weight", How::Squeezed));
        assert_eq!(names.origin("mid.attentions.0.to_out.0"), origin("mid.attn_1.proj_out", How::Same));
        assert_eq!(names.origin("conv.bias"), origin("out.2.bias", How::Same));
        for unknown in ["mid.attentions.00.to_q", "mid.attentions.0.to_qk", "convolution", "mid.attentions.0.to_k"] {
            assert_eq!(names.origin(unknown), None, "{unknown}");
        }
        assert_eq!(names.made_of("mid.attn_1.q.weight"), [("mid.attentions.0.to_q.weight".to_owned(), How::Squeezed)]);
        assert_eq!(names.made_of("out.2"), [("conv".to_owned(), How::Same)]);
        assert_eq!(names.made_of("out.20"), []);
    }
}
