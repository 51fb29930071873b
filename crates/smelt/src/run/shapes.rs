//! Which shapes a package's description admits: that of the feature, and those that its flexibility adds.
//!
//! A program may leave dimensions open; the description bounds what may be fed, as Core ML does.

use host_tensor::DType;
use mil::{Dim, TensorType};
use mlpackage::{FeatureType, Interface, MultiArray, ShapeFlexibility, SizeRange};

/// Enumerated shapes that a message lists.
const LISTED: usize = 8;

/// The type of an input by its description: of any size where its shape is flexible.
pub(super) fn type_of(interface: Option<&Interface>, input: &str, dtype: DType, shape: &[usize]) -> TensorType {
    let feature = interface.and_then(|own| own.inputs.iter().find(|feature| feature.name == input));
    let is_flexible = feature.is_some_and(|feature| match &feature.ty {
        FeatureType::MultiArray(array) => array.flexibility != ShapeFlexibility::Fixed,
        _ => false,
    });
    let dim = |&n| if is_flexible { Dim::Unknown } else { Dim::Size(n) };
    TensorType { dtype, shape: shape.iter().map(dim).collect() }
}

/// What is wrong with a shape for the input of this name; nothing when the description says nothing of it.
pub(super) fn fault(interface: Option<&Interface>, input: &str, shape: &[usize]) -> Option<String> {
    let feature = interface?.inputs.iter().find(|feature| feature.name == input)?;
    let FeatureType::MultiArray(array) = &feature.ty else { return None };
    // One element may stand for a scalar, which features have no shape for.
    let is_scalar = shape.is_empty() && array.shape.iter().all(|&n| n == 1);
    if is_scalar || admits(array, shape) {
        return None;
    }
    Some(format!("{input} has shape {shape:?}, the package takes {}", admitted(array)))
}

fn admits(array: &MultiArray, shape: &[usize]) -> bool {
    let is_default = array.shape == shape;
    match &array.flexibility {
        ShapeFlexibility::Fixed => is_default || array.shape.is_empty(),
        ShapeFlexibility::Enumerated(shapes) => is_default || shapes.iter().any(|s| s == shape),
        ShapeFlexibility::Ranges(ranges) => {
            ranges.len() == shape.len() && ranges.iter().zip(shape).all(|(range, &n)| contains(range, n))
        }
    }
}

fn contains(range: &SizeRange, n: usize) -> bool {
    let n = n as u64;
    range.lower <= n && range.upper.is_none_or(|upper| n <= upper)
}

fn admitted(array: &MultiArray) -> String {
    match &array.flexibility {
        ShapeFlexibility::Fixed => format!("{:?}", array.shape),
        ShapeFlexibility::Enumerated(shapes) => {
            let mut all: Vec<&Vec<usize>> = Vec::new();
            for shape in std::iter::once(&array.shape).chain(shapes).filter(|shape| !shape.is_empty()) {
                if !all.contains(&shape) {
                    all.push(shape);
                }
            }
            let listed: Vec<String> = all.iter().take(LISTED).map(|shape| format!("{shape:?}")).collect();
            match all.len().saturating_sub(LISTED) {
                0 => listed.join(" or "),
                more => format!("{} or one of {more} more", listed.join(" or ")),
            }
        }
        ShapeFlexibility::Ranges(ranges) => {
            let sides: Vec<String> = ranges.iter().map(side).collect();
            format!("[{}]", sides.join(", "))
        }
    }
}

fn side(range: &SizeRange) -> String {
    match (range.lower, range.upper) {
        (lower, Some(upper)) if lower == upper => lower.to_string(),
        (lower, Some(upper)) => format!("{lower} to {upper}"),
        (lower, None) => format!("{lower} or more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use host_tensor::DType;
    use mlpackage::Feature;

    fn interface(shape: &[usize], flexibility: ShapeFlexibility) -> Interface {
        let array = MultiArray { dtype: DType::F32, shape: shape.to_vec(), flexibility, default: None };
        let ty = FeatureType::MultiArray(array);
        let x = Feature { name: "x".to_owned(), description: String::new(), ty, is_optional: false };
        Interface { inputs: vec![x], ..Interface::default() }
    }

    #[track_caller]
    fn check(interface: &Interface, shape: &[usize], expected: Option<&str>) {
        assert_eq!(fault(Some(interface), "x", shape).as_deref(), expected);
    }

    #[test]
    fn enumerated_shapes_and_the_default_are_admitted_and_no_others() {
        let listed = interface(&[1, 4], ShapeFlexibility::Enumerated(vec![vec![1, 4], vec![1, 8]]));
        check(&listed, &[1, 4], None);
        check(&listed, &[1, 8], None);
        check(&listed, &[1, 6], Some("x has shape [1, 6], the package takes [1, 4] or [1, 8]"));
    }

    #[test]
    fn ranges_are_inclusive_and_may_be_open_above() {
        let range = |lower, upper| SizeRange { lower, upper };
        let ranges = ShapeFlexibility::Ranges(vec![range(1, Some(1)), range(2, Some(8)), range(3, None)]);
        let ranges = interface(&[1, 4, 3], ranges);
        for shape in [[1, 2, 3], [1, 8, 3000]] {
            check(&ranges, &shape, None);
        }
        for shape in [[2, 4, 3], [1, 1, 3], [1, 9, 3], [1, 4, 2]] {
            let said = format!("x has shape {shape:?}, the package takes [1, 2 to 8, 3 or more]");
            check(&ranges, &shape, Some(&said));
        }
    }

    #[test]
    fn a_shape_that_is_fixed_bounds_a_program_that_leaves_it_open() {
        let fixed = interface(&[2, 3], ShapeFlexibility::Fixed);
        check(&fixed, &[2, 3], None);
        check(&fixed, &[2, 4], Some("x has shape [2, 4], the package takes [2, 3]"));
        check(&interface(&[], ShapeFlexibility::Fixed), &[7], None);
        check(&interface(&[1], ShapeFlexibility::Fixed), &[], None);
        assert_eq!(fault(None, "x", &[1]), None);
        assert_eq!(fault(Some(&fixed), "z", &[1]), None);
    }
}
