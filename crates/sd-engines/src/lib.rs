//! Engines that run Stable Diffusion models: MIL on the CPU.
