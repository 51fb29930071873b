//! `metadata.json` of Apple's samples, many of which came without weights or sources.

use std::{fs, path::PathBuf};

use coremltools_proto::{self as pb, Message};
use mil::text::{BlobError, BlobSource, parse};
use mil::{BlobLocation, Const, DType, HostTensor};
use serde_json::Value;

use super::describe;
use crate::{
    compiled::{COREML_DATA, METADATA, MODEL_MIL, container},
    description,
    model::{Body, Model},
};

/// Zeros that lie where the text says.
struct Located;

impl BlobSource for Located {
    fn resolve(&self, file: &str, offset: u64, dtype: DType, shape: &[usize]) -> Result<Const, BlobError> {
        let n_bytes = dtype.byte_len(shape.iter().product()).ok_or("too large")?;
        let mut constant = Const::new(HostTensor::new(dtype, shape, vec![0; n_bytes].into())?);
        constant.location = Some(BlobLocation { file: file.into(), offset });
        Ok(constant)
    }
}

#[test]
fn metadata_of_programs_are_what_apples_compiler_says() {
    let Some(golden) = testkit::golden() else { return };
    let folders = fs::read_dir(golden.join("mlmodelc-samples")).unwrap().map(|entry| entry.unwrap().path());
    let inner = |folder: PathBuf| [folder.clone(), folder.join("expected-macos.mlmodelc")];
    let mut n = 0;
    for folder in folders.flat_map(inner).filter(|f| f.join(METADATA).is_file() && f.join(MODEL_MIL).is_file()) {
        let place = folder.display();
        let data = fs::read(folder.join(COREML_DATA)).unwrap();
        let container = container::read(&data).unwrap();
        let program = parse(&fs::read_to_string(folder.join(MODEL_MIL)).unwrap(), &Located).unwrap();
        let description = pb::ModelDescription::decode(container.description).unwrap();
        let model = Model {
            specification_version: container.specification_version as i32,
            description: description::decode(description).unwrap(),
            body: Body::Program(program),
        };
        let theirs: Value = serde_json::from_slice(&fs::read(folder.join(METADATA)).unwrap()).unwrap();
        let stem = theirs[0]["generatedClassName"].as_str().unwrap();
        let ours: Value = serde_json::from_str(&describe::metadata(&model, stem).unwrap()).unwrap();
        for (key, value) in theirs[0].as_object().unwrap() {
            assert_eq!(ours[0][key], *value, "{place}: {key}");
        }
        assert_eq!(ours, theirs, "{place}");
        n += 1;
    }
    assert!(n >= 14, "{n}");
}
