//! `smelt quantize`: weights and activations of 8 bits.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use smelt::compression::Goal;
use smelt::{Quantization, QuantizationReport, QuantizedLayer, decibels};

use crate::cli::{QuantizeArgs, existing};
use crate::interrupt;
use crate::report::{Report, Table, bytes, count, seconds};
use crate::screen::Screen;

pub(super) fn run(args: &QuantizeArgs, report: &Report) -> Result<ExitCode> {
    let quantization = Quantization {
        calibration: args.calibration.clone(),
        ranges: args.ranges,
        goal: goal(args),
        measured: args.measure.into(),
        memory: usize::try_from(args.memory).unwrap_or(usize::MAX),
        existing: existing(args.force),
    };
    let plan = quantization.plan(&args.package, &args.output)?;
    report.make_way(plan.outputs())?;
    let quantized = plan.run(&interrupt::stop(), &mut Screen::new(report))?;
    tell(&quantized, report);
    report.json(&quantized)?;
    Ok(ExitCode::SUCCESS)
}

const fn goal(args: &QuantizeArgs) -> Goal {
    match (args.psnr, args.share) {
        (Some(floor), _) => Goal::Floor(floor),
        (None, Some(share)) => Goal::Share(share),
        (None, None) => Goal::Thresholds { layers: args.conv_psnr, attention: args.attn_psnr },
    }
}

fn tell(quantized: &QuantizationReport, report: &Report) {
    let kept: Vec<&QuantizedLayer> = quantized.layers.iter().filter(|layer| !layer.quantized).collect();
    let mut table = Table::new(2, "<<>>");
    for layer in &kept {
        let why = match layer.psnr_db {
            _ if layer.by_rule => "by its name".to_owned(),
            Some(psnr) => format!("{psnr:.1} dB alone"),
            None => String::new(),
        };
        table.row([layer.name.clone(), layer.operations.clone(), why, format!("{:.1} %", layer.share * 100.0)]);
    }
    if !kept.is_empty() {
        report.line(format_args!("activations of 16 bits: {}", count(kept.len(), "layer")));
        report.text(table);
    }
    report.line(format_args!(
        "wrote {}: {} instead of {}; {} of {} with activations of 8 bits, {:.1} % of the work; {} on {}, in {}",
        quantized.path,
        bytes(quantized.bytes),
        bytes(quantized.bytes_before),
        quantized.layers.len() - kept.len(),
        count(quantized.layers.len(), "layer"),
        quantized.share * 100.0,
        decibels(quantized.psnr_db),
        count(quantized.measured, "sample"),
        seconds(Duration::from_secs_f64(quantized.seconds))
    ));
}
