//! Inert tensor data: dtype, shape and shared bytes.
