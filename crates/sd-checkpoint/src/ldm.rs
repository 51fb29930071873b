//! Checkpoints in one file, in the layouts of the programs that trained them: LDM (Stable Diffusion 1 and 2), SGM (XL) and
//! Stability's own of Stable Diffusion 3; and files of one network alone, in these or in the names of diffusers.
//!
//! | module | what |
//! |---|---|
//! | `names`, and one for each network | names as rules, in tables |
//! | `spelling` | whose names a network has |
//! | `kinds` | what of a kind of model no tensor says, as data |
//! | `parts` | which networks a file holds, and of which kind it is |
//! | `derive`, `made` | configurations by names and shapes, and the files that stand beside weights in a folder |
//! | `predict`, `leftover`, `notes` | what the denoiser predicts; what is left aside; what the user should know |
//! | `network`, `views` | the weights of one network, as views of the file's |
//! | `single` | all of this for one file |
//!
//! Nothing is computed here: what differs from diffusers' layout is a view of the file's tensors.

mod clip;
mod derive;
mod kinds;
mod leftover;
mod made;
pub(crate) mod mmdit;
pub(crate) mod names;
pub(crate) mod network;
pub(crate) mod notes;
mod parts;
pub(crate) mod predict;
pub(crate) mod single;
mod spelling;
mod tensors;
mod tiny_vae;
pub(crate) mod unet;
mod vae;
mod views;

pub(crate) use views::equal_parts;

#[cfg(test)]
mod tests;
