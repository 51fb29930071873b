//! LoRAs in a prompt, `<lora:name:weight>`, and their hashes, `name: hash, …`.

use crate::field::number;
use crate::made::{Lora, Made, Unknown};

/// The most LoRAs of a picture, and the most tags of a prompt that are read: each is compared with those before it.
const MAX_LORAS: usize = 256;

impl Made {
    /// Adds the LoRAs that the prompt names.
    pub(crate) fn take_lora_tags(&mut self) {
        let prompt = self.prompt.take().unwrap_or_default();
        tags(&prompt).into_iter().filter_map(|(_, lora)| lora).for_each(|lora| self.add_lora(lora));
        self.unknown.extend(wrong_tags(&prompt));
        self.prompt = Some(prompt).filter(|prompt| !prompt.is_empty());
    }

    /// Adds hashes to the LoRAs of their names, and those that nobody named yet.
    pub(crate) fn take_lora_hashes(&mut self, key: &str, value: &str) {
        for entry in value.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            match entry.split_once(':').map(|(name, hash)| (name.trim(), hash.trim())) {
                Some((name, hash)) if !name.is_empty() && !hash.is_empty() => {
                    self.add_lora(Lora { name: name.to_owned(), hash: Some(hash.to_owned()), ..Lora::default() });
                }
                _ => self.keep_wrong(key, entry, "no name and hash"),
            }
        }
    }

    /// Adds a LoRA, or what is new about one that is there.
    pub(crate) fn add_lora(&mut self, new: Lora) {
        let same = |lora: &&mut Lora| {
            lora.name == new.name && (lora.weight.is_none() || new.weight.is_none() || lora.weight == new.weight)
        };
        if let Some(lora) = self.loras.iter_mut().find(same) {
            lora.weight = lora.weight.or(new.weight);
            lora.text_weight = lora.text_weight.or(new.text_weight);
            lora.hash = lora.hash.take().or(new.hash);
        } else if self.loras.len() < MAX_LORAS {
            self.loras.push(new);
        } else {
            self.keep_wrong("LoRA", new.name, format!("more than {MAX_LORAS} LoRAs"));
        }
    }
}

/// The tags of a prompt that are not understood.
pub(crate) fn wrong_tags(prompt: &str) -> impl Iterator<Item = Unknown> {
    let wrong = tags(prompt).into_iter().filter(|(_, lora)| lora.is_none());
    let why = "no LoRA's name with a number for its weight";
    wrong.map(move |(tag, _)| Unknown { key: tag.to_owned(), value: String::new(), why: Some(why.to_owned()) })
}

/// The tags of a prompt as they stand, and what they say.
pub(crate) fn tags(prompt: &str) -> Vec<(&str, Option<Lora>)> {
    let begins = prompt.match_indices("<lora:").chain(prompt.match_indices("<lyco:"));
    let mut begins: Vec<usize> = begins.map(|(at, _)| at).collect();
    begins.sort_unstable();
    let mut found = Vec::new();
    let mut closed_from = 0;
    for at in begins {
        if found.len() == MAX_LORAS {
            break;
        }
        if at < closed_from {
            continue;
        }
        let Some(end) = prompt[at..].find('>') else { break };
        let tag = &prompt[at..=at + end];
        closed_from = at + tag.len();
        found.push((tag, lora(&tag["<lora:".len()..end])));
    }
    found
}

/// `name`, `name:weight`, `name:unet:text` or `name:te=0.5:unet=1`; extra parts are not understood.
fn lora(inner: &str) -> Option<Lora> {
    let mut parts = inner.split(':');
    let mut lora = Lora { name: parts.next()?.trim().to_owned(), ..Lora::default() };
    let mut n_plain = 0;
    for part in parts {
        match part.split_once('=') {
            Some(("te", weight)) => lora.text_weight = Some(number(weight).ok()?),
            Some(("unet", weight)) => lora.weight = Some(number(weight).ok()?),
            Some(_) => return None,
            None => {
                match n_plain {
                    0 => lora.weight = Some(number(part).ok()?),
                    // AUTOMATIC1111: the text encoder's stands first, the UNet's behind it.
                    1 => lora.text_weight = lora.weight.replace(number(part).ok()?),
                    _ => return None,
                }
                n_plain += 1;
            }
        }
    }
    lora.weight.get_or_insert(1.0);
    (!lora.name.is_empty()).then_some(lora)
}

/// The tag of a LoRA, where its name can stand in one.
pub(crate) fn tag(lora: &Lora) -> Option<String> {
    let sayable = !lora.name.contains([':', '<', '>', '\n', '\r']) && lora.name.trim() == lora.name;
    let weight = lora.weight.filter(|_| sayable && !lora.name.is_empty())?;
    Some(match lora.text_weight {
        Some(text) => format!("<lora:{}:{text}:{weight}>", lora.name),
        None => format!("<lora:{}:{weight}>", lora.name),
    })
}
