//! The fuzz body for reading: any bytes are read as a package, which must not panic.
//!
//! An ordinary function, so that `cargo test` runs it for a second and `cargo fuzz` for as long as one likes.

use std::{collections::BTreeMap, path::Path};

use mil::Bytes;

use crate::{
    blob::BlobFile,
    compiled,
    decode::{self, WeightFiles, WeightSource},
    encode,
    manifest::Manifest,
    model::{Body, Model},
};

/// A model file and a weight file in one, for [`fuzz_read`].
#[must_use]
pub fn join(model: &[u8], weights: &[u8]) -> Vec<u8> {
    let length = u32::try_from(model.len()).unwrap_or(u32::MAX);
    [&length.to_le_bytes()[..], model, weights].concat()
}

/// Reads `bytes` as a manifest, as a weight file, and as the length of a model file, a model file and a weight file.
///
/// What decodes is encoded again, which must not panic either, and give a model that decodes to the same.
pub fn fuzz_read(bytes: &[u8]) {
    let _ = Manifest::parse(bytes, Path::new("Manifest.json"));
    compiled::fuzz(bytes);
    walk(bytes);
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return };
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX).min(rest.len());
    let (model, weights) = rest.split_at(length);
    walk(weights);
    let Some(model) = read(model, weights, encode::WEIGHT_FILE) else { return };
    write_and_read_again(&model);
}

fn walk(bytes: &[u8]) {
    if let Ok(file) = BlobFile::new("weight.bin", Bytes::copy_from_slice(bytes)) {
        let offsets: Vec<u64> = file.offsets().map_while(Result::ok).collect();
        let _ = file.check_disjoint(offsets);
    }
}

fn read(model: &[u8], weights: &[u8], name: &str) -> Option<Model> {
    let files = BTreeMap::from([(name.to_owned(), Bytes::copy_from_slice(weights))]);
    let mut weights = WeightFiles::new(WeightSource::Memory(&files));
    decode::model(Bytes::copy_from_slice(model), &mut weights).ok()
}

fn write_and_read_again(model: &Model) {
    let Body::Program(program) = &model.body else { return };
    // A validator sees hostile programs first wherever one is written.
    if mil::validate(program).is_err() {
        return;
    }
    let Ok((message, plan)) = encode::model(program, &model.description) else { return };
    let mut out = std::io::Cursor::new(Vec::new());
    if let Ok(mut writer) = crate::BlobWriter::new(&mut out, "weight.bin") {
        plan.write(&mut writer, &mut |_| std::ops::ControlFlow::Continue(()))
            .expect("invariant: a planned blob has its planned size");
        writer.finish().expect("invariant: memory takes what is written");
    }
    let again = read(&message, out.get_ref(), encode::WEIGHT_FILE);
    assert!(again.is_some(), "what was written must be readable");
}
