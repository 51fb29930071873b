//! What makes a file no picture that texts can be taken from.

/// Why no texts could be looked for; faults of single texts stand in [`crate::Texts::faults`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// The file is none of the formats that are read.
    #[error(
        "neither PNG, JPEG nor WebP: it begins with {begin}; only pictures in these formats carry settings that are read"
    )]
    Format {
        /// Its first bytes, in hexadecimal.
        begin: String,
    },
    /// The file has no bytes.
    #[error("the file is empty")]
    Empty,
}
