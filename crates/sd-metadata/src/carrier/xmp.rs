//! Properties of XMP, by their names without prefixes.
//!
//! A property is an attribute of `rdf:Description`, or an element in it, whose text may stand in a list with languages.

use roxmltree::{Document, Node, ParsingOptions};

use super::{Carrier, Sink};

/// The most elements of a document, so that a small file does not become large in memory.
const MAX_NODES: u32 = 100_000;

/// Takes all properties of a document.
pub(super) fn read(text: &str, sink: &mut Sink) {
    let text = text.trim_matches(['\u{feff}', '\0']).trim();
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    let document = match Document::parse_with_options(text, options) {
        Ok(document) => document,
        Err(error) => return sink.fault(format!("XMP: {error}")),
    };
    for description in document.descendants().filter(|node| node.tag_name().name() == "Description") {
        for attribute in description.attributes() {
            sink.text(Carrier::Xmp, attribute.name(), attribute.value().to_owned());
        }
        for property in description.children().filter(Node::is_element) {
            sink.text(Carrier::Xmp, property.tag_name().name(), content(property));
        }
    }
}

/// The text of an element and of all in it; what only lays the document out goes.
fn content(property: Node<'_, '_>) -> String {
    let item = property.descendants().find(|node| node.tag_name().name() == "li").unwrap_or(property);
    let text: String = item.descendants().filter(Node::is_text).filter_map(|node| node.text()).collect();
    text.trim().to_owned()
}
