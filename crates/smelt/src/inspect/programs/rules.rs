//! What programs for Apple's systems look for in a folder of models: data only.
//!
//! ml-stable-diffusion 1.1.1 (`+Resources.swift` of its three pipelines), Mochi Diffusion 6 (`SDModel.swift`), the Diffusers
//! app (`PipelineLoader.swift`, which gives its folders to the Swift package).

use sd_spec::{Bundled, Family, Role, bundle};

use Item::{Any, Chunk, File, Model};

/// A program that reads such folders.
#[derive(Debug)]
pub(super) struct Program {
    /// What it is called.
    pub(super) name: &'static str,
    /// What it reads, by family.
    pub(super) layouts: &'static [Layout],
    /// Models whose `metadata.json` it reads, of which the first that is there counts; empty where it reads none.
    pub(super) reads_metadata_of: &'static [Item],
    /// What whoever uses it must know, whatever the folder holds.
    pub(super) note: Option<&'static str>,
    /// The same where the folder has ControlNets.
    pub(super) controlnets_note: Option<&'static str>,
    /// The same where its only UNet is one for ControlNets.
    pub(super) only_guided_note: Option<&'static str>,
}

/// What a program reads for models of some families.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) families: &'static [Family],
    /// Without one of these it loads nothing.
    pub(super) needs: &'static [Need],
    /// With each of these it does more.
    pub(super) wants: &'static [Want],
    /// How it is told the family.
    pub(super) note: Option<&'static str>,
}

/// Items of which one set must be there whole.
#[derive(Debug)]
pub(super) struct Need(pub(super) &'static [&'static [Item]]);

/// The same for something that can be done without.
#[derive(Debug)]
pub(super) struct Want {
    /// What it is for.
    pub(super) what: &'static str,
    pub(super) any_of: &'static [&'static [Item]],
    /// Whether it is of no account where nothing of it is there.
    pub(super) is_seldom: bool,
}

/// Something in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Item {
    /// The compiled model of a role.
    Model(Role),
    /// A part of it.
    Chunk(Role, usize),
    /// At least one compiled model of a role that has a folder for them.
    Any(Role),
    /// A file.
    File(&'static str),
}

impl Item {
    /// Its name in the folder, without an extension for models.
    pub(super) fn name(self) -> String {
        // A refiner that draws alone has the name of a UNet, and is looked for as one.
        let name = |role| bundle::place(Family::Sd, role, "").unwrap_or_default();
        match self {
            Model(role) => name(role),
            Chunk(role, number) => bundle::chunk(&name(role), number),
            Any(role) => match role.spec().package.bundled {
                Bundled::Below(folder) => folder.to_owned(),
                _ => name(role),
            },
            File(name) => name.to_owned(),
        }
    }
}

const ENCODER: Need = Need(&[&[Model(Role::TextEncoder)]]);
const ENCODER_2: Need = Need(&[&[Model(Role::TextEncoder2)]]);
const DECODER: Need = Need(&[&[Model(Role::VaeDecoder)]]);
const VOCABULARY: Need = Need(&[&[File("vocab.json")]]);
const MERGES: Need = Need(&[&[File("merges.txt")]]);
const UNET: Need = Need(&[WHOLE_UNET, UNET_CHUNKS]);
/// ControlNets need their own, which serves alone too where they are always used.
const ANY_UNET: Need = Need(&[WHOLE_UNET, UNET_CHUNKS, CONTROLLED, CONTROLLED_CHUNKS]);
const MMDIT: Need = Need(&[&[Model(Role::Mmdit)]]);

const WHOLE_UNET: &[Item] = &[Model(Role::UNet)];
const UNET_CHUNKS: &[Item] = &[Chunk(Role::UNet, 1), Chunk(Role::UNet, 2)];
const CONTROLLED: &[Item] = &[Model(Role::ControlledUNet), Any(Role::ControlNet)];
const CONTROLLED_CHUNKS: &[Item] =
    &[Chunk(Role::ControlledUNet, 1), Chunk(Role::ControlledUNet, 2), Any(Role::ControlNet)];

/// UNets that draw without ControlNets, and those that draw only with them.
pub(super) const UNGUIDED: &[&[Item]] = &[WHOLE_UNET, UNET_CHUNKS];
pub(super) const GUIDED: &[&[Item]] = &[CONTROLLED, CONTROLLED_CHUNKS];
/// Roles that are looked for whole and in chunks.
pub(super) const CUT: &[Role] = &[Role::UNet, Role::ControlledUNet, Role::Refiner];

const START: Want = Want { what: "to begin with a picture", any_of: &[&[Model(Role::VaeEncoder)]], is_seldom: false };
const CHECK: Want = Want { what: "to check pictures", any_of: &[&[Model(Role::SafetyChecker)]], is_seldom: true };
const CONTROLNETS: Want =
    Want { what: "to be guided by ControlNets", any_of: &[CONTROLLED, CONTROLLED_CHUNKS], is_seldom: true };
const REFINER: Want = Want {
    what: "to refine the last steps",
    any_of: &[&[Model(Role::Refiner)], &[Chunk(Role::Refiner, 1), Chunk(Role::Refiner, 2)]],
    is_seldom: true,
};
const ENCODER_OF_BOTH: Want = Want {
    what: "to draw with XL itself, and not with a refiner alone",
    any_of: &[&[Model(Role::TextEncoder)]],
    is_seldom: true,
};
const T5: Want = Want {
    what: "to read prompts with T5",
    any_of: &[&[Model(Role::TextEncoder3), File("tokenizer.json"), File("tokenizer_config.json")]],
    is_seldom: true,
};

const SD: &[Family] = &[Family::Sd];
const XL: &[Family] = &[Family::Sdxl, Family::SdxlRefiner];
const SD3: &[Family] = &[Family::Sd3];

const SD_NEEDS: &[Need] = &[ENCODER, ANY_UNET, DECODER, VOCABULARY, MERGES];
const XL_NEEDS: &[Need] = &[ENCODER_2, UNET, DECODER, VOCABULARY, MERGES];
const SD3_NEEDS: &[Need] = &[ENCODER, ENCODER_2, MMDIT, DECODER, VOCABULARY, MERGES];

/// All of them.
pub(super) const PROGRAMS: &[Program] = &[
    Program {
        name: "Apple's Swift package",
        layouts: &[
            Layout { families: SD, needs: SD_NEEDS, wants: &[START, CHECK, CONTROLNETS], note: None },
            Layout {
                families: XL,
                needs: XL_NEEDS,
                wants: &[ENCODER_OF_BOTH, START, REFINER],
                note: Some("its command takes it with --xl"),
            },
            Layout {
                families: SD3,
                needs: SD3_NEEDS,
                wants: &[START, T5],
                note: Some("its command takes it with --sd3"),
            },
        ],
        reads_metadata_of: &[],
        note: None,
        controlnets_note: None,
        only_guided_note: Some(
            "only with --controlnet: it loads Unet.mlmodelc unless a ControlNet is named, and that is not there",
        ),
    },
    Program {
        name: "Mochi Diffusion",
        layouts: &[
            Layout { families: SD, needs: SD_NEEDS, wants: &[START], note: None },
            Layout { families: XL, needs: XL_NEEDS, wants: &[ENCODER_OF_BOTH, START], note: None },
            Layout { families: SD3, needs: SD3_NEEDS, wants: &[START, T5], note: None },
        ],
        reads_metadata_of: &[Model(Role::UNet), Chunk(Role::UNet, 1), Model(Role::ControlledUNet), Model(Role::Mmdit)],
        note: None,
        controlnets_note: Some("it lists ControlNets of its own folder controlnet: put those here into it too"),
        only_guided_note: Some(
            "only with a ControlNet chosen: it loads Unet.mlmodelc without one, and that is not there",
        ),
    },
    Program {
        name: "Diffusers",
        layouts: &[
            Layout { families: SD, needs: &[ENCODER, UNET, DECODER, VOCABULARY, MERGES], wants: &[CHECK], note: None },
            Layout { families: XL, needs: XL_NEEDS, wants: &[ENCODER_OF_BOTH, REFINER], note: None },
            Layout { families: SD3, needs: SD3_NEEDS, wants: &[T5], note: None },
        ],
        reads_metadata_of: &[],
        note: Some("it opens models of its own list only, from archives or folders named as those"),
        controlnets_note: None,
        only_guided_note: None,
    },
];
