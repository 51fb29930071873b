//! What Stable Diffusion XL is told beside the text: of which size a picture like it was, where it was cut, how good it is.
//!
//! Sizes and corners are written as people write them, width and left side first; models take height and top first.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::image::Size;

/// Most pixels of a side, or from an edge.
const MAX_SIDE: usize = 1 << 20;

/// What is told of a picture, as far as anything is. As JSON every field may be left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Conditions {
    /// Size of the picture before it was cut and scaled; default: the picture's own.
    #[serde(with = "text", skip_serializing_if = "Option::is_none")]
    pub original_size: Option<Size>,
    /// How much of it was cut off; default: nothing.
    #[serde(with = "text", skip_serializing_if = "Option::is_none")]
    pub crop: Option<Corner>,
    /// Size that it was scaled to; default: the picture's own.
    #[serde(with = "text", skip_serializing_if = "Option::is_none")]
    pub target_size: Option<Size>,
    /// Aesthetic score, about 1 to 10, of the refiner; default: 6, and 2.5 for what a picture is guided away from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aesthetic_score: Option<f32>,
}

/// A corner of a picture: pixels from its left side and from its top.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Corner {
    /// Pixels from the left.
    pub left: usize,
    /// Pixels from the top.
    pub top: usize,
}

impl Conditions {
    /// Whether nothing is told.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What is told, as words and text, in a fixed order.
    pub fn texts(&self) -> impl Iterator<Item = (&'static str, String)> {
        [
            ("original size", self.original_size.map(|size| size.to_string())),
            ("crop", self.crop.map(|corner| corner.to_string())),
            ("target size", self.target_size.map(|size| size.to_string())),
            ("aesthetic score", self.aesthetic_score.map(|score| score.to_string())),
        ]
        .into_iter()
        .filter_map(|(name, text)| Some((name, text?)))
    }
}

impl FromStr for Size {
    type Err = String;

    /// `WIDTHxHEIGHT`, or one number for both.
    fn from_str(text: &str) -> Result<Self, String> {
        let (width, height) = text.split_once(['x', 'X', '×', '*']).unwrap_or((text, text));
        match (number(width).filter(|n| *n > 0), number(height).filter(|n| *n > 0)) {
            (Some(width), Some(height)) => Ok(Self { width, height }),
            _ => Err(format!("{text:?} is not WIDTHxHEIGHT in pixels, such as 1024x768")),
        }
    }
}

impl FromStr for Corner {
    type Err = String;

    /// `LEFT,TOP`.
    fn from_str(text: &str) -> Result<Self, String> {
        let corner = text.split_once(',').and_then(|(left, top)| Some((number(left)?, number(top)?)));
        match corner {
            Some((left, top)) => Ok(Self { left, top }),
            None => Err(format!("{text:?} is not LEFT,TOP in pixels, such as 0,128")),
        }
    }
}

impl fmt::Display for Corner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.left, self.top)
    }
}

fn number(text: &str) -> Option<usize> {
    text.trim().parse().ok().filter(|n| *n <= MAX_SIDE)
}

/// A value as the text that it is parsed from, or null.
mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<T: Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.collect_str(value),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, T, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr<Err: Display>,
    {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(serde::de::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_json_with_sizes_as_people_write_them() {
        let json = r#"{"original_size":"1536x1024","crop":"0,128","aesthetic_score":7.5}"#;
        let conditions: Conditions = serde_json::from_str(json).unwrap();
        assert_eq!(conditions.original_size, Some(Size { width: 1536, height: 1024 }));
        assert_eq!(conditions.crop, Some(Corner { left: 0, top: 128 }));
        assert_eq!(serde_json::to_string(&conditions).unwrap(), json);
        assert!(Conditions::default().is_empty() && !conditions.is_empty());
    }

    #[test]
    fn what_is_no_size_or_corner_says_what_one_is() {
        for text in ["", "x", "0x8", "8x", "-1x8", "9999999x8"] {
            assert!(text.parse::<Size>().unwrap_err().contains("WIDTHxHEIGHT"), "{text}");
        }
        for text in ["", "8", "8,", "8,-1", "8x8"] {
            assert!(text.parse::<Corner>().unwrap_err().contains("LEFT,TOP"), "{text}");
        }
        assert_eq!("512".parse(), Ok(Size { width: 512, height: 512 }));
    }
}
