//! No function of the product is longer than a screen.

use proc_macro2::LineColumn;
use syn::{Attribute, Block, Item, Signature, spanned::Spanned, visit::Visit};

use super::code::{self, Crates, Module};

/// Lines of code from the signature to the closing brace, without blank ones and comments.
const MOST_LINES: usize = 60;

/// The functions that are longer, with their lines.
pub(super) fn check(crates: &Crates<'_>) -> Vec<String> {
    let mut faults = Vec::new();
    for module in crates.values().flat_map(|modules| modules.values()) {
        let mut found = Functions { module, faults: &mut faults };
        found.visit_file(&module.syntax);
    }
    faults
}

struct Functions<'a> {
    module: &'a Module<'a>,
    faults: &'a mut Vec<String>,
}

impl Functions<'_> {
    fn look(&mut self, attributes: &[Attribute], signature: &Signature, block: &Block) {
        if code::is_test(attributes) {
            return;
        }
        let (from, until) = (signature.span().start(), block.span().end());
        let n_lines = n_code_lines(self.module.text, from, until);
        if n_lines > MOST_LINES {
            let (path, name) = (self.module.path, &signature.ident);
            self.faults.push(format!("{path}:{}: {name} has {n_lines} lines, at most {MOST_LINES}", from.line));
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Mod(item) if code::is_test(&item.attrs) => {}
            item => syn::visit::visit_item(self, item),
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.look(&item.attrs, &item.sig, &item.block);
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.look(&item.attrs, &item.sig, &item.block);
        syn::visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.look(&item.attrs, &item.sig, block);
        }
        syn::visit::visit_trait_item_fn(self, item);
    }
}

fn n_code_lines(text: &str, from: LineColumn, until: LineColumn) -> usize {
    let lines = text.lines().skip(from.line - 1).take(until.line + 1 - from.line);
    lines.map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::SourceFile;

    fn faults(text: String) -> Vec<String> {
        let files = [SourceFile { path: "crates/mil/src/a.rs".into(), text }];
        check(&code::read(&files).expect("code"))
    }

    #[test]
    fn only_lines_of_code_count() {
        let lines = |n: usize| "    f();\n".repeat(n);
        assert!(faults(format!("fn a() {{\n{}}}\n", lines(58))).is_empty());
        let found = faults(format!("\n// Why.\nfn a() {{\n{}}}\n", lines(59)));
        assert_eq!(found, ["crates/mil/src/a.rs:3: a has 61 lines, at most 60"]);
        assert!(faults(format!("fn a() {{\n{}\n    // Why.\n}}\n", lines(58))).is_empty());
        assert!(faults(format!("#[cfg(test)]\nmod tests {{\nfn a() {{\n{}}}\n}}\n", lines(99))).is_empty());
        assert_eq!(faults(format!("impl A {{\nfn a() {{\n{}}}\n}}\n", lines(99))).len(), 1);
    }
}
