//! Texts that may look like options.

/// A prompt may begin with a hyphen; a word that begins with two is a slip in the name of an option.
pub(crate) fn prompt(text: &str) -> Result<String, String> {
    let is_option = text.starts_with("--") && text.len() > 2 && !text.contains(char::is_whitespace);
    match is_option {
        true => Err(format!("there is no option {text}; smelt help generate lists them all")),
        false => Ok(text.to_owned()),
    }
}
