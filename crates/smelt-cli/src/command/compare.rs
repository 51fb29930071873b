//! `smelt compare`: pictures against the first of them, and all of them side by side.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use safe_files::Outputs;
use serde::Serialize;
use smelt::image::{Difference, RgbImage, Similarity};

use crate::cli::CompareArgs;
use crate::file;
use crate::report::{Report, Table, count, decibels};
use smelt::sheet::Cell;

/// What `--json` prints.
#[derive(Serialize)]
struct Summary {
    min_psnr_db: Option<f64>,
    passed: bool,
    /// In the order of the arguments; the first is what the others are compared with.
    pictures: Vec<Compared>,
    grid: Option<String>,
}

#[derive(Serialize)]
struct Compared {
    path: String,
    width: usize,
    height: usize,
    /// Null for the first picture, and for those of another size.
    difference: Option<Apart>,
}

#[derive(Serialize)]
struct Apart {
    /// Null when the pictures are identical.
    psnr_db: Option<f64>,
    identical: bool,
    max: u8,
    mean: f64,
    share_of_pixels: f64,
    /// Null for pictures too small for its window.
    ssim: Option<f64>,
    ms_ssim: Option<f64>,
    passed: bool,
}

/// How far a picture is from the first, and how alike the two look where they are large enough to tell.
struct Distance {
    difference: Difference,
    similarity: Option<Similarity>,
}

pub(super) fn run(args: &CompareArgs, report: &Report) -> Result<ExitCode> {
    let mut outputs = Outputs::new();
    args.pictures.iter().try_for_each(|path| outputs.reads("the picture", path))?;
    let view = args.view.prepare(&mut outputs)?;
    report.make_way(&outputs)?;
    let images = args.pictures.iter().map(|path| Ok(smelt::read_picture(path)?)).collect::<Result<Vec<_>>>()?;
    check(args, &images, view.is_wanted())?;
    let distance = |(i, image): (usize, &RgbImage)| Distance::between(&images[0], image).filter(|_| i > 0);
    let distances: Vec<Option<Distance>> = images.iter().enumerate().map(distance).collect();
    let threshold = args.min_psnr.unwrap_or(f64::NEG_INFINITY);
    let passed = distances.iter().flatten().all(|d| d.difference.psnr_db >= threshold);
    tell(args, &images, &distances, report);

    let captions = captions(args, &distances);
    let cells: Vec<Cell<'_>> = images.iter().zip(captions).map(|(image, caption)| Cell { image, caption }).collect();
    let grid = view.finish(&cells, None, report)?;

    let pictures = args.pictures.iter().zip(&images).zip(&distances);
    report.json(&Summary {
        min_psnr_db: args.min_psnr,
        passed,
        pictures: pictures.map(|((path, image), d)| Compared::of(path, image, d.as_ref(), threshold)).collect(),
        grid,
    })?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Refuses what there is nothing to do for, and pictures that cannot be compared; side by side they may differ in size.
fn check(args: &CompareArgs, images: &[RgbImage], is_viewed: bool) -> Result<()> {
    if images.len() < 2 && (!is_viewed || args.min_psnr.is_some() || args.psnr) {
        bail!("there is one picture and nothing to compare it with; give another, or --grid FILE or --show alone");
    }
    let size = |image: &RgbImage| (image.width(), image.height());
    let other = images.iter().position(|image| size(image) != size(&images[0]));
    if let Some(idx) = other.filter(|_| !is_viewed || args.min_psnr.is_some()) {
        bail!(
            "{} is {}x{}, but {} is {}x{}; only pictures of one size are compared (--grid alone takes any)",
            args.pictures[idx].display(),
            images[idx].width(),
            images[idx].height(),
            args.pictures[0].display(),
            images[0].width(),
            images[0].height()
        );
    }
    if !args.captions.is_empty() && !is_viewed {
        bail!("--captions are for --grid or --show");
    }
    if args.psnr && !is_viewed {
        bail!("--psnr is for the captions of --grid or --show; without them the ratio is printed anyway");
    }
    if !args.captions.is_empty() && args.captions.len() != images.len() {
        let (captions, pictures) = (count(args.captions.len(), "caption"), count(images.len(), "picture"));
        bail!("there are {captions} for {pictures}; a comma separates one from the next");
    }
    Ok(())
}

/// The given captions or the files' names, and the ratio below them if it was asked for.
fn captions(args: &CompareArgs, distances: &[Option<Distance>]) -> Vec<Vec<String>> {
    let names = args.pictures.iter().enumerate();
    let names = names.map(|(i, path)| args.captions.get(i).map_or_else(|| file::stem(path), |c| c.trim().to_owned()));
    let ratio = |d: &Option<Distance>| d.as_ref().filter(|_| args.psnr).map(|d| decibels(d.difference.psnr_db));
    names.zip(distances).map(|(name, d)| std::iter::once(name).chain(ratio(d)).collect()).collect()
}

fn tell(args: &CompareArgs, images: &[RgbImage], distances: &[Option<Distance>], report: &Report) {
    if images.len() < 2 {
        return;
    }
    let mut table = Table::new(2, "<>>>>>><");
    table.row(["", "PSNR", "SSIM", "MS-SSIM", "largest", "mean", "pixels", ""].map(str::to_owned));
    let alike = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"));
    for ((path, image), distance) in args.pictures.iter().zip(images).zip(distances).skip(1) {
        let path = path.display().to_string();
        table.row(match distance {
            Some(Distance { difference: d, similarity }) => [
                path,
                decibels(d.psnr_db),
                alike(similarity.map(|s| s.ssim)),
                alike(similarity.map(|s| s.ms_ssim)),
                d.max.to_string(),
                format!("{:.2}", d.mean),
                format!("{:.1} %", 100.0 * d.share_of_pixels),
                if args.min_psnr.is_some_and(|least| d.psnr_db < least) { "too low" } else { "" }.to_owned(),
            ],
            None => [
                path,
                format!("{}x{}", image.width(), image.height()),
                "".into(),
                "".into(),
                "".into(),
                "".into(),
                "".into(),
                "another size".into(),
            ],
        });
    }
    report.line(format_args!(
        "against {}, differences of 8-bit values, share of pixels that differ:",
        args.pictures[0].display()
    ));
    report.text(table);
}

impl Distance {
    fn between(first: &RgbImage, other: &RgbImage) -> Option<Self> {
        let difference = Difference::between(first, other).ok()?;
        Some(Self { difference, similarity: Similarity::between(first, other).ok() })
    }
}

impl Compared {
    fn of(path: &Path, image: &RgbImage, distance: Option<&Distance>, threshold: f64) -> Self {
        let apart = |Distance { difference: d, similarity }: &Distance| Apart {
            psnr_db: Some(d.psnr_db).filter(|db| db.is_finite()),
            identical: d.max == 0,
            max: d.max,
            mean: d.mean,
            share_of_pixels: d.share_of_pixels,
            ssim: similarity.map(|s| s.ssim),
            ms_ssim: similarity.map(|s| s.ms_ssim),
            passed: d.psnr_db >= threshold,
        };
        Self {
            path: path.display().to_string(),
            width: image.width(),
            height: image.height(),
            difference: distance.map(apart),
        }
    }
}
