//! The tools that are told apart.

use serde::{Deserialize, Serialize};

/// What wrote the settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Tool {
    /// AUTOMATIC1111's web UI, or one that writes its grammar and does not name itself.
    #[default]
    Automatic1111,
    /// Forge and what came of it.
    Forge,
    /// SD.Next.
    SdNext,
    /// ComfyUI.
    ComfyUi,
    /// stable-diffusion.cpp.
    StableDiffusionCpp,
    /// Draw Things.
    DrawThings,
    /// Mochi Diffusion.
    MochiDiffusion,
    /// InvokeAI.
    InvokeAi,
    /// SwarmUI.
    SwarmUi,
    /// Fooocus.
    Fooocus,
    /// NovelAI.
    NovelAi,
    /// Smelt.
    Smelt,
}

/// Every tool that names itself, and how its versions begin, in lower case.
const NAMES: &[(Tool, &str, &[&str])] = &[
    (Tool::Forge, "Forge", &["forge", "f0.", "f1.", "f2.", "f3.", "classic", "neo", "reforge"]),
    (Tool::SdNext, "SD.Next", &["sd.next"]),
    (Tool::ComfyUi, "ComfyUI", &["comfyui"]),
    (Tool::StableDiffusionCpp, "stable-diffusion.cpp", &["stable-diffusion.cpp", "sd.cpp"]),
    (Tool::DrawThings, "Draw Things", &["draw things"]),
    (Tool::MochiDiffusion, "Mochi Diffusion", &["mochi diffusion"]),
    (Tool::InvokeAi, "InvokeAI", &["invokeai"]),
    (Tool::SwarmUi, "SwarmUI", &["swarmui"]),
    (Tool::Fooocus, "Fooocus", &["fooocus"]),
    (Tool::NovelAi, "NovelAI", &["novelai"]),
    (Tool::Smelt, "smelt", &["smelt"]),
];

impl Tool {
    /// What it calls itself.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(tool, ..)| *tool == self).map_or("AUTOMATIC1111", |(_, name, _)| name)
    }

    /// The tool that a version names.
    pub(crate) fn of_version(version: &str) -> Self {
        let version = version.to_lowercase();
        let named = |begins: &&[&str]| begins.iter().any(|begin| version.starts_with(begin));
        NAMES.iter().find(|(_, _, begins)| named(begins)).map_or(Self::Automatic1111, |(tool, ..)| *tool)
    }

    /// A version that names the tool, as settings in AUTOMATIC1111's grammar need it.
    pub(crate) fn full_version(self, version: Option<&str>) -> Option<String> {
        match version {
            Some(version) if self == Self::of_version(version) => Some(version.to_owned()),
            version if self == Self::Automatic1111 => version.map(str::to_owned),
            Some(version) => Some(format!("{} {version}", self.name())),
            None => Some(self.name().to_owned()),
        }
    }
}

impl std::fmt::Display for Tool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
