//! Networks that a prompt of AUTOMATIC1111's names: `<lora:name:0.8>`.
//!
//! They say which weights a model has and are no part of the text: they are taken out of it before it is read.
// Source of the rules: modules/extra_networks.py of AUTOMATIC1111's web UI 1.10, and its extension for LoRAs.

use super::words::is_of_word;
use crate::error::{Result, RuntimeError};

/// A network that a prompt names.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedNetwork {
    /// What it is: `lora`, `lyco` or `hypernet`.
    pub kind: String,
    /// Its name, which is that of its file without what follows the last dot.
    pub name: String,
    /// Its weight in the text encoders, and in the UNet.
    pub weights: [f64; 2],
}

/// A place in a prompt that names a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkTag<'t> {
    /// The text before it.
    pub before: &'t str,
    /// The place itself: `<kind:arguments>`.
    pub tag: &'t str,
    /// The text behind it.
    pub behind: &'t str,
}

impl<'t> NetworkTag<'t> {
    /// The first one in a text; other brackets are text.
    #[must_use]
    pub fn first_in(text: &'t str) -> Option<Self> {
        let end =
            |at: usize| bracket(&text[at..]).map(|(kind, arguments)| at + kind.len() + arguments.len() + "<:>".len());
        let (at, end) = text.match_indices('<').find_map(|(at, _)| Some((at, end(at)?)))?;
        Some(Self { before: &text[..at], tag: &text[at..end], behind: &text[end..] })
    }

    /// The network that it names.
    ///
    /// # Errors
    /// [`RuntimeError::Prompt`] for one without a name, with a weight that is no number, or of a kind that nobody knows.
    pub fn network(&self) -> Result<NamedNetwork> {
        let (kind, arguments) = bracket(self.tag).unwrap_or_default();
        network(kind, arguments)
    }
}

/// A text without the networks that it names, and these.
///
/// # Errors
/// As [`NetworkTag::network`].
pub fn take_networks(prompt: &str) -> Result<(String, Vec<NamedNetwork>)> {
    let (mut text, mut networks, mut rest) = (String::new(), Vec::new(), prompt);
    while let Some(found) = NetworkTag::first_in(rest) {
        text.push_str(found.before);
        networks.push(found.network()?);
        rest = found.behind;
    }
    text.push_str(rest);
    Ok((text, networks))
}

/// The kind and the arguments of the `<kind:arguments>` with which a text begins.
fn bracket(text: &str) -> Option<(&str, &str)> {
    let (inside, _) = text.strip_prefix('<')?.split_once('>')?;
    let (kind, arguments) = inside.split_once(':')?;
    let is_word = !kind.is_empty() && kind.chars().all(is_of_word);
    (is_word && !arguments.is_empty()).then_some((kind, arguments))
}

fn network(kind: &str, arguments: &str) -> Result<NamedNetwork> {
    let whole = || format!("<{kind}:{arguments}>");
    let fail = |reason: String| Err(RuntimeError::Prompt(format!("{}: {reason}", whole())));
    if !["lora", "lyco"].contains(&kind) {
        return fail(format!(
            "networks of the kind {kind:?} are not known, only lora; take it out, or read prompts as text with --emphasis \
             plain"
        ));
    }
    let mut arguments = arguments.split(':');
    let name = arguments.next().unwrap_or_default().trim();
    if name.is_empty() {
        return fail("it has no name; write <lora:name:0.8>".into());
    }
    let (mut plain, mut named) = (Vec::new(), [None, None]);
    for argument in arguments {
        let (place, number) = match argument.split_once('=') {
            Some(("te", number)) => (Some(0), number),
            Some(("unet", number)) => (Some(1), number),
            Some((key, _)) => return fail(format!("{key} is not known; te and unet are, for weights")),
            None => (None, argument),
        };
        let Some(weight) = number.trim().parse::<f64>().ok().filter(|weight| weight.is_finite()) else {
            return fail(format!("{number:?} is no number; write <lora:name:0.8>"));
        };
        match place {
            Some(place) => named[place] = Some(weight),
            None => plain.push(weight),
        }
    }
    if plain.len() > 2 {
        return fail("it has more than two weights, of the text encoders and of the UNet".into());
    }
    // The first weight is the text encoders', and the UNet's too where it has none of its own.
    let text = named[0].or(plain.first().copied()).unwrap_or(1.0);
    let unet = named[1].or(plain.get(1).copied()).unwrap_or(text);
    Ok(NamedNetwork { kind: kind.to_owned(), name: name.to_owned(), weights: [text, unet] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_taken_out_of_the_text() {
        let (text, networks) = take_networks("a fox<lora:pixel art:0.8>, <lora:b> x").unwrap();
        assert_eq!(text, "a fox,  x");
        let of = |network: &NamedNetwork| (network.name.clone(), network.weights);
        assert_eq!(
            networks.iter().map(of).collect::<Vec<_>>(),
            [("pixel art".into(), [0.8, 0.8]), ("b".into(), [1.0, 1.0])]
        );
        let weights = |prompt: &str| take_networks(prompt).unwrap().1[0].weights;
        assert_eq!(weights("<lora:x:0.5:1.5>"), [0.5, 1.5]);
        assert_eq!(weights("<lora:x:te=0:unet=2>"), [0.0, 2.0]);
        assert_eq!(weights("<lora:x:0.5:unet=2>"), [0.5, 2.0]);
    }

    #[test]
    fn other_brackets_are_text() {
        for text in ["a < b > c", "<>", "<lora>", "<lora:", "a <3", "<a b:c>", "<:x>"] {
            assert_eq!(take_networks(text).unwrap(), (text.to_owned(), vec![]), "{text}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for (prompt, fact) in [
            ("<hypernet:x:1>", "hypernet"),
            ("<lora::1>", "no name"),
            ("<lora:x:strong>", "no number"),
            ("<lora:x:1:2:3>", "more than two"),
            ("<lora:x:dyn=4>", "dyn is not known"),
        ] {
            let error = take_networks(prompt).unwrap_err().to_string();
            assert!(error.contains(fact), "{prompt}: {error}");
        }
    }
}
