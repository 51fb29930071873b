//! What a tensor is to its module, by the end of its name.

/// What a tensor is to its module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Slot {
    Down,
    Up,
    /// The core between the two.
    Mid,
    Alpha,
    /// Lengths of rows or of inputs, as LyCORIS stores them.
    DoraScale,
    /// Lengths of rows, as PEFT stores them.
    Magnitude,
    HadaW1A,
    HadaW1B,
    HadaT1,
    HadaW2A,
    HadaW2B,
    HadaT2,
    LokrW1,
    LokrW1A,
    LokrW1B,
    LokrW2,
    LokrW2A,
    LokrW2B,
    LokrT2,
    /// All that is added to the weight.
    Diff,
    /// All that is added to the bias.
    DiffBias,
    /// What is added to the bias, in the measure of the product.
    UpBias,
}

/// How a file spells its modules and tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spelling {
    /// sd-scripts and LyCORIS: `lora_unet_down_blocks_0….lora_down.weight`.
    Kohya,
    /// PEFT, and diffusers since it uses that: `unet.down_blocks.0….lora_A.weight`.
    Peft,
    /// diffusers before: `….processor.to_q_lora.down.weight`, `….lora_linear_layer.down.weight`.
    OldDiffusers,
}

impl Spelling {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Kohya => "sd-scripts (kohya) or LyCORIS",
            Self::Peft => "diffusers (PEFT)",
            Self::OldDiffusers => "diffusers before PEFT",
        }
    }
}

/// Ends of names, what they say, and whose they are where they tell.
const ENDS: [(&str, Slot, Option<Spelling>); 38] = [
    (".lora_down.weight", Slot::Down, Some(Spelling::Kohya)),
    (".lora_up.weight", Slot::Up, Some(Spelling::Kohya)),
    (".lora_mid.weight", Slot::Mid, Some(Spelling::Kohya)),
    (".lora_up.bias", Slot::UpBias, Some(Spelling::Kohya)),
    (".lora_A.weight", Slot::Down, Some(Spelling::Peft)),
    (".lora_B.weight", Slot::Up, Some(Spelling::Peft)),
    (".lora_B.bias", Slot::UpBias, Some(Spelling::Peft)),
    (".lora_magnitude_vector", Slot::Magnitude, Some(Spelling::Peft)),
    (".lora_magnitude_vector.weight", Slot::Magnitude, Some(Spelling::Peft)),
    (".lora_linear_layer.down.weight", Slot::Down, Some(Spelling::OldDiffusers)),
    (".lora_linear_layer.up.weight", Slot::Up, Some(Spelling::OldDiffusers)),
    (".lora_linear_layer.alpha", Slot::Alpha, Some(Spelling::OldDiffusers)),
    (".lora.down.weight", Slot::Down, Some(Spelling::OldDiffusers)),
    (".lora.up.weight", Slot::Up, Some(Spelling::OldDiffusers)),
    (".lora.alpha", Slot::Alpha, Some(Spelling::OldDiffusers)),
    ("_lora.down.weight", Slot::Down, Some(Spelling::OldDiffusers)),
    ("_lora.up.weight", Slot::Up, Some(Spelling::OldDiffusers)),
    ("_lora.alpha", Slot::Alpha, Some(Spelling::OldDiffusers)),
    (".alpha", Slot::Alpha, None),
    (".dora_scale", Slot::DoraScale, None),
    (".hada_w1_a", Slot::HadaW1A, Some(Spelling::Kohya)),
    (".hada_w1_b", Slot::HadaW1B, Some(Spelling::Kohya)),
    (".hada_t1", Slot::HadaT1, Some(Spelling::Kohya)),
    (".hada_w2_a", Slot::HadaW2A, Some(Spelling::Kohya)),
    (".hada_w2_b", Slot::HadaW2B, Some(Spelling::Kohya)),
    (".hada_t2", Slot::HadaT2, Some(Spelling::Kohya)),
    (".lokr_w1", Slot::LokrW1, Some(Spelling::Kohya)),
    (".lokr_w1_a", Slot::LokrW1A, Some(Spelling::Kohya)),
    (".lokr_w1_b", Slot::LokrW1B, Some(Spelling::Kohya)),
    (".lokr_w2", Slot::LokrW2, Some(Spelling::Kohya)),
    (".lokr_w2_a", Slot::LokrW2A, Some(Spelling::Kohya)),
    (".lokr_w2_b", Slot::LokrW2B, Some(Spelling::Kohya)),
    (".lokr_t2", Slot::LokrT2, Some(Spelling::Kohya)),
    (".diff", Slot::Diff, Some(Spelling::Kohya)),
    (".diff_b", Slot::DiffBias, Some(Spelling::Kohya)),
    // Norms are not low-rank: LyCORIS adds to them as a full difference does.
    (".w_norm", Slot::Diff, Some(Spelling::Kohya)),
    (".b_norm", Slot::DiffBias, Some(Spelling::Kohya)),
    (".diff.weight", Slot::Diff, Some(Spelling::Kohya)),
];

/// PEFT's names of tensors, behind which an adapter's own name may stand.
const NAMED: [&str; 3] = [".lora_A.", ".lora_B.", ".lora_magnitude_vector."];

/// A tensor's name in parts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// The module's name.
    pub(super) module: String,
    pub(super) slot: Slot,
    pub(super) spelling: Option<Spelling>,
}

impl Key {
    /// Takes a tensor's name apart; none for names that say nothing here.
    pub(super) fn read(name: &str) -> Option<Self> {
        let plain = without_adapter(name);
        let (end, slot, spelling) = ENDS.into_iter().find(|(end, ..)| plain.ends_with(end))?;
        let module = plain.strip_suffix(end)?.to_owned();
        (!module.is_empty()).then_some(Self { module, slot, spelling })
    }

    /// Whether a tensor's name is that of a part of some adapter, known here or not.
    pub(super) fn is_of_adapter(name: &str) -> bool {
        /// Parts of adapters that are not read: OFT and BOFT, GLoRA, (IA)³.
        const OTHERS: [&str; 7] =
            [".oft_blocks", ".oft_diag", ".oft_R.", ".a1.weight", ".b1.weight", ".on_input", ".lora_embedding_A"];
        Self::read(name).is_some_and(|key| key.slot != Slot::Alpha) || OTHERS.iter().any(|part| name.contains(part))
    }
}

/// `….lora_A.default.weight` is `….lora_A.weight`.
fn without_adapter(name: &str) -> String {
    let found = NAMED.iter().find_map(|part| Some((part, name.rfind(part)?)));
    let Some((part, at)) = found else { return name.to_owned() };
    let (head, rest) = name.split_at(at + part.len());
    match rest.split_once('.') {
        Some((_, last @ ("weight" | "bias"))) => format!("{head}{last}"),
        None if rest != "weight" && rest != "bias" => head.trim_end_matches('.').to_owned(),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, module: &str, slot: Slot) {
        let key = Key::read(name).unwrap();
        assert_eq!((&*key.module, key.slot), (module, slot));
    }

    #[test]
    fn names_of_every_program_are_taken_apart() {
        check("lora_unet_mid_block_x.lora_down.weight", "lora_unet_mid_block_x", Slot::Down);
        check("lora_unet_mid_block_x.alpha", "lora_unet_mid_block_x", Slot::Alpha);
        check("unet.a.to_q.lora_A.weight", "unet.a.to_q", Slot::Down);
        check("unet.a.to_q.lora_B.default_0.weight", "unet.a.to_q", Slot::Up);
        check("unet.a.to_q.lora_magnitude_vector.default.weight", "unet.a.to_q", Slot::Magnitude);
        check("unet.a.to_q.lora_magnitude_vector.default", "unet.a.to_q", Slot::Magnitude);
        check("unet.a.to_q.lora_magnitude_vector", "unet.a.to_q", Slot::Magnitude);
        check("x.attn1.processor.to_q_lora.up.weight", "x.attn1.processor.to_q", Slot::Up);
        check("x.fc1.lora_linear_layer.down.weight", "x.fc1", Slot::Down);
        check("x.to_q.lora.up.weight", "x.to_q", Slot::Up);
        check("x.lokr_w2_b", "x", Slot::LokrW2B);
        check("x.w_norm", "x", Slot::Diff);
    }

    #[test]
    fn other_names_say_nothing() {
        for name in ["", ".alpha", "x.weight", "x.lora_A", "x.lora_A.a.b.weight", "alpha"] {
            assert_eq!(Key::read(name), None, "{name}");
        }
        assert!(Key::is_of_adapter("x.oft_blocks") && !Key::is_of_adapter("x.alpha"));
    }
}
