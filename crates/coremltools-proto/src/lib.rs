//! Protobuf types of the Core ML model specification.
