//! Opsets: which operations, in which version, a function may use.

/// A Core ML opset; later ones contain all earlier operations, some in a newer version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Opset {
    /// iOS 15, macOS 12; specification version 6.
    CoreML5,
    /// iOS 16, macOS 13; specification version 7.
    CoreML6,
    /// iOS 17, macOS 14; specification version 8.
    CoreML7,
    /// iOS 18, macOS 15; specification version 9.
    CoreML8,
    /// iOS 26, macOS 26; specification version 10.
    CoreML9,
}

impl Opset {
    /// Every opset, oldest first.
    pub const ALL: [Self; 5] = [Self::CoreML5, Self::CoreML6, Self::CoreML7, Self::CoreML8, Self::CoreML9];

    /// The name in the model file, for example `CoreML6`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CoreML5 => "CoreML5",
            Self::CoreML6 => "CoreML6",
            Self::CoreML7 => "CoreML7",
            Self::CoreML8 => "CoreML8",
            Self::CoreML9 => "CoreML9",
        }
    }

    /// The tag in the text form, for example `ios16`.
    #[must_use]
    pub const fn ios_tag(self) -> &'static str {
        match self {
            Self::CoreML5 => "ios15",
            Self::CoreML6 => "ios16",
            Self::CoreML7 => "ios17",
            Self::CoreML8 => "ios18",
            Self::CoreML9 => "ios26",
        }
    }

    /// The lowest specification version of a model file that may carry it.
    #[must_use]
    pub const fn specification_version(self) -> i32 {
        self as i32 + 6
    }

    /// The opset with this name (`CoreML6`).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|o| o.name() == name)
    }

    /// The opset with this text tag (`ios16`).
    #[must_use]
    pub fn from_ios_tag(tag: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|o| o.ios_tag() == tag)
    }
}

impl std::fmt::Display for Opset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
