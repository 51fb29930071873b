//! Addresses: how they are spelt, whether two are of one server, and where a redirection leads.

use ureq::http::Uri;

/// Escapes what has a meaning of its own in an address; slashes stay.
pub(crate) fn escaped(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => text.push(byte.into()),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// The same where a slash belongs to a name, as in a branch's.
pub(crate) fn escaped_name(name: &str) -> String {
    escaped(name).replace('/', "%2F")
}

/// An address as a message shows it: queries hold signatures that open what they are for.
pub(crate) fn shown(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or(url)
}

/// Scheme, host and port of an address with all three in their plain forms.
fn origin(url: &str) -> Option<(String, String, u16)> {
    let uri: Uri = url.parse().ok()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    Some((scheme, uri.host()?.to_ascii_lowercase(), port))
}

/// Whether two addresses are of one server; one that cannot be read is of none.
pub(crate) fn is_same_origin(a: &str, b: &str) -> bool {
    origin(a).is_some_and(|origin_of_a| Some(origin_of_a) == origin(b))
}

/// Where a redirection from an address leads: RFC 3986, section 5.2, without dot segments, which servers resolve.
pub(crate) fn joined(from: &str, location: &str) -> Option<String> {
    let lower = location.to_ascii_lowercase();
    if lower.starts_with("http://") || lower.starts_with("https://") {
        return Some(location.to_owned());
    }
    let (scheme, rest) = from.split_once("://")?;
    if location.starts_with("//") {
        return Some(format!("{scheme}:{location}"));
    }
    let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let path = shown(path);
    match location.chars().next()? {
        '/' => Some(format!("{scheme}://{host}{location}")),
        '?' => Some(format!("{scheme}://{host}{path}{location}")),
        // Another scheme, which nothing is fetched by.
        _ if location.split(['/', '?']).next().is_some_and(|first| first.contains(':')) => None,
        _ => {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            Some(format!("{scheme}://{host}{folder}/{location}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped() {
        assert_eq!(escaped("unet/a b+ü#?.json"), "unet/a%20b%2B%C3%BC%23%3F.json");
        assert_eq!(escaped_name("refs/pr/1"), "refs%2Fpr%2F1");
    }

    #[test]
    fn servers_are_told_apart_by_scheme_host_and_port() {
        let check = |a: &str, b: &str, expected: bool| assert_eq!(is_same_origin(a, b), expected, "{a} {b}");
        check("https://hub.co/a", "https://HUB.co:443/b?c", true);
        check("https://hub.co/a", "http://hub.co/a", false);
        check("https://hub.co/a", "https://hub.co:8443/a", false);
        check("https://hub.co/a", "https://hub.co.evil.org/a", false);
        check("https://hub.co/a", "https://hub.co@evil.org/a", false);
        check("https://hub.co/a", "not an address", false);
        check("not an address", "not an address", false);
    }

    #[test]
    fn redirections_are_followed_as_they_are_written() {
        let from = "https://hub.co/a/b?c";
        for (location, to) in [
            ("https://cdn.co/x?y", Some("https://cdn.co/x?y")),
            ("//cdn.co/x", Some("https://cdn.co/x")),
            ("/x/y?z", Some("https://hub.co/x/y?z")),
            ("x", Some("https://hub.co/a/x")),
            ("?d", Some("https://hub.co/a/b?d")),
            ("file:///etc/passwd", None),
            ("", None),
        ] {
            assert_eq!(joined(from, location).as_deref(), to, "{location}");
        }
        assert_eq!(joined("https://hub.co", "x").as_deref(), Some("https://hub.co/x"));
        assert_eq!(shown("https://cdn.co/x?X-Amz-Signature=1"), "https://cdn.co/x");
    }
}
