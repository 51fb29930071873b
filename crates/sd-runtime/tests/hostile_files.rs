//! Files from outside never bring the program down.

use std::io::Cursor;
use std::time::Duration;

use image::{DynamicImage, ImageFormat};
use sd_runtime::image::{PngText, RgbImage, read_png_text};
use sd_runtime::rng::NumpyRandom;
use sd_runtime::scheduler::{SchedulerConfig, SchedulerKind};

#[test]
fn scheduler_configurations_never_panic() {
    let full = br#"{"_class_name": "DPMSolverMultistepScheduler", "_use_default_values": ["steps_offset"], "beta_start": 0.00085,
        "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 40, "timestep_spacing": "trailing",
        "rescale_betas_zero_snr": true, "use_karras_sigmas": true, "lambda_min_clipped": -Infinity, "steps_offset": 1,
        "final_sigmas_type": "sigma_min", "sigma_min": 0.1, "solver_type": "heun", "prediction_type": "v_prediction"}"#;
    let betas = br#"{"trained_betas": [0.0, 0.0, 0.5, 0.999], "num_train_timesteps": 4, "lambda_min_clipped": 5.1}"#;
    let flow = br#"{"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0, "shift_terminal": 0.1, "num_train_timesteps": 40,
        "use_karras_sigmas": true, "stochastic_sampling": true, "invert_sigmas": false, "time_shift_type": "linear"}"#;
    let edm = br#"{"_class_name": "EDMDPMSolverMultistepScheduler", "sigma_min": 0.002, "sigma_max": 80.0, "rho": 7.0,
        "sigma_data": 0.5, "sigma_schedule": "exponential", "num_train_timesteps": 40, "solver_order": 3}"#;
    let solver = br#"{"_class_name": "UniPCMultistepScheduler", "use_flow_sigmas": true, "flow_shift": 3.0, "solver_order": 3,
        "prediction_type": "flow_prediction", "num_train_timesteps": 40, "disable_corrector": [0, 1], "thresholding": true,
        "dynamic_thresholding_ratio": 0.9, "use_beta_sigmas": false, "original_inference_steps": 20}"#;
    let corpus: [&[u8]; 5] = [full, betas, flow, edm, solver];
    let calls = testkit::fuzz::run_for(Duration::from_millis(700), &corpus, |bytes| {
        let Ok(config) = SchedulerConfig::from_json(&String::from_utf8_lossy(bytes)) else { return };
        // Large schedules are legal but slow; the arithmetic is the same in small ones.
        if config.num_train_timesteps > 5000 {
            return;
        }
        for kind in SchedulerKind::ALL.into_iter().map(Some).chain([None]) {
            for n in [1, 2, 3, 40] {
                let Ok(mut scheduler) = config.build_from(kind, n, n / 3) else { continue };
                let mut sample = [0.5f32];
                for i in 0..scheduler.timesteps().len() {
                    scheduler.scale_model_input(i, &mut sample);
                    scheduler.step(i, &[0.1], &mut sample, &mut NumpyRandom::new(0)).ok();
                }
            }
        }
    });
    assert!(calls > 100, "{calls} calls");
}

#[test]
fn png_texts_never_panic() {
    let mut file = Vec::new();
    let image = RgbImage::new(2, 1, vec![1; 6]).expect("six bytes");
    let texts = [PngText::new("parameters", "a"), PngText::new("smelt", "日本")];
    image.write_png(&mut file, &texts).expect("a small picture");
    let calls = testkit::fuzz::run_for(Duration::from_millis(300), &[&file], |bytes| {
        read_png_text(Cursor::new(bytes)).ok();
    });
    assert!(calls > 100, "{calls} calls");
}

#[test]
fn pictures_of_every_format_never_panic() {
    let colours = (0..12 * 9 * 3).map(|i| (i * 7 % 251) as u8).collect();
    let rgb = DynamicImage::ImageRgb8(image::RgbImage::from_raw(12, 9, colours).expect("324 bytes"));
    let rgba = DynamicImage::ImageRgba8(rgb.to_rgba8());
    let file = |picture: &DynamicImage, format: ImageFormat| {
        let mut file = Cursor::new(Vec::new());
        picture.write_to(&mut file, format).expect("a small picture");
        file.into_inner()
    };
    let formats = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP];
    let mut files: Vec<Vec<u8>> = formats.iter().map(|format| file(&rgb, *format)).collect();
    files.extend([file(&rgba, ImageFormat::Png), file(&rgba, ImageFormat::WebP)]);
    let corpus: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
    let calls = testkit::fuzz::run_for(Duration::from_millis(700), &corpus, |bytes| {
        if let Ok((picture, alpha)) = RgbImage::read_with_alpha(Cursor::new(bytes)) {
            assert_eq!(picture.pixels().len(), picture.width() * picture.height() * 3);
            assert!(alpha.is_none_or(|alpha| alpha.size() == picture.size()));
        }
    });
    assert!(calls > 100, "{calls} calls");
}
