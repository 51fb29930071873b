//! Converts Stable Diffusion checkpoints to Core ML packages.
