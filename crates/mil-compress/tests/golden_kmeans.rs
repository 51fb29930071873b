//! Palettes beside those of coremltools, on weights of `golden/kmeans`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that cannot go on has failed")]

use host_tensor::{Bytes, DType, HostTensor};
use mil_compress::{Axes, Encoded, PaletteGroups, PaletteMode, Palettize, Scheme, encode};

fn tensor(file: &safetensors::SafeTensors<'_>, name: &str, dtype: DType) -> HostTensor {
    let view = file.tensor(name).unwrap();
    HostTensor::new(dtype, view.shape(), Bytes::copy_from_slice(view.data())).unwrap()
}

fn squared_error(weight: &[f32], palette: &[f32], indices: impl Iterator<Item = u8>) -> f64 {
    weight.iter().zip(indices).map(|(&w, i)| (f64::from(w) - f64::from(palette[usize::from(i)])).powi(2)).sum()
}

#[test]
fn no_palette_is_worse_than_that_of_coremltools() {
    let Some(golden) = testkit::golden() else { return };
    let mut n_files = 0;
    for entry in std::fs::read_dir(golden.join("kmeans")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let Some(bits) = name.rsplit(".q").next().and_then(|s| s.strip_suffix(".safetensors")) else { continue };
        let bits: u8 = bits.parse().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let weight = tensor(&file, "weight", DType::F16);
        let theirs_lut = tensor(&file, "lut_fp16", DType::F16).to_f32_vec();
        let theirs = file.tensor("indices").unwrap().data().to_vec();
        let how = Palettize {
            mode: PaletteMode::KMeans { bits },
            groups: PaletteGroups::PerTensor,
            cluster_dim: 1,
            per_channel_scale: false,
        };
        let axes = Axes { output: 0, input: 1 };
        let (encoded, loss) = encode(&weight, &Scheme::Palettize(how), axes, true).unwrap();
        let Encoded::Lut(lut) = &encoded else { panic!("a palette") };
        let values = weight.to_f32_vec();
        let reference = squared_error(&values, &theirs_lut, theirs.iter().copied());
        let ours = loss.unwrap().squared_error;
        println!("{name}: squared error {ours:.6e}, coremltools {reference:.6e}");
        assert!(ours <= reference * (1.0 + 1e-9), "{name}: {ours} > {reference}");
        assert!(
            (encoded.loss(&weight).squared_error - ours).abs() <= 1e-9 * ours,
            "{name}: what is said is what is lost"
        );
        if weight.len() >= 10_000 {
            // The same problem solved to the same optimum: the same bytes.
            let palette = lut.lut.to_f32_vec();
            for (a, b) in palette.iter().zip(&theirs_lut) {
                let step = a.abs().max(b.abs()) * 2f32.powi(-10);
                assert!((a - b).abs() <= step, "{name}: {a} {b}");
            }
            let packed = host_tensor::pack_bits(&theirs, usize::from(bits));
            assert_eq!(lut.indices.bytes()[..], packed[..], "{name}");
        }
        n_files += 1;
    }
    assert!(n_files > 0, "no files in {}", golden.display());
}
