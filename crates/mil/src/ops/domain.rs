//! Sets of element types that recur in the tables, and short names for the opsets.

use crate::opset::Opset;
use host_tensor::DType::{self, Bool, F16, F32, I8, I16, I32, U8, U16};

pub(super) const IOS15: Opset = Opset::CoreML5;
pub(super) const IOS16: Opset = Opset::CoreML6;
pub(super) const IOS17: Opset = Opset::CoreML7;
pub(super) const IOS18: Opset = Opset::CoreML8;

pub(super) const FLOAT: &[DType] = &[F16, F32];
pub(super) const NUMBER: &[DType] = &[F16, F32, I32];
pub(super) const BOOL: &[DType] = &[Bool];
pub(super) const INT32: &[DType] = &[I32];
/// What iOS 15 and 16 move about.
pub(super) const PLAIN: &[DType] = &[F16, F32, I32, Bool];
/// What iOS 17 moves about.
pub(super) const PLAIN17: &[DType] = &[F16, F32, I8, I16, I32, U8, U16, Bool];
/// What iOS 17 gathers.
pub(super) const NUMBER17: &[DType] = &[F16, F32, I32, I16, U16, I8, U8];
/// Indices of iOS 16.
pub(super) const INDEX16: &[DType] = &[I32, U16, I16];
/// Indices of iOS 17.
pub(super) const INDEX17: &[DType] = &[I32, I16, U16, I8, U8];
/// Shapes and positions of iOS 17.
pub(super) const SHAPE17: &[DType] = &[I8, I16, I32];
