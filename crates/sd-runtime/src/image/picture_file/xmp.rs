//! A packet of XMP that holds texts as properties.

use crate::image::PngText;

/// The namespace of properties that are ours alone; their names are the keywords of PNG's chunks.
const NAMESPACE: &str = "https://github.com/smelt-diffusion/smelt/ns/1.0/";

/// The packet of some texts; none without any.
pub(super) fn packet<'a>(texts: impl IntoIterator<Item = &'a PngText>) -> Option<String> {
    let properties: String = texts.into_iter().map(property).collect();
    (!properties.is_empty()).then(|| {
        format!(
            "<?xpacket begin=\"\u{feff}\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\
             <x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\
             <rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">\
             <rdf:Description rdf:about=\"\" xmlns:xmp=\"http://ns.adobe.com/xap/1.0/\" xmlns:smelt=\"{NAMESPACE}\">\
             {properties}</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end=\"w\"?>"
        )
    })
}

fn property(PngText { keyword, text }: &PngText) -> String {
    let name = match keyword.as_str() {
        "Software" => "xmp:CreatorTool".to_owned(),
        // Names of elements are letters here.
        keyword => format!("smelt:{}", keyword.chars().filter(char::is_ascii_alphabetic).collect::<String>()),
    };
    format!("<{name}>{}</{name}>", escaped(text))
}

/// A text as XML has it; characters that XML has not are written as JSON writes them.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\r' => escaped.push_str("&#13;"),
            '\t' | '\n' => escaped.push(char),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => escaped.push_str(&format!("\\u{:04x}", u32::from(char))),
            char => escaped.push(char),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_properties_that_xml_can_hold() {
        let texts = [PngText::new("Software", "smelt 1"), PngText::new("smelt", "{\"a\": \"<b> & \u{ffff}\"}")];
        let packet = packet(&texts).unwrap();
        assert!(packet.contains("<xmp:CreatorTool>smelt 1</xmp:CreatorTool>"), "{packet}");
        assert!(packet.contains(r#"<smelt:smelt>{"a": "&lt;b&gt; &amp; \uffff"}</smelt:smelt>"#), "{packet}");
        assert_eq!(super::packet([]), None);
    }
}
