//! Texts in small PNG, JPEG and WebP files, which the tests make themselves; broken ones; and that no bytes make anybody panic.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod files;

use std::time::Duration;

use files::{Png, exif, jpeg, jpeg_segment, unicode, webp, xmp};
use sd_metadata::{Carrier, Found, MetadataError, Tool, parse_parameters, read};

const PARAMETERS: &str =
    "a fox\nNegative prompt: dog\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 512x768";

#[track_caller]
fn check(bytes: &[u8], keyword: &str, carrier: Carrier) -> Found {
    let found = read(bytes).unwrap();
    let text = found.texts.iter().find(|text| text.keyword == keyword).unwrap_or_else(|| panic!("{found:#?}"));
    assert_eq!((text.carrier, text.text.as_str()), (carrier, PARAMETERS));
    let made = found.made.as_ref().unwrap();
    assert_eq!((made.steps, made.seed, made.negative.as_deref()), (Some(20), Some(5), Some("dog")));
    assert!(found.faults.is_empty(), "{:?}", found.faults);
    found
}

#[test]
fn every_text_chunk_of_png_is_read_before_and_behind_the_picture() {
    check(&Png::new().text("parameters", PARAMETERS).end(), "parameters", Carrier::Png);
    check(&Png::new().compressed("parameters", PARAMETERS).end(), "parameters", Carrier::Png);
    check(&Png::new().international("parameters", PARAMETERS, false).end(), "parameters", Carrier::Png);
    check(&Png::new().international("parameters", PARAMETERS, true).end(), "parameters", Carrier::Png);
    check(&Png::new().picture().text("parameters", PARAMETERS).end(), "parameters", Carrier::Png);
    let tiff = exif(&[(0x9286, 7, unicode(PARAMETERS, u16::to_be_bytes))], true);
    check(&Png::new().chunk(b"eXIf", &tiff).end(), "UserComment", Carrier::Exif);
}

#[test]
fn latin_1_and_utf_8_are_told_apart() {
    let found = read(&Png::new().chunk(b"tEXt", b"Comment\0caf\xE9").end()).unwrap();
    assert_eq!(found.texts[0].text, "café");
    let found = read(&Png::new().chunk(b"tEXt", "Comment\0狐".as_bytes()).end()).unwrap();
    assert_eq!(found.texts[0].text, "狐");
}

#[test]
fn user_comments_are_read_in_every_encoding_and_order() {
    for is_big in [false, true] {
        for comment in [
            unicode(PARAMETERS, u16::to_be_bytes),
            unicode(PARAMETERS, u16::to_le_bytes),
            unicode(&format!("\u{feff}{PARAMETERS}"), u16::to_le_bytes),
            [b"ASCII\0\0\0", PARAMETERS.as_bytes()].concat(),
            [&[0; 8], PARAMETERS.as_bytes()].concat(),
            PARAMETERS.as_bytes().to_vec(),
        ] {
            let tiff = exif(&[(0x9286, 7, comment)], is_big);
            let head = [b"Exif\0\0".as_slice(), &tiff].concat();
            check(&jpeg(&[jpeg_segment(0xE1, &head)]), "UserComment", Carrier::Exif);
            check(&webp(&[(b"EXIF", tiff)]), "UserComment", Carrier::Exif);
            check(&webp(&[(b"EXIF", head)]), "UserComment", Carrier::Exif);
        }
    }
}

#[test]
fn other_tags_and_segments_are_read() {
    let description = exif(&[(0x010E, 2, PARAMETERS.bytes().chain([0]).collect())], false);
    check(&webp(&[(b"EXIF", description)]), "ImageDescription", Carrier::Exif);
    let windows = PARAMETERS.encode_utf16().flat_map(u16::to_le_bytes).collect();
    check(&webp(&[(b"EXIF", exif(&[(0x9C9C, 1, windows)], false))]), "XPComment", Carrier::Exif);
    check(&jpeg(&[jpeg_segment(0xFE, PARAMETERS.as_bytes())]), "comment", Carrier::Comment);
    check(&webp(&[(b"XMP ", xmp(PARAMETERS).into_bytes())]), "description", Carrier::Xmp);
    let segment = [b"http://ns.adobe.com/xap/1.0/\0", xmp(PARAMETERS).as_bytes()].concat();
    check(&jpeg(&[jpeg_segment(0xE1, &segment)]), "description", Carrier::Xmp);
    let found = check(
        &Png::new().international("XML:com.adobe.xmp", &xmp(PARAMETERS), false).end(),
        "description",
        Carrier::Xmp,
    );
    assert_eq!(found.made.unwrap().tool, Tool::DrawThings);
}

#[test]
fn iptc_of_mochi_diffusion_is_read() {
    let caption =
        "Include in Image: a crane; Exclude from Image: ; Model: m; Steps: 20; Seed: 7; Generator: Mochi Diffusion 3.2";
    let mut sets = vec![0x1C, 2, 120];
    sets.extend((caption.len() as u16).to_be_bytes());
    sets.extend(caption.bytes());
    let mut block = b"Photoshop 3.0\x008BIM\x04\x04\0\0".to_vec();
    block.extend((sets.len() as u32).to_be_bytes());
    block.extend(sets);
    let made = read(&jpeg(&[jpeg_segment(0xED, &block)])).unwrap().made.unwrap();
    assert_eq!((made.tool, made.seed, made.prompt.as_deref()), (Tool::MochiDiffusion, Some(7), Some("a crane")));
}

#[test]
fn comfy_s_webp_files_have_their_graph_in_the_maker_s_name() {
    let graph =
        r#"prompt:{"3":{"class_type":"KSampler","inputs":{"seed":9,"sampler_name":"euler","positive":["6",0]}}}"#;
    let make = exif(&[(0x010F, 2, graph.bytes().chain([0]).collect()), (0x0110, 2, b"Camera\0".to_vec())], false);
    let found = read(&webp(&[(b"EXIF", make)])).unwrap();
    assert_eq!((found.texts.len(), found.made.unwrap().seed), (1, Some(9)));
}

#[test]
fn what_is_broken_is_named_and_the_rest_is_read() {
    let whole = Png::new().text("parameters", PARAMETERS).picture().end();
    let cases: &[(Vec<u8>, &str, bool)] = &[
        (whole[..whole.len() - 4].to_vec(), "", true),
        (whole[..whole.len() - 14].to_vec(), "cut off", true),
        (whole[..60].to_vec(), "chunk tEXt has", false),
        (whole[..10].to_vec(), "within the head of a chunk", false),
        (whole[..8].to_vec(), "without IEND", false),
        (Png::new().chunk(b"tEXt", b"no NUL").text("parameters", PARAMETERS).end(), "no NUL", true),
        (
            Png::new().chunk(b"zTXt", b"Comment\0\0junk").text("parameters", PARAMETERS).end(),
            "cannot be unpacked",
            true,
        ),
        (
            Png::new().chunk(b"zTXt", b"Comment\0\x07junk").text("parameters", PARAMETERS).end(),
            "compression method 7",
            true,
        ),
        (Png::new().chunk(b"iTXt", b"a\0\0\0\0\0\xFF\xFE").text("parameters", PARAMETERS).end(), "not UTF-8", true),
        (Png::new().chunk(b"iTXt", b"a\0\x02").text("parameters", PARAMETERS).end(), "ends before its text", true),
        (Png::new().chunk(b"eXIf", b"junk").text("parameters", PARAMETERS).end(), "EXIF", true),
        (Png::new().text("smelt", "{").text("parameters", PARAMETERS).end(), "smelt: EOF", true),
        (Png::new().text("workflow", "{}").end(), "without the one that ran", false),
        (Png::new().text("XML:com.adobe.xmp", "<a><b>").text("parameters", PARAMETERS).end(), "XMP", true),
        (
            jpeg(&[jpeg_segment(0xFE, PARAMETERS.as_bytes()), vec![0xFF, 0xE1, 0xFF, 0xFF, 0]]),
            "segment ffe1 has 65535",
            true,
        ),
        (jpeg(&[jpeg_segment(0xFE, PARAMETERS.as_bytes()), vec![0, 0]]), "no segment begins", true),
        (webp(&[(b"XMP ", xmp(PARAMETERS).into_bytes()), (b"EXIF", vec![1, 2, 3])]), "EXIF", true),
    ];
    for (bytes, fault, is_read) in cases {
        let found = read(bytes).unwrap();
        let faults = found.faults.join("; ");
        assert!(faults.contains(fault), "{fault}: {faults}");
        assert_eq!(found.made.is_some(), *is_read, "{fault}: {found:?}");
    }
}

#[test]
fn a_wrong_checksum_is_said() {
    let mut bytes = Png::new().text("parameters", PARAMETERS).end();
    let at = bytes.windows(5).position(|window| window == b"a fox").unwrap();
    bytes[at] = b'A';
    let found = read(&bytes).unwrap();
    assert!(found.faults[0].contains("checksum"), "{:?}", found.faults);
    assert_eq!(found.made.unwrap().prompt.as_deref(), Some("A fox"));
}

#[test]
fn texts_that_unpack_to_more_than_is_read_are_refused() {
    let bomb = " ".repeat(sd_metadata::MAX_TEXT_BYTES + 1);
    let found = read(&Png::new().compressed("Comment", &bomb).text("parameters", PARAMETERS).end()).unwrap();
    assert!(found.faults[0].contains("unpacks to more than"), "{:?}", found.faults);
    assert!(found.made.is_some());
}

#[test]
fn other_files_are_refused_by_what_they_begin_with() {
    assert!(matches!(read(b""), Err(MetadataError::Empty)));
    let error = read(b"GIF89a").unwrap_err().to_string();
    assert_eq!(
        error,
        "neither PNG, JPEG nor WebP: it begins with 47 49 46 38 39 61; only pictures in these formats carry settings that are read"
    );
}

#[test]
fn no_bytes_whatever_make_a_reader_panic() {
    let tiff = exif(&[(0x9286, 7, unicode(PARAMETERS, u16::to_le_bytes))], false);
    let corpus = [
        Png::new().text("parameters", PARAMETERS).compressed("Dream", "\"a\" -s 5").picture().end(),
        Png::new().international("XML:com.adobe.xmp", &xmp(PARAMETERS), true).chunk(b"eXIf", &tiff).end(),
        jpeg(&[jpeg_segment(0xE1, &[b"Exif\0\0".as_slice(), &tiff].concat())]),
        jpeg(&[jpeg_segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x07\x1C\x02\x78\0\x02ab")]),
        webp(&[(b"EXIF", tiff), (b"XMP ", xmp(PARAMETERS).into_bytes())]),
    ];
    let corpus: Vec<&[u8]> = corpus.iter().map(Vec::as_slice).collect();
    let n_calls = testkit::fuzz::run_for(Duration::from_secs(1), &corpus, |bytes| drop(read(bytes)));
    assert!(n_calls > 100, "{n_calls}");
}

#[test]
fn writing_what_was_read_is_stable_whatever_the_text() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/texts");
    let corpus: Vec<Vec<u8>> =
        std::fs::read_dir(folder).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect();
    let bodies: Vec<&[u8]> = corpus.iter().map(|file| text_of(file)).collect();
    testkit::fuzz::run_for(Duration::from_secs(2), &bodies, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        for keyword in ["parameters", "prompt", "invokeai_metadata", "sd-metadata", "Dream", "UserComment", "smelt"] {
            let texts = [sd_metadata::Text::new(Carrier::Png, keyword, text.as_ref())];
            if let Some(made) = sd_metadata::recognise(&texts) {
                let once = made.to_parameters();
                let twice = parse_parameters(&once).to_parameters();
                assert_eq!(once, twice, "{keyword}");
            }
        }
    });
}

#[test]
fn long_texts_take_as_long_as_they_are() {
    const N: usize = 1 << 18;
    let long = |part: &str| part.repeat(N / part.len());
    let graph = |n: usize| {
        let node = |idx: usize| {
            let before = idx.saturating_sub(1);
            format!(
                "\"{idx}\":{{\"class_type\":\"KSampler\",\"inputs\":{{\"sampler_name\":\"e\",\"positive\":[\"{before}\",0],\"latent_image\":[\"{before}\",0],\"model\":[\"{before}\",0]}}}}"
            )
        };
        format!("{{{}}}", (0..n).map(node).collect::<Vec<_>>().join(","))
    };
    let cases = [
        ("parameters", long("ab: [, ")),
        ("parameters", long("ab: \"\\\", ")),
        ("parameters", long("Steps: 1, ")),
        ("parameters", long("Lora hashes: \"a: b\", ") + &long("a")),
        ("parameters", (0..N / 16).map(|n| format!("<lora:{n}:1>")).collect::<String>()),
        ("parameters", long("<lora:")),
        ("parameters", long("Negative prompt: ")),
        ("parameters", long("Negative prompt:\n")),
        ("parameters", long("(((") + ": 1, ab: 2, cd: 3, ef: 4"),
        ("Comment", long("Include in Image: a; Seed: 1; ")),
        ("Dream", long("-s ")),
        ("prompt", graph(8000)),
        ("UserComment", long("{\"c\":")),
    ];
    for (keyword, text) in cases {
        let start = std::time::Instant::now();
        let begin: String = text.chars().take(24).collect();
        let made = sd_metadata::recognise(&[sd_metadata::Text::new(Carrier::Png, keyword, text)]);
        let written = made.map(|made| made.to_parameters().len());
        assert!(start.elapsed() < Duration::from_secs(10), "{keyword} {begin}: {:?}, {written:?}", start.elapsed());
        println!("{keyword} {begin:?} {:?}", start.elapsed());
    }
}

/// The first text of a file of the corpus.
fn text_of(file: &[u8]) -> &[u8] {
    let begin = file.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    let end = file.windows(5).position(|window| window == b"\n=== ").unwrap();
    &file[begin.min(end)..end]
}
