//! Pictures in requests: base64, with or without `data:` before it. No address is ever fetched, and no path is ever opened.

use std::io::Cursor;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use smelt::image::{GreyImage, RgbImage};

use crate::fault::Fault;
use crate::options::Limits;

/// Padding may be missing, as some clients leave it out.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A picture of a request, and how opaque its pixels are where some are not wholly.
pub(crate) struct Given {
    pub(crate) image: RgbImage,
    pub(crate) alpha: Option<GreyImage>,
    pub(crate) bytes: Vec<u8>,
}

/// Bytes of base64.
pub(crate) fn bytes(field: &str, text: &str) -> Result<Vec<u8>, Fault> {
    let text = text.trim();
    let lower = text.get(..8).unwrap_or(text).to_lowercase();
    if lower.starts_with("http://") || lower.starts_with("https://") || lower.starts_with("file:") {
        return Err(Fault::field(
            field,
            format!("{field}: addresses are not fetched; send the picture itself, as base64"),
        ));
    }
    let data = match text.strip_prefix("data:") {
        Some(rest) => match rest.split_once(',') {
            Some((about, data)) if about.ends_with(";base64") => data,
            _ => return Err(Fault::field(field, format!("{field}: a data URI has `;base64,` before its data here"))),
        },
        None => text,
    };
    let plain: String = data.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    LENIENT.decode(plain).map_err(|error| Fault::field(field, format!("{field}: no picture in base64: {error}")))
}

/// A picture out of base64.
pub(crate) fn picture(field: &str, text: &str, limits: &Limits) -> Result<Given, Fault> {
    decoded(field, bytes(field, text)?, limits)
}

/// A picture out of the bytes of its file: PNG, JPEG or WebP.
pub(crate) fn decoded(field: &str, bytes: Vec<u8>, limits: &Limits) -> Result<Given, Fault> {
    let wrong = |what: String| Fault::field(field, format!("{field}: {what}"));
    // What a file promises is looked at before anything is allocated for it.
    let head = RgbImage::read_size(Cursor::new(&bytes)).map_err(|error| wrong(smelt::Error::from(error).chain()))?;
    let (width, height) = (head.width, head.height);
    if width.saturating_mul(height) > limits.pixels.saturating_mul(4) {
        return Err(Fault {
            status: axum::http::StatusCode::PAYLOAD_TOO_LARGE,
            code: "too_large",
            ..wrong(format!("a picture of {width}x{height} pixels, and {} are read here at most", limits.pixels * 4))
        });
    }
    let read =
        RgbImage::read_with_alpha(Cursor::new(&bytes)).map_err(|error| wrong(smelt::Error::from(error).chain()))?;
    let (image, alpha) = read;
    let alpha = alpha.filter(|alpha| alpha.pixels().iter().any(|opacity| *opacity < u8::MAX));
    Ok(Given { image, alpha, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD;

    fn png() -> Vec<u8> {
        let mut file = Vec::new();
        RgbImage::new(2, 1, vec![1, 2, 3, 4, 5, 6]).unwrap().write_png(&mut file, &[]).unwrap();
        file
    }

    #[test]
    fn base64_is_read_with_and_without_a_head_and_padding() {
        let plain = STANDARD.encode(png());
        let broken = plain
            .as_bytes()
            .chunks(40)
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect::<Vec<_>>()
            .join("\r\n");
        let bare = plain.trim_end_matches('=').to_owned();
        for text in [plain.clone(), format!("data:image/png;base64,{plain}"), broken, bare] {
            assert_eq!(picture("image", &text, &Limits::default()).unwrap().image.pixels(), [1, 2, 3, 4, 5, 6]);
        }
    }

    #[test]
    fn what_is_no_picture_says_which_field_and_why() {
        let hello = STANDARD.encode(b"hello");
        for (text, fact) in [
            ("https://example.org/a.png", "addresses are not fetched"),
            ("HTTP://127.0.0.1/a.png", "addresses are not fetched"),
            ("file:///etc/passwd", "addresses are not fetched"),
            ("data:image/png,abc", ";base64,"),
            ("!!", "no picture in base64"),
            ("", "image:"),
            (hello.as_str(), "PNG, JPEG and WebP"),
        ] {
            let fault = picture("image", text, &Limits::default()).map(drop).unwrap_err();
            assert!(fault.message.contains(fact) && fault.status == 400, "{text}: {}", fault.message);
        }
    }

    #[test]
    fn pictures_of_too_many_pixels_are_refused_by_their_head() {
        let limits = Limits { pixels: 0, ..Limits::default() };
        let fault = decoded("mask", png(), &limits).map(drop).unwrap_err();
        assert!(fault.status == 413 && fault.message.contains("2x1"), "{}", fault.message);
    }
}
