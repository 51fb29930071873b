//! The model in the box as packages, what its UNet is given in real runs, what each width of each weight loses, and its pictures.

use std::path::{Path, PathBuf};

use serde::Serialize;
use smelt::{
    Analysing, Analysis, Calibration, Compression, Conversion, Existing, PipelineOptions, PromptSet, Request, Role,
    Stop, Target, Unwatched, image::Difference, image::RgbImage,
};

use crate::{Error, Result};

/// Samples that codes are calibrated with.
const SAMPLES: usize = 64;
/// Those that weights are analysed with.
const ANALYSED: usize = 16;
/// Guidance that suits the model.
const GUIDANCE: f32 = 4.0;
const STEPS: usize = 20;
/// The seed of the first picture to calibrate with; pictures to judge by have those from 1 on.
const CALIBRATION_SEED: u64 = 1000;
/// What is drawn: names that the model learned, none of which it is calibrated with.
const NAMES: [&str; 20] = [
    "red heart",
    "ghost",
    "owl",
    "cactus",
    "strawberry",
    "castle",
    "trophy",
    "hammer",
    "face savoring food",
    "hot face",
    "hear-no-evil monkey",
    "thought balloon",
    "camel",
    "rooster",
    "scorpion",
    "broccoli",
    "green salad",
    "ferris wheel",
    "closed book",
    "gear",
];

/// What the model is measured with.
pub(crate) struct Ground {
    folder: PathBuf,
    /// The UNet in half precision.
    pub(crate) unet: PathBuf,
    /// What it is given in real runs.
    pub(crate) samples: PathBuf,
    /// What palettes of 1, 2, 3, 4, 6 and 8 bits lose.
    pub(crate) analysis: PathBuf,
    /// Pictures of the packages in half precision.
    clean: Vec<RgbImage>,
}

/// Pictures of one way to store the UNet against those in half precision.
#[derive(Debug, Serialize)]
pub(crate) struct Pictures {
    /// Bits of a weight, palettes included.
    bits: f64,
    /// PSNR of the pixels of each picture.
    db: Vec<f64>,
}

impl Ground {
    /// Converts, calibrates, analyses and draws; the folder must be there and empty.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let whole = folder.join("whole");
        convert(&whole, &[Role::TextEncoder, Role::UNet, Role::VaeDecoder])?;
        let is_unet = |path: &PathBuf| path.to_string_lossy().contains("unet");
        let unet = smelt::packages(&whole)?.into_iter().find(is_unet).ok_or("the conversion made no UNet")?;
        let samples = folder.join("samples.safetensors");
        let calibration = Calibration {
            samples: Some(SAMPLES),
            request: Request { seed: CALIBRATION_SEED, ..request("") },
            ..Calibration::new(PromptSet::Calibration.demo())
        };
        let options = PipelineOptions::default();
        let model = smelt::open(whole.clone())?;
        model.calibrate(&calibration, &options, &output(&samples)?, &Stop::never(), &mut Unwatched)?;
        let analysis = folder.join("analysis.json");
        let analysing =
            Analysing { calibration: Some(samples.clone()), samples: Some(ANALYSED), ..Analysing::default() };
        analysing.run(&unet.clone().into(), &output(&analysis)?, &Stop::never(), &mut Unwatched)?;
        let clean = draw(&whole)?;
        Ok(Self { folder: folder.to_owned(), unet, samples, analysis, clean })
    }

    /// Elements of all weights that are compressed.
    pub(crate) fn n_elements(&self) -> Result<usize> {
        Ok(Analysis::read(&self.analysis)?.weights.iter().map(|w| w.shape.iter().product::<usize>()).sum())
    }

    /// Compresses the UNet, and draws with it.
    pub(crate) fn pictures(&self, name: &str, how: Compression) -> Result<Pictures> {
        let folder = self.folder.join(name);
        convert(&folder, &[Role::TextEncoder, Role::VaeDecoder])?;
        let to = folder.join(self.unet.file_name().ok_or("the UNet has no name")?);
        let report = how.plan(&self.unet, &to)?.run(&mut Unwatched)?;
        let [package] = &report.packages[..] else { return Err("one package was to be compressed".into()) };
        let db = |(a, b)| Ok(Difference::between(a, b)?.psnr_db);
        let db = self.clean.iter().zip(&draw(&folder)?).map(db).collect::<Result<_>>()?;
        Ok(Pictures { bits: package.weights.average_bits, db })
    }
}

/// Components of the model in the box as packages for a system that has every palette.
fn convert(to: &Path, roles: &[Role]) -> Result<()> {
    let conversion = Conversion {
        roles: roles.to_vec(),
        target: Target::MacOs15,
        existing: Existing::Replace,
        ..Conversion::default()
    };
    smelt::open(testkit::demo())?.convert(to, &conversion, &mut Unwatched)?;
    Ok(())
}

fn request(words: &str) -> Request {
    Request { steps: STEPS, guidance: GUIDANCE, ..Request::new(words) }
}

fn draw(model: &Path) -> Result<Vec<RgbImage>> {
    let mut pipeline = smelt::open(model.to_owned())?.pipeline(&PipelineOptions::default())?;
    let one = |(words, seed): (&&str, u64)| -> Result<RgbImage> {
        let mut drawing = pipeline.draw(&Request { seed, ..request(words) }, &mut Unwatched)?;
        Ok(drawing.pictures.pop().ok_or("nothing was drawn")?.image)
    };
    NAMES.iter().zip(1..).map(one).collect()
}

fn output(path: &Path) -> std::result::Result<safe_files::OutputFile, Error> {
    Ok(safe_files::Outputs::new().file("-o", path)?)
}
