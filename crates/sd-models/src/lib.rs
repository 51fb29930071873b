//! Stable Diffusion networks as plain Burn modules, configured from diffusers checkpoints.
