//! The product's code as syntax: which crates there are, their modules, and what each module names.
//!
//! Code of tests is left out, and so is what stands in macros.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use syn::{Attribute, File, Item, UseTree, visit::Visit};

use super::SourceFile;

/// A file of a crate, parsed.
pub(super) struct Module<'a> {
    pub(super) path: &'a str,
    pub(super) text: &'a str,
    pub(super) syntax: File,
}

/// The modules of every crate below `crates`: by the crate's folder, then by their path in the crate (`[]` is its root).
pub(super) type Crates<'a> = BTreeMap<&'a str, BTreeMap<Vec<String>, Module<'a>>>;

/// Parses the product's code; the test kit and code that a program wrote are not the product's.
pub(super) fn read(files: &[SourceFile]) -> Result<Crates<'_>> {
    let mut crates = Crates::new();
    for file in files {
        let Some((folder, name)) = product_file(&file.path) else { continue };
        let syntax = syn::parse_file(&file.text).with_context(|| file.path.clone())?;
        let module = Module { path: &file.path, text: &file.text, syntax };
        crates.entry(folder).or_default().insert(name, module);
    }
    crates.values_mut().for_each(leave_tests_out);
    Ok(crates)
}

/// Takes away the modules in files of their own that are declared for tests only.
fn leave_tests_out(modules: &mut BTreeMap<Vec<String>, Module<'_>>) {
    let mut tests: Vec<Vec<String>> = Vec::new();
    for (parent, module) in modules.iter() {
        for item in &module.syntax.items {
            if let Item::Mod(declared) = item
                && is_test(&declared.attrs)
            {
                tests.push([parent.as_slice(), &[declared.ident.to_string()]].concat());
            }
        }
    }
    modules.retain(|name, _| !tests.iter().any(|test| name.starts_with(test)));
}

/// The crate's folder and the module's path; `None` for files that hold no code of the product.
fn product_file(path: &str) -> Option<(&str, Vec<String>)> {
    let (folder, rest) = path.strip_prefix("crates/")?.split_once("/src/")?;
    let parts: Vec<&str> = rest.strip_suffix(".rs")?.split('/').collect();
    let is_test = parts.iter().any(|part| *part == "tests" || part.starts_with("tests_"));
    if is_test || folder == "testkit" || parts.contains(&"generated") {
        return None;
    }
    let is_root = matches!(parts[..], ["lib" | "main"]);
    let kept = if is_root || parts.last() == Some(&"mod") { parts.len() - 1 } else { parts.len() };
    Some((folder, parts[..kept].iter().map(|part| (*part).to_owned()).collect()))
}

/// Whether an item is compiled for tests only.
pub(super) fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || (attribute.path().is_ident("cfg")
                && attribute.meta.require_list().is_ok_and(|list| list.tokens.to_string() == "test"))
    })
}

/// Every path that a module names, as far as it begins with `crate`, `super` or `self`, and what its `use`s bring.
pub(super) fn named(syntax: &File) -> Vec<Vec<String>> {
    let mut paths = Paths(Vec::new());
    paths.visit_file(syntax);
    paths.0
}

struct Paths(Vec<Vec<String>>);

impl<'ast> Visit<'ast> for Paths {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test(attributes(item)) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_test(&item.attrs) {
            syn::visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.0.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        syn::visit::visit_path(self, path);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        imports(&item.tree, &mut Vec::new(), &mut |path, _| self.0.push(path.to_vec()));
    }
}

/// Calls `found` with each path that a `use` brings and the name that it has afterwards.
pub(super) fn imports(tree: &UseTree, before: &mut Vec<String>, found: &mut dyn FnMut(&[String], &str)) {
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            imports(&path.tree, before, found);
            before.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| imports(tree, before, found)),
        UseTree::Name(name) if name.ident == "self" => {
            let last = before.last().cloned().unwrap_or_default();
            found(before, &last);
        }
        UseTree::Rename(rename) if rename.ident == "self" => found(before, &rename.rename.to_string()),
        UseTree::Name(name) => ending(before, &name.ident.to_string(), &name.ident.to_string(), found),
        UseTree::Rename(rename) => ending(before, &rename.ident.to_string(), &rename.rename.to_string(), found),
        UseTree::Glob(_) => found(before, "*"),
    }
}

fn ending(before: &mut Vec<String>, last: &str, name: &str, found: &mut dyn FnMut(&[String], &str)) {
    before.push(last.to_owned());
    found(before, name);
    before.pop();
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_modules_of_their_crate() {
        for (path, wanted) in [
            ("crates/mil/src/lib.rs", Some(("mil", ""))),
            ("crates/mil/src/pass/mod.rs", Some(("mil", "pass"))),
            ("crates/mil/src/pass/fuse.rs", Some(("mil", "pass::fuse"))),
            ("crates/mil/src/text/tests/mod.rs", None),
            ("crates/mil/src/tests.rs", None),
            ("crates/testkit/src/lib.rs", None),
            ("xtask/src/main.rs", None),
            ("crates/mil/tests/x.rs", None),
        ] {
            let found = product_file(path).map(|(folder, name)| (folder, name.join("::")));
            assert_eq!(found.as_ref().map(|(folder, name)| (*folder, name.as_str())), wanted, "{path}");
        }
    }

    #[test]
    fn paths_of_code_and_imports_are_named_and_those_of_tests_are_not() {
        let text = "use crate::a::{B, self as c};\n#[cfg(test)] mod tests { use crate::d::E; }\n\
                    #[test] fn t() { crate::f::g(); }\nfn h(x: super::i::J) { self::k::l(x) }";
        let found: Vec<String> = named(&syn::parse_file(text).expect("code")).iter().map(|p| p.join("::")).collect();
        for wanted in ["crate::a::B", "crate::a", "super::i::J", "self::k::l"] {
            assert!(found.iter().any(|path| path == wanted), "{wanted}: {found:?}");
        }
        assert!(!found.iter().any(|path| path.contains("d::E") || path.contains("f::g")), "{found:?}");
    }
}
