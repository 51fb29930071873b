//! A plan whose schemes are chosen weight by weight, once it is known which weights there are.

use crate::{
    CompressError, Config, Plan, Scheme,
    lower::check,
    select::{Job, Weight},
};
use host_tensor::DType;
use mil::Program;

/// A weight of a plan.
#[derive(Debug, Clone, Copy)]
pub struct PlannedWeight<'p> {
    /// Name in the program.
    pub name: &'p str,
    /// Type of its values.
    pub dtype: DType,
    /// Shape.
    pub shape: &'p [usize],
    /// Bytes that it takes now.
    pub bytes: u64,
    /// Names of the values that it is in the program: several where it is read in several forms.
    pub values: &'p [String],
    weight: &'p Weight,
}

impl<'p> PlannedWeight<'p> {
    pub(crate) fn of(weight: &'p Weight) -> Self {
        let Weight { name, dtype, shape, stored_bytes, values, .. } = weight;
        PlannedWeight { name, dtype: *dtype, shape, bytes: *stored_bytes, values, weight }
    }

    /// Number of elements.
    #[must_use]
    pub fn n_elements(&self) -> u64 {
        self.shape.iter().map(|&n| n as u64).product()
    }

    /// Types of the operations that read it.
    #[must_use]
    pub fn readers(&self) -> Vec<String> {
        self.weight.readers()
    }
}

impl Plan {
    /// The weights that are compressed, in the order of the program.
    #[must_use]
    pub fn weights(&self) -> impl ExactSizeIterator<Item = PlannedWeight<'_>> {
        self.jobs.iter().map(|job| PlannedWeight::of(&job.weight))
    }

    /// The weights that are left.
    #[must_use]
    pub fn left_weights(&self) -> impl ExactSizeIterator<Item = PlannedWeight<'_>> {
        self.kept.iter().map(|(weight, _)| PlannedWeight::of(weight))
    }

    /// The same plan with another scheme for each of its weights, in their order; [`Scheme::Keep`] leaves one.
    ///
    /// # Errors
    /// For schemes that have no meaning, that the program's opset lacks, or whose tensors are not known by
    /// [`Plan::tensors`].
    pub fn with_schemes(&self, program: &Program, config: &Config, schemes: &[Scheme]) -> Result<Self, CompressError> {
        let mut plan = Self { jobs: Vec::new(), kept: self.kept.clone(), raise: None };
        let mut errors = Vec::new();
        for (i, (job, &scheme)) in self.jobs.iter().zip(schemes).enumerate() {
            if scheme == Scheme::Keep {
                plan.kept.push((job.weight.clone(), "left alone by the recipe".to_owned()));
                continue;
            }
            errors.extend(check(&scheme).err());
            if self.tensors(program, i, &scheme).is_none() {
                let reason = "the scheme does not suit its shape, or its readers".to_owned();
                errors.push(CompressError::Weight { weight: job.weight.name.clone(), reason });
            }
            plan.jobs.push(Job { scheme, ..job.clone() });
        }
        plan.check_opsets(program, config, &mut errors);
        CompressError::all(errors)?;
        Ok(plan)
    }

    /// Raises the functions of a program to the opset that the plan needs.
    pub(crate) fn raise_opsets(&self, program: &mut Program) {
        if let Some(opset) = self.raise {
            program.functions.values_mut().for_each(|f| f.opset = f.opset.max(opset));
        }
    }
}
