//! Two folders of packages, before and after a compression, on one page: pictures of the same seeds side by side, what each
//! component loses, the bits of each weight, sizes and the memory that a device needs.

mod page;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use mil_compress::{StoredWeight, stored_weights};
use safe_files::{Existing, OutputFile};
use sd_engines::{MilEngine, Rounding};
use sd_runtime::image::Difference;
use serde::Serialize;

use crate::error::{Context, Error, Result, refuse};
use crate::load::PipelineOptions;
use crate::model_dir;
use crate::open::{Opened, open};
use crate::package::open_package;
use crate::picture::Picture;
use crate::request::Request;
use crate::verify::Verification;
use crate::watch::{self, Watch, write_file};

/// What is compared, and how.
#[derive(Debug, Clone)]
pub struct SideBySide {
    /// What pictures show.
    pub prompts: Vec<String>,
    /// How they are drawn. Its prompt is not used, and its seed is that of the first; each has the next one.
    pub request: Request,
    /// How both models are loaded.
    pub options: PipelineOptions,
    /// What happens to a page that is there already.
    pub existing: Existing,
}

/// What was found.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct SideBySideReport {
    /// The page.
    pub path: String,
    /// The folder of packages before.
    pub before: String,
    /// The folder after.
    pub after: String,
    /// Every picture.
    pub pictures: Vec<ComparedPicture>,
    /// Mean ratio of all pictures that differ, in dB.
    pub psnr_db: Option<f64>,
    /// Every component that both have.
    pub components: Vec<ComparedComponent>,
    /// Components that only one folder has.
    pub only_in_one: Vec<String>,
    /// Bytes of all components.
    pub bytes: [u64; 2],
    /// Bytes that a device needs when all components are loaded, estimated: weights as they are stored, and the results
    /// of the component that has most, in half precision.
    pub memory_bytes: [u64; 2],
    /// Time for everything.
    pub seconds: f64,
}

/// A picture, drawn by both.
#[derive(Debug, Clone, Serialize)]
pub struct ComparedPicture {
    /// What it shows.
    pub prompt: String,
    /// Its seed.
    pub seed: u64,
    /// How near both are, in dB; null when they are the same.
    pub psnr_db: Option<f64>,
    /// Both, as PNG.
    #[serde(skip)]
    png: [Vec<u8>; 2],
}

/// A component of both.
#[derive(Debug, Clone, Serialize)]
pub struct ComparedComponent {
    /// Its role.
    pub role: String,
    /// Bytes of the packages.
    pub bytes: [u64; 2],
    /// Bits for each element of a weight.
    pub bits: [f64; 2],
    /// Bytes of what it computes, in half precision.
    pub result_bytes: [u64; 2],
    /// The lowest ratio of its outputs on random inputs, in dB; null when they are the same.
    pub psnr_db: Option<f64>,
    /// The weights afterwards.
    #[serde(skip)]
    weights: Vec<StoredWeight>,
}

impl SideBySide {
    /// Compares, and writes the page: HTML that needs nothing from outside.
    ///
    /// # Errors
    /// For what are no folders of packages that both draw, and a page that is there already.
    pub fn run(
        &self,
        (before, after): (&Path, &Path),
        output: &OutputFile,
        watch: &mut dyn Watch,
    ) -> Result<SideBySideReport> {
        let begin = Instant::now();
        self.check(output)?;
        let opened = [open_packages(before)?, open_packages(after)?];
        let found = [components(&opened[0])?, components(&opened[1])?];
        let mut compared = Vec::new();
        watch::begin(watch, "comparing")?;
        for (role, theirs) in &found[0] {
            if let Some(ours) = found[1].get(role) {
                compared.push(component(role, [theirs, ours], watch)?);
            }
        }
        watch::end(watch)?;
        let is_alone = |side: usize, role: &&String| !found[1 - side].contains_key(*role);
        let only_in_one = (0..2).flat_map(|side| found[side].keys().filter(move |role| is_alone(side, role)));
        let pictures = self.pictures(&opened, watch)?;
        let psnrs: Vec<f64> = pictures.iter().filter_map(|picture| picture.psnr_db).collect();
        let mut report = SideBySideReport {
            path: output.path().display().to_string(),
            before: before.display().to_string(),
            after: after.display().to_string(),
            psnr_db: (!psnrs.is_empty()).then(|| psnrs.iter().sum::<f64>() / psnrs.len() as f64),
            only_in_one: only_in_one.cloned().collect(),
            bytes: [0, 1].map(|side| compared.iter().map(|c| c.bytes[side]).sum()),
            memory_bytes: [0, 1].map(|side| memory(&compared, side)),
            pictures,
            components: compared,
            seconds: 0.0,
        };
        let page = page::write(&report);
        write_file(output, watch, |out| Ok(out.write_all(page.as_bytes())?))?;
        report.seconds = begin.elapsed().as_secs_f64();
        Ok(report)
    }

    /// Refuses what is known to be impossible before a model is opened.
    fn check(&self, output: &OutputFile) -> Result<()> {
        if self.prompts.is_empty() {
            refuse!("there is no prompt to draw with");
        }
        if self.existing == Existing::Refuse && output.is_regular() && output.path().exists() {
            return Err(Error::Exists(format!("{output} is there already; replace it with --force")));
        }
        self.request.check()
    }

    /// Draws every prompt with both, one model after the other.
    fn pictures(&self, opened: &[Opened; 2], watch: &mut dyn Watch) -> Result<Vec<ComparedPicture>> {
        let requests: Vec<Request> = self
            .prompts
            .iter()
            .zip(self.request.seed..)
            .map(|(prompt, seed)| Request { prompt: prompt.clone(), seed, count: 1, ..self.request.clone() })
            .collect();
        let [before, after] = [&opened[0], &opened[1]].map(|opened| self.draw(opened, &requests, watch));
        let pairs = requests.iter().zip(before?.into_iter().zip(after?));
        let compare = |(request, (before, after)): (&Request, (Picture, Picture))| {
            let psnr_db = Difference::between(&before.image, &after.image)?.psnr_db;
            let png = |picture: &Picture| -> Result<Vec<u8>> {
                let mut bytes = Vec::new();
                picture.write_png(&mut bytes)?;
                Ok(bytes)
            };
            Ok(ComparedPicture {
                prompt: request.prompt.clone(),
                seed: request.seed,
                psnr_db: Some(psnr_db).filter(|db| db.is_finite()),
                png: [png(&before)?, png(&after)?],
            })
        };
        pairs.map(compare).collect()
    }

    fn draw(&self, opened: &Opened, requests: &[Request], watch: &mut dyn Watch) -> Result<Vec<Picture>> {
        let mut pipeline = opened.pipeline(&self.options)?;
        let mut pictures = Vec::new();
        for request in requests {
            pictures.extend(pipeline.draw(request, watch)?.pictures);
        }
        Ok(pictures)
    }
}

fn open_packages(path: &Path) -> Result<Opened> {
    let opened = open(path.to_owned())?;
    if !opened.is_packages() {
        refuse!(
            "{} is a checkpoint, whose size and memory are not a package's; convert it first: smelt convert {} -o DIR",
            path.display(),
            path.display()
        );
    }
    Ok(opened)
}

/// The package of each role; several of one role, for several sizes, share their weights, and the first stands for them.
fn components(opened: &Opened) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    for path in model_dir::packages(opened.root())? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(role) = model_dir::role_of(&name) {
            found.entry(role.name().to_owned()).or_insert(path);
        }
    }
    Ok(found)
}

fn component(role: &str, paths: [&PathBuf; 2], watch: &mut dyn Watch) -> Result<ComparedComponent> {
    let looked = [look(paths[0])?, look(paths[1])?];
    let verification = Verification {
        role: None,
        // Values as they are declared, but for the devices' rounding of each result, which would take its time twice.
        rounding: Some(Rounding::Boundary),
        ..Verification::default()
    };
    let verified = verification.run(paths[1], &paths[0].clone().into(), watch)?;
    let lowest = verified.outputs.iter().filter_map(|output| output.psnr_db).reduce(f64::min);
    let [before, after] = looked;
    Ok(ComparedComponent {
        role: role.to_owned(),
        bytes: [before.bytes, after.bytes],
        bits: [bits(&before.weights), bits(&after.weights)],
        result_bytes: [before.result_bytes, after.result_bytes],
        psnr_db: lowest,
        weights: after.weights,
    })
}

/// What a package says of itself.
struct Looked {
    bytes: u64,
    result_bytes: u64,
    weights: Vec<StoredWeight>,
}

fn look(path: &Path) -> Result<Looked> {
    let package = open_package(path)?;
    let engine = MilEngine::from_model(package.model(), sd_engines::Executor::default());
    let plans = engine.with_context(|| format!("cannot run {}", path.display()))?.plans();
    // Here results are in single precision, on devices in half.
    let result_bytes = plans.iter().map(|(_, plan)| plan.arena_bytes as u64 / 2).max().unwrap_or_default();
    let weights = package.model().programs().into_iter().flat_map(stored_weights);
    let weights = weights.filter(|w| w.shape.len() >= 2).collect();
    Ok(Looked { bytes: package.n_bytes(), result_bytes, weights })
}

fn bits(weights: &[StoredWeight]) -> f64 {
    let (bytes, n) = weights.iter().fold((0, 0), |(b, n), w| (b + w.bytes, n + w.len()));
    bytes as f64 * 8.0 / n.max(1) as f64
}

fn memory(components: &[ComparedComponent], side: usize) -> u64 {
    let results = components.iter().map(|c| c.result_bytes[side]).max().unwrap_or_default();
    components.iter().map(|c| c.bytes[side]).sum::<u64>() + results
}
