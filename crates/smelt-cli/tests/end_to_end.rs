//! The demo model, the whole way: checkpoint → packages → CPU engine → pictures that a person recognises.
//!
//! What it must draw lies in `tests/pictures`; `UPDATE_EXPECT=1` writes it anew, for a look at what changed.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and prints its table")]

mod common;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use common::{command, read_picture, succeed, text};
use sd_runtime::image::{Difference, RgbImage};
use testkit::demo;

/// Prompts and seeds.
const DRAWN: [(&str, &str, u32); 3] =
    [("heart", "a red heart", 8), ("sunglasses", "smiling face with sunglasses", 8), ("rocket", "a rocket", 8)];

/// Packages in half precision.
static PACKAGES: LazyLock<PathBuf> = LazyLock::new(|| {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("end-to-end");
    succeed(["convert", &text(demo()), "-o", &text(&dir), "--force"]);
    dir
});

/// Draws one of [`DRAWN`] with an instruction set and a number of threads; `None` if the machine has no such set.
fn draw(models: &Path, prompt: &str, seed: u32, isa: Option<&str>, threads: &str) -> Option<RgbImage> {
    let dir = tempfile::tempdir().unwrap();
    let (models, output, seed) = (text(models), text(dir.path().join("x.png")), seed.to_string());
    let mut command = command(["generate", prompt, "-m", &models, "-o", &output, "--seed", &seed]);
    command.args(["--guidance", "4", "--steps", "20", "--threads", threads]);
    if let Some(isa) = isa {
        command.env("SMELT_ISA", isa);
    }
    let ran = command.output().unwrap();
    let message = String::from_utf8_lossy(&ran.stderr);
    if isa.is_some() && !ran.status.success() && message.contains("SMELT_ISA") {
        println!("skipped: {}", message.trim());
        return None;
    }
    assert!(ran.status.success(), "{message}");
    Some(read_picture(&output))
}

fn decibels(reference: &RgbImage, got: &RgbImage) -> f64 {
    Difference::between(reference, got).unwrap().psnr_db
}

#[test]
fn the_demo_draws_what_it_drew_on_every_instruction_set() {
    let mut n_compared = 0;
    for (name, prompt, seed) in DRAWN {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/pictures/{name}.png"));
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            let drawn = draw(&PACKAGES, prompt, seed, None, "1").unwrap();
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            drawn.write_png(std::fs::File::create(&path).unwrap(), &[]).unwrap();
        }
        let wanted = read_picture(&path);
        for isa in ["portable", "avx2", "avx512"] {
            let Some(drawn) = draw(&PACKAGES, prompt, seed, Some(isa), "1") else { continue };
            let psnr = decibels(&wanted, &drawn);
            println!("{name}, {isa}: {psnr:.1} dB");
            assert!(psnr >= 35.0, "{name} on {isa}: {psnr:.1} dB; UPDATE_EXPECT=1 writes what is drawn now");
            n_compared += 1;
            // Portable code is slow, and work is cut by shape alone whatever the instruction set.
            if isa != "portable" {
                let others = draw(&PACKAGES, prompt, seed, Some(isa), "3").unwrap();
                assert!(drawn == others, "{name} on {isa}: the number of threads changes the picture");
            }
        }
    }
    assert!(n_compared >= DRAWN.len(), "at least portable code runs anywhere");
}

#[test]
fn six_bits_draw_the_same_pictures() {
    let dir = tempfile::tempdir().unwrap();
    for bits in ["6", "4", "2"] {
        let small = dir.path().join(bits);
        succeed(["compress", &text(&*PACKAGES), "-o", &text(&small), "--bits", bits]);
        for (name, prompt, seed) in DRAWN {
            let whole = draw(&PACKAGES, prompt, seed, None, "2").unwrap();
            let psnr = decibels(&whole, &draw(&small, prompt, seed, None, "2").unwrap());
            println!("{name}, {bits} bits: {psnr:.1} dB");
            assert!(bits != "6" || psnr >= 30.0, "{name} with 6 bits: {psnr:.1} dB");
        }
    }
}
