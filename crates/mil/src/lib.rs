//! The Core ML Model Intermediate Language: a typed, validated IR with a text form and passes.
