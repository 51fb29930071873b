//! How large packages will be that are not there yet.

use mil_compress::Plan;
use mlpackage::{Body, Stage, planned_after, planned_pipeline};

use super::Part;
use crate::error::{Result, refuse};

/// Bytes of all files of a package that is compressed by these plans; at most, because equal palettes lie once.
pub(super) fn planned(part: &Part<'_>, plans: &[Plan]) -> Result<u64> {
    let model = part.model();
    if plans.iter().all(Plan::is_empty) {
        // The package is written as it is.
        return Ok(part.package.n_bytes() + MANIFEST_BYTES);
    }
    let outlines = model.programs().into_iter().zip(plans).map(|(program, plan)| Ok(plan.outline(program)?));
    let outlines = outlines.collect::<Result<Vec<_>>>()?;
    match &model.body {
        Body::Program(_) => {
            let Some((program, tensors)) = outlines.first() else { refuse!("{} has no program", part.name) };
            Ok(planned_after(mil::validate(program)?, &model.description, tensors)?)
        }
        Body::Pipeline(models) => {
            let mut stages = Vec::new();
            for (stage, (program, _)) in models.iter().zip(&outlines) {
                let (name, description) = (stage.name.as_str(), &stage.model.description);
                stages.push(Stage { name, program: mil::validate(program)?, description });
            }
            Ok(planned_pipeline(&stages, &model.description)?)
        }
    }
}

/// Manifests are shorter.
const MANIFEST_BYTES: u64 = 1 << 10;
