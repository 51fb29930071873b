//! One model for several sizes of picture, and for one sample at a time beside two.
//!
//! A network has the same weights for all of these, and only shapes differ. From `CoreML8` on a package may hold a
//! function per shape, and the weights once; for older systems there is a package per shape.

use crate::{
    Batch, Checkpoint, ConvertError, Converted, LatentSize, Options, Role, Target, convert::convert_with,
    exceptional::Mapped,
};
use mil::{Const, Literal, Opset, Program};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;

/// What the shapes of one model follow from, as far as it is chosen; the rest is left to [`Options`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shape {
    /// Size of the latents.
    pub size: Option<LatentSize>,
    /// Samples at a time.
    pub batch: Option<Batch>,
}

/// The shapes that a component is converted for: every size with every batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shapes {
    sizes: Vec<LatentSize>,
    batches: Vec<Batch>,
}

impl Shape {
    /// The options, with what is chosen here.
    #[must_use]
    pub fn chosen_in(self, options: &Options) -> Options {
        Options {
            latent_size: self.size.or(options.latent_size),
            unet_batch: self.batch.unwrap_or(options.unet_batch),
            ..options.clone()
        }
    }

    /// What is chosen here and is not the other's.
    #[must_use]
    pub fn but(self, other: Self) -> Self {
        Self {
            size: self.size.filter(|_| self.size != other.size),
            batch: self.batch.filter(|_| self.batch != other.batch),
        }
    }

    /// Name of its function: `size_64x96`, `batch_1`, `size_64x96_batch_1`, or `main` where nothing is chosen.
    #[must_use]
    pub fn function(self) -> String {
        let size = self.size.map(|size| format!("size_{size}"));
        let batch = self.batch.map(|batch| format!("batch_{batch}"));
        match size.into_iter().chain(batch).collect::<Vec<_>>() {
            parts if parts.is_empty() => "main".to_owned(),
            parts => parts.join("_"),
        }
    }

    /// What the name of its package ends with: `_64x96`, `_batch1`, `_64x96_batch1`, or nothing.
    #[must_use]
    pub fn suffix(self) -> String {
        let size = self.size.map(|size| format!("_{size}"));
        let batch = self.batch.map(|batch| format!("_batch{batch}"));
        size.into_iter().chain(batch).collect()
    }
}

impl Shapes {
    /// Every size with every batch; an empty list leaves the choice to the options.
    ///
    /// # Errors
    /// [`ConvertError::Option`] for a size or batch that is given twice.
    pub fn new(sizes: Vec<LatentSize>, batches: Vec<Batch>) -> Result<Self, ConvertError> {
        refuse_twice("latent size", &sizes)?;
        refuse_twice("batch", &batches)?;
        Ok(Self { sizes, batches })
    }

    /// What of them the models of a role have.
    #[must_use]
    pub fn of(&self, role: Role) -> Self {
        let Self { sizes, batches } = self.clone();
        Self {
            sizes: if has_sizes(role) { sizes } else { Vec::new() },
            batches: if role.spec().is_batched() { batches } else { Vec::new() },
        }
    }

    /// The same, for this size of the latents where none is chosen.
    #[must_use]
    pub fn or_size(mut self, size: Option<LatentSize>) -> Self {
        if self.sizes.is_empty() {
            self.sizes.extend(size);
        }
        self
    }

    /// One alone.
    #[must_use]
    pub fn only(shape: Shape) -> Self {
        Self { sizes: shape.size.into_iter().collect(), batches: shape.batch.into_iter().collect() }
    }

    /// Every one, at least one, the default first: that of the first size, and of two samples at a time.
    #[must_use]
    pub fn all(&self) -> Vec<Shape> {
        let chosen = |batch: &Batch| self.batches.contains(batch);
        let batches = or_none([Batch::Two, Batch::One].into_iter().filter(chosen).collect());
        let of_size = |size| batches.iter().map(move |&batch| Shape { size, batch });
        or_none(self.sizes.clone()).into_iter().flat_map(of_size).collect()
    }

    /// Sizes of the latents; none where that is left to the options.
    #[must_use]
    pub fn sizes(&self) -> &[LatentSize] {
        &self.sizes
    }

    /// Samples at a time; none where that is left to the options.
    #[must_use]
    pub fn batches(&self) -> &[Batch] {
        &self.batches
    }

    /// What of a shape tells it from the others.
    fn told_apart(&self, shape: Shape) -> Shape {
        Shape {
            size: shape.size.filter(|_| self.sizes.len() > 1),
            batch: shape.batch.filter(|_| self.batches.len() > 1),
        }
    }
}

/// The items, or nothing once.
fn or_none<T>(items: Vec<T>) -> Vec<Option<T>> {
    if items.is_empty() { vec![None] } else { items.into_iter().map(Some).collect() }
}

fn refuse_twice<T: PartialEq + Display>(what: &str, items: &[T]) -> Result<(), ConvertError> {
    match items.iter().enumerate().find(|(i, item)| items[..*i].contains(item)) {
        Some((_, item)) => Err(ConvertError::Option(format!("{what} {item} is given twice"))),
        None => Ok(()),
    }
}

/// True when the shapes of a role's model follow from the size of the latents.
#[must_use]
pub fn has_sizes(role: Role) -> bool {
    role.spec().is_sized()
}

/// True when a package for this system may hold several functions.
#[must_use]
pub fn has_functions(target: Target) -> bool {
    target.opset() >= Opset::CoreML8
}

/// Names that the function of a pipeline for a size may have in a package of several functions.
#[must_use]
pub fn functions_of_size(size: LatentSize) -> [String; 2] {
    [None, Some(Batch::Two)].map(|batch| Shape { size: Some(size), batch }.function())
}

/// Converts one component for several shapes into one model with a function for each; the default is that of the first
/// size and of two samples at a time.
///
/// Functions share the bytes of their weights, which are views of the checkpoint.
///
/// # Errors
/// As [`convert()`](crate::convert()); when the target has no functions.
pub fn convert_shapes(
    ckpt: &Checkpoint,
    role: Role,
    options: &Options,
    shapes: &Shapes,
) -> Result<Converted, ConvertError> {
    join_shapes(ckpt, role, options, shapes, &Mapped::new(ckpt.weights(role)?))
}

/// As [`convert_shapes`], with weights that were mapped before.
pub(crate) fn join_shapes(
    ckpt: &Checkpoint,
    role: Role,
    options: &Options,
    shapes: &Shapes,
    mapped: &Mapped,
) -> Result<Converted, ConvertError> {
    if !has_functions(options.target) {
        return Err(ConvertError::Option("packages for macOS 14 and older hold one size and one batch each".into()));
    }
    let mut joined: Option<Converted> = None;
    for shape in shapes.all() {
        let mut one = convert_with(ckpt, role, &shape.chosen_in(options), mapped)?;
        rename(&mut one, &shapes.told_apart(shape).function());
        match &mut joined {
            None => joined = Some(one),
            Some(all) => {
                share_constants(&all.program, &all.description.default_function, &mut one.program);
                all.program.functions.append(&mut one.program.functions);
                all.description.functions.append(&mut one.description.functions);
            }
        }
    }
    let mut joined = joined.ok_or_else(|| ConvertError::Option("no shape was given".into()))?;
    joined.description.functions.sort_by(|a, b| a.name.cmp(&b.name));
    joined.valid()?;
    Ok(joined)
}

/// Lets constants that were computed for each shape, and are the same for all, be those of the first.
///
/// Weights are views of the checkpoint in every function: what is compared here is little.
fn share_constants(all: &Program, first: &str, other: &mut Program) {
    let Some(known) = all.functions.get(first) else { return };
    let constants = known.values().iter().filter_map(|v| Some((&*v.name, v.literal.as_ref()?.as_const()?)));
    let constants: HashMap<&str, &Const> = constants.collect();
    for function in other.functions.values_mut() {
        let named = function.values().iter().filter(|v| v.literal.is_some()).map(|v| v.name.clone());
        let names: Vec<_> = named.collect();
        for id in names.iter().filter_map(|name| function.by_name(name)).collect::<Vec<_>>() {
            let own = function.literal(id).and_then(Literal::as_const);
            let Some((own, theirs)) = own.zip(constants.get(function.name_of(id)).copied()) else { continue };
            let is_like = own.dtype() == theirs.dtype() && own.shape() == theirs.shape() && !own.same_view(theirs);
            if is_like && own.read().bytes() == theirs.read().bytes() {
                function.set_literal(id, Literal::Tensor(theirs.clone()));
            }
        }
    }
}

/// Gives the only function another name.
fn rename(converted: &mut Converted, name: &str) {
    let Program { functions, .. } = &mut converted.program;
    *functions = std::mem::take(functions)
        .into_values()
        .map(|mut f| {
            f.name = name.to_owned();
            (f.name.clone(), f)
        })
        .collect::<BTreeMap<_, _>>();
    for interface in &mut converted.description.functions {
        interface.name = name.to_owned();
    }
    converted.description.default_function = name.to_owned();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes(sizes: &[&str], batches: &[Batch]) -> Shapes {
        Shapes::new(sizes.iter().map(|size| size.parse().unwrap()).collect(), batches.to_vec()).unwrap()
    }

    #[track_caller]
    fn check(shapes: &Shapes, functions: &[&str], suffixes: &[&str]) {
        let all = shapes.all();
        let named: Vec<String> = all.iter().map(|&shape| shapes.told_apart(shape).function()).collect();
        assert_eq!(named, functions);
        let named: Vec<String> = all.iter().map(|&shape| shape.but(all[0]).suffix()).collect();
        assert_eq!(named, suffixes);
    }

    #[test]
    fn functions_and_packages_are_named_by_what_tells_them_apart() {
        use Batch::{One, Two};
        check(&Shapes::default(), &["main"], &[""]);
        check(&shapes(&["8x12"], &[One]), &["main"], &[""]);
        check(&shapes(&["8x12", "12x8"], &[Two]), &["size_8x12", "size_12x8"], &["", "_12x8"]);
        check(&shapes(&[], &[One, Two]), &["batch_2", "batch_1"], &["", "_batch1"]);
        check(&shapes(&["8x12"], &[Two, One]), &["batch_2", "batch_1"], &["", "_batch1"]);
        check(
            &shapes(&["8x12", "12x8"], &[One, Two]),
            &["size_8x12_batch_2", "size_8x12_batch_1", "size_12x8_batch_2", "size_12x8_batch_1"],
            &["", "_batch1", "_12x8", "_12x8_batch1"],
        );
    }

    #[test]
    fn roles_have_of_the_shapes_what_their_axes_say() {
        let all = shapes(&["8x12", "12x8"], &[Batch::One, Batch::Two]);
        let of = |role| all.of(role).all().len();
        for role in [Role::UNet, Role::ControlledUNet, Role::Refiner, Role::ControlNet] {
            assert_eq!(of(role), 4, "{role}");
        }
        assert_eq!((of(Role::VaeDecoder), of(Role::TextEncoder)), (2, 1));
    }

    #[test]
    fn what_is_given_twice_is_named() {
        let twice = |sizes: &[&str], batches: &[Batch]| {
            let sizes = sizes.iter().map(|size| size.parse().unwrap()).collect();
            Shapes::new(sizes, batches.to_vec()).unwrap_err().to_string()
        };
        assert_eq!(twice(&["8x8", "8x12", "8x8"], &[]), "latent size 8x8 is given twice");
        assert_eq!(twice(&[], &[Batch::One, Batch::One]), "batch 1 is given twice");
    }
}
