//! Small files in the formats that are read, byte by byte.

use std::io::Write;

use flate2::{Compression, Crc, write::ZlibEncoder};

/// A PNG file that is put together chunk by chunk.
pub(crate) struct Png(Vec<u8>);

impl Png {
    pub(crate) fn new() -> Self {
        let head = [0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0];
        Self(b"\x89PNG\r\n\x1a\n".to_vec()).chunk(b"IHDR", &head)
    }

    pub(crate) fn chunk(mut self, kind: &[u8; 4], data: &[u8]) -> Self {
        let mut crc = Crc::new();
        crc.update(kind);
        crc.update(data);
        self.0.extend((data.len() as u32).to_be_bytes());
        self.0.extend(kind);
        self.0.extend(data);
        self.0.extend(crc.sum().to_be_bytes());
        self
    }

    pub(crate) fn text(self, keyword: &str, text: &str) -> Self {
        self.chunk(b"tEXt", &[keyword.as_bytes(), b"\0", text.as_bytes()].concat())
    }

    pub(crate) fn compressed(self, keyword: &str, text: &str) -> Self {
        self.chunk(b"zTXt", &[keyword.as_bytes(), b"\0\0", &deflate(text)].concat())
    }

    pub(crate) fn international(self, keyword: &str, text: &str, is_compressed: bool) -> Self {
        let packed = if is_compressed { deflate(text) } else { text.as_bytes().to_vec() };
        self.chunk(b"iTXt", &[keyword.as_bytes(), &[0, u8::from(is_compressed), 0], b"en\0\0", &packed].concat())
    }

    pub(crate) fn picture(self) -> Self {
        self.chunk(b"IDAT", &deflate("\0\0"))
    }

    pub(crate) fn end(self) -> Vec<u8> {
        self.chunk(b"IEND", &[]).0
    }
}

fn deflate(text: &str) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// `UNICODE`, and the text in UTF-16.
pub(crate) fn unicode(text: &str, unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
    b"UNICODE\0".iter().copied().chain(text.encode_utf16().flat_map(unit)).collect()
}

/// TIFF with one directory; `UserComment` stands in EXIF's own, which that one points to.
pub(crate) fn exif(tags: &[(u16, u16, Vec<u8>)], is_big: bool) -> Vec<u8> {
    let two = |number: u16| if is_big { number.to_be_bytes() } else { number.to_le_bytes() };
    let four = |number: u32| if is_big { number.to_be_bytes() } else { number.to_le_bytes() };
    let mut tiff = if is_big { b"MM".to_vec() } else { b"II".to_vec() };
    tiff.extend(two(42));
    tiff.extend(four(8));
    let is_own = tags.iter().any(|(tag, ..)| *tag == 0x9286);
    if is_own {
        tiff.extend(two(1));
        tiff.extend([two(0x8769), two(4)].concat());
        tiff.extend([four(1), four(26), four(0)].concat());
    }
    tiff.extend(two(tags.len() as u16));
    let mut at = tiff.len() + 12 * tags.len() + 4;
    for (tag, kind, value) in tags {
        assert!(value.len() > 4);
        tiff.extend([two(*tag), two(*kind)].concat());
        tiff.extend([four(value.len() as u32), four(at as u32)].concat());
        at += value.len();
    }
    tiff.extend(four(0));
    tags.iter().for_each(|(_, _, value)| tiff.extend(value));
    tiff
}

/// A description, in XMP of Draw Things.
pub(crate) fn xmp(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    format!(
        "<?xpacket begin=\"\u{feff}\" id=\"x\"?><x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\
         <rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">\
         <rdf:Description xmlns:dc=\"http://purl.org/dc/elements/1.1/\" xmlns:xmp=\"http://ns.adobe.com/xap/1.0/\" \
         xmp:CreatorTool=\"Draw Things\"><dc:description><rdf:Alt><rdf:li xml:lang=\"x-default\">{text}</rdf:li></rdf:Alt>\
         </dc:description></rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end=\"w\"?>"
    )
}

pub(crate) fn jpeg_segment(marker: u8, data: &[u8]) -> Vec<u8> {
    [&[0xFF, marker], (data.len() as u16 + 2).to_be_bytes().as_slice(), data].concat()
}

/// A JPEG file of these segments, which ends where its picture would begin.
pub(crate) fn jpeg(segments: &[Vec<u8>]) -> Vec<u8> {
    [&[0xFF, 0xD8], segments.concat().as_slice(), &[0xFF, 0xDA]].concat()
}

pub(crate) fn webp(chunks: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let mut body = b"WEBP".to_vec();
    for (kind, data) in chunks {
        body.extend(*kind);
        body.extend((data.len() as u32).to_le_bytes());
        body.extend(data);
        body.extend(vec![0; data.len() % 2]);
    }
    [b"RIFF", (body.len() as u32).to_le_bytes().as_slice(), &body].concat()
}
