//! Apple's packages survive the way through the text form, constants by reference into their weight files.

use mil::text::{NoBlobs, PrintOptions, parse, print};
use mlpackage::Package;

/// One for each dialect, with and without compressed weights.
const PACKAGES: [&str; 4] = [
    "tiny-sd15/split_einsum/Stable_Diffusion_version_tiny-sd15_text_encoder",
    "tiny-sd15/macos14/Stable_Diffusion_version_tiny-sd15_text_encoder",
    "tiny-sd15/q4/Stable_Diffusion_version_tiny-sd15_unet",
    "tiny-sd15/ios18_q4/Stable_Diffusion_version_tiny-sd15_unet",
];

#[test]
fn printed_packages_parse_as_the_same_program() {
    let Some(golden) = testkit::golden() else { return };
    for name in PACKAGES {
        let package = Package::open(golden.join("packages").join(format!("{name}.mlpackage"))).unwrap();
        let program = package.model().program().unwrap();
        let printed = print(program, &PrintOptions::default());
        let again = parse(&printed.text, &printed.blobs).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(again == *program, "{name} is another program after its text was parsed");
        assert!(printed.text.contains(r#""@model_path/weights/weight.bin""#));
        assert!(parse(&printed.text, &NoBlobs).is_err());
    }
}
