//! `smelt recipe`: which weight is stored how, made of what `smelt analyse` measured.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use safe_files::{OutputFile, Outputs};
use smelt::compression::Named;
use smelt::{Analysis, RecipeRequest, Recipes};

use crate::cli::{RecipeArgs, RecipeForm, goal};
use crate::file;
use crate::report::{Report, Table, bytes, decibels};

/// What the form of Apple's recipes has.
const APPLES: [&str; 5] = ["1", "2", "4", "6", "8"];
const USUAL_COUNT: u16 = 7;

pub(super) fn run(args: &RecipeArgs, report: &Report) -> Result<ExitCode> {
    let mut outputs = Outputs::new();
    outputs.reads("the analysis", &args.analysis)?;
    let mut name = |option: &str, path: &Option<_>| -> Result<Option<OutputFile>> {
        Ok(path.as_deref().map(|path: &Path| outputs.file(option, path)).transpose()?)
    };
    let (output, plot) = (name("-o", &args.output)?, name("--plot", &args.plot)?);
    if args.plot.as_deref().is_some_and(|path| !is_svg(path)) {
        bail!("--plot draws SVG: give a name that ends with .svg, or -");
    }
    report.make_way(&outputs)?;
    let analysis = Analysis::read(&args.analysis)?;
    let recipes =
        Recipes::new(analysis, &request(args)?).with_context(|| format!("no recipe of {}", args.analysis.display()))?;
    let json = match args.form {
        RecipeForm::Smelt => recipes.to_json(),
        RecipeForm::Apple => recipes.to_apple_json()?,
    };
    if let Some(output) = &output {
        let text = serde_json::to_string_pretty(&json)? + "\n";
        file::write(output, |out| Ok(out.write_all(text.as_bytes())?))?;
    }
    if let Some(plot) = &plot {
        let svg = recipes.to_svg();
        file::write(plot, |out| Ok(out.write_all(svg.as_bytes())?))?;
    }
    tell(&recipes, [&output, &plot], report);
    report.json(&recipes.recipes)?;
    Ok(ExitCode::SUCCESS)
}

fn is_svg(path: &Path) -> bool {
    safe_files::is_stream(path) || path.extension().is_some_and(|e| e.eq_ignore_ascii_case("svg"))
}

fn request(args: &RecipeArgs) -> Result<RecipeRequest> {
    let goal = goal(args.mean_bits, args.fit, args.psnr);
    let mut schemes = args.schemes.clone();
    if schemes.is_empty() && args.form == RecipeForm::Apple {
        schemes = APPLES.iter().map(|name| Ok(name.parse::<Named>()?)).collect::<Result<_>>()?;
    }
    Ok(RecipeRequest { goal, count: args.count.unwrap_or(USUAL_COUNT).into(), schemes })
}

fn tell(recipes: &Recipes, written: [&Option<OutputFile>; 2], report: &Report) {
    let mut table = Table::new(2, "<>>><");
    for recipe in &recipes.recipes {
        let chosen = recipe.counts.iter().map(|(scheme, n)| format!("{scheme} for {n}")).collect::<Vec<_>>().join(", ");
        let quality = decibels(recipe.psnr_db.unwrap_or(f64::INFINITY));
        let bits = format!("{:.2} bits a weight", recipe.mean_bits);
        table.row([recipe.name.clone(), bits, bytes(recipe.bytes), quality, chosen]);
        if recipe.gap > 0.0 {
            report
                .warn(format_args!("{} may not be the very best: its loss is proven to {:e}", recipe.name, recipe.gap));
        }
    }
    report.text(table);
    for output in written.into_iter().flatten() {
        report.line(format_args!("wrote {output}"));
    }
}
