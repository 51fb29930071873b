//! Programs through their messages and back, and hostile messages, each with the name of its fault.

mod cross_check;
mod hostile;
mod round_trip;
mod zoo;

use std::{collections::BTreeMap, io::Cursor};

use coremltools_proto::{self as pb, Message};
use mil::{Bytes, Program};

use crate::{
    BlobWriter, Description, Error, Model,
    decode::{self, WeightFiles, WeightSource},
    encode,
};

/// A model and its weight file, in memory.
fn encoded(program: &Program) -> (pb::Model, Vec<u8>) {
    let (bytes, plan) = encode::model(program, &Description::of(program)).unwrap();
    let model = pb::Model::decode(&bytes[..]).unwrap();
    assert!(model.encode_to_vec() == bytes, "it is put together as protobuf does");
    let mut writer = BlobWriter::new(Cursor::new(Vec::new()), "weight.bin").unwrap();
    let mut reported = 0;
    let mut report = |n| {
        reported += n;
        std::ops::ControlFlow::Continue(())
    };
    plan.write(&mut writer, &mut report).unwrap();
    assert_eq!(reported, plan.n_data_bytes());
    let bytes = writer.finish().unwrap().into_inner();
    assert_eq!(bytes.len() as u64, plan.n_bytes().max(64));
    (model, bytes)
}

fn decoded(model: &pb::Model, weights: &[u8]) -> Result<Model, Error> {
    decoded_bytes(&model.encode_to_vec(), weights)
}

fn decoded_bytes(model: &[u8], weights: &[u8]) -> Result<Model, Error> {
    let files = BTreeMap::from([(encode::WEIGHT_FILE.to_owned(), Bytes::copy_from_slice(weights))]);
    decode::model(Bytes::copy_from_slice(model), &mut WeightFiles::new(WeightSource::Memory(&files)))
}

/// Every package below `dir`.
fn packages(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.extension() {
            Some(e) if e == "mlpackage" => found.push(path),
            _ if path.is_dir() => found.extend(packages(&path)),
            _ => {}
        }
    }
    found.sort();
    found
}
