//! Stable Diffusion pipelines: tokenizer, schedulers, random sources, images, and the Engine trait.
