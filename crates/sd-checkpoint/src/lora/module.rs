//! What a LoRA's tensors add to one module: formulas of every kind of adapter.

use std::collections::BTreeMap;

use host_tensor::HostTensor;

use super::key::{Slot, Spelling};
use super::scale::Config;
use crate::{Delta, Matrix, WeightError};

/// The tensors of a module.
#[derive(Debug, Clone, Default)]
pub(super) struct Module {
    pub(super) tensors: BTreeMap<Slot, Stored>,
    pub(super) spelling: Option<Spelling>,
}

/// A tensor and its name in the file.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) name: String,
    pub(super) tensor: HostTensor,
}

/// What a kind of adapter is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A product of two thin matrices.
    Lora,
    /// The same for convolutions, with a core between.
    Tucker,
    /// Two products, multiplied element by element.
    Loha,
    /// A Kronecker product.
    Lokr,
    /// The difference itself.
    Full,
    /// Nothing but what is added to biases.
    Bias,
}

impl Kind {
    /// As people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lora => "LoRA",
            Self::Tucker => "LoCon with a core (Tucker)",
            Self::Loha => "LoHa",
            Self::Lokr => "LoKr",
            Self::Full => "full difference",
            Self::Bias => "biases",
        }
    }
}

/// What is wrong with a module, with the names of tensors in it.
#[derive(Debug)]
pub(super) enum Fault {
    /// A tensor is missing beside others.
    Missing { end: &'static str },
    /// A tensor holds what cannot be.
    Value { name: String, what: String },
    /// Tensors do not fit together.
    Shapes(WeightError),
}

impl From<WeightError> for Fault {
    fn from(error: WeightError) -> Self {
        Self::Shapes(error)
    }
}

/// What a module adds, before the weight of the whole LoRA.
#[derive(Debug)]
pub(super) struct Added {
    /// To the weight; with the scale.
    pub(super) weight: Option<(Matter, f32)>,
    /// Which tensors are added to the bias, and their scales.
    pub(super) bias: Vec<(Slot, f32)>,
}

/// What is added to a weight.
#[derive(Debug, Clone)]
pub(super) enum Matter {
    One(Matrix),
    Hadamard(Matrix, Matrix),
    Kronecker(Matrix, Matrix),
}

impl Matter {
    pub(super) fn delta(&self, scale: f32) -> Result<Delta, WeightError> {
        match self.clone() {
            Self::One(matrix) => Ok(Delta::matrix(matrix, scale)),
            Self::Hadamard(first, second) => Delta::hadamard(first, second, scale),
            Self::Kronecker(first, second) => Delta::kronecker(first, second, scale),
        }
    }
}

impl Module {
    fn get(&self, slot: Slot) -> Option<&HostTensor> {
        self.tensors.get(&slot).map(|stored| &stored.tensor)
    }

    fn has(&self, slots: &[Slot]) -> bool {
        slots.iter().any(|slot| self.tensors.contains_key(slot))
    }

    fn need(&self, slot: Slot, end: &'static str) -> Result<HostTensor, Fault> {
        self.get(slot).cloned().ok_or(Fault::Missing { end })
    }

    /// Whether rows or inputs are rescaled afterwards; lengths of rows as `[rows]`.
    pub(super) fn lengths(&self) -> Option<Result<HostTensor, Fault>> {
        let of_rows = |tensor: &HostTensor| {
            tensor.reshape([tensor.len()]).map_err(|_| Fault::Missing { end: ".lora_magnitude_vector" })
        };
        // PEFT has them as [1, rows, 1, 1] for convolutions, where LyCORIS would mean inputs.
        self.get(Slot::Magnitude).map(of_rows).or_else(|| self.get(Slot::DoraScale).map(|tensor| Ok(tensor.clone())))
    }

    /// The kind, by the tensors that are there.
    pub(super) fn kind(&self) -> Option<Kind> {
        use Slot::{
            DiffBias, Down, HadaT1, HadaT2, HadaW1A, HadaW1B, HadaW2A, HadaW2B, LokrT2, LokrW1, LokrW1A, LokrW1B,
            LokrW2, LokrW2A, LokrW2B, Mid, Up, UpBias,
        };
        if self.has(&[Mid]) {
            Some(Kind::Tucker)
        } else if self.has(&[Down, Up]) {
            Some(Kind::Lora)
        } else if self.has(&[HadaW1A, HadaW1B, HadaT1, HadaW2A, HadaW2B, HadaT2]) {
            Some(Kind::Loha)
        } else if self.has(&[LokrW1, LokrW1A, LokrW1B, LokrW2, LokrW2A, LokrW2B, LokrT2]) {
            Some(Kind::Lokr)
        } else if self.has(&[Slot::Diff]) {
            Some(Kind::Full)
        } else {
            self.has(&[DiffBias, UpBias]).then_some(Kind::Bias)
        }
    }

    /// Terms of the product, where there is one.
    pub(super) fn rank(&self) -> Option<usize> {
        let first = |slot| self.get(slot).and_then(|tensor: &HostTensor| tensor.shape().first().copied());
        [Slot::Down, Slot::HadaW1B, Slot::LokrW1B, Slot::LokrW2B].into_iter().find_map(first)
    }

    /// The alpha that the module has of its own.
    pub(super) fn alpha(&self) -> Result<Option<f32>, Fault> {
        let Some(Stored { name, tensor }) = self.tensors.get(&Slot::Alpha) else { return Ok(None) };
        let value = |what: String| Fault::Value { name: name.clone(), what };
        match tensor.to_f32_vec()[..] {
            [alpha] if alpha.is_finite() => Ok(Some(alpha)),
            [alpha] => Err(value(format!("is {alpha}"))),
            _ => Err(value(format!("has shape {:?} and must be one number", tensor.shape()))),
        }
    }

    /// Alpha over rank, or as the adapter's configuration says.
    fn scale(&self, module: &str, config: &Config) -> Result<f32, Fault> {
        let Some(rank) = self.rank() else { return Ok(1.0) };
        let rank = rank.max(1) as f32;
        Ok(match self.alpha()? {
            Some(alpha) => alpha / rank,
            None => config.scale(module, rank).unwrap_or(1.0),
        })
    }

    /// What it adds.
    pub(super) fn added(&self, module: &str, config: &Config) -> Result<Option<Added>, Fault> {
        let Some(kind) = self.kind() else { return Ok(None) };
        let scale = self.scale(module, config)?;
        let weight = match kind {
            Kind::Lora => Some((Matter::One(Matrix::product(self.up()?, self.down()?)?), scale)),
            Kind::Tucker => {
                let core = self.need(Slot::Mid, ".lora_mid.weight")?;
                Some((Matter::One(Matrix::tucker(self.up()?, core, self.down()?)?), scale))
            }
            Kind::Loha => Some((self.loha()?, scale)),
            Kind::Lokr => Some((self.lokr()?, scale)),
            // Neither sd-scripts nor LyCORIS scales it.
            Kind::Full => Some((Matter::One(Matrix::whole(self.need(Slot::Diff, ".diff")?)?), 1.0)),
            Kind::Bias => None,
        };
        if weight.is_none() && self.lengths().is_some() {
            return Err(Fault::Missing {
                end: match self.spelling {
                    Some(Spelling::Peft) => ".lora_A.weight",
                    _ => ".lora_down.weight",
                },
            });
        }
        let bias = [(Slot::DiffBias, 1.0), (Slot::UpBias, scale)];
        let bias = bias.into_iter().filter(|(slot, _)| self.has(&[*slot])).collect();
        Ok(Some(Added { weight, bias }))
    }

    fn up(&self) -> Result<HostTensor, Fault> {
        self.need(Slot::Up, self.end(".lora_up.weight", ".lora_B.weight", ".up.weight"))
    }

    fn down(&self) -> Result<HostTensor, Fault> {
        self.need(Slot::Down, self.end(".lora_down.weight", ".lora_A.weight", ".down.weight"))
    }

    const fn end(&self, kohya: &'static str, peft: &'static str, old: &'static str) -> &'static str {
        match self.spelling {
            Some(Spelling::Peft) => peft,
            Some(Spelling::OldDiffusers) => old,
            Some(Spelling::Kohya) | None => kohya,
        }
    }

    fn loha(&self) -> Result<Matter, Fault> {
        let factor = |core: Slot, a: (Slot, &'static str), b: (Slot, &'static str)| -> Result<Matrix, Fault> {
            let (a, b) = (self.need(a.0, a.1)?, self.need(b.0, b.1)?);
            Ok(match self.get(core) {
                Some(core) => Matrix::turned_tucker(a, core.clone(), b)?,
                None => Matrix::product(a, b)?,
            })
        };
        let first = factor(Slot::HadaT1, (Slot::HadaW1A, ".hada_w1_a"), (Slot::HadaW1B, ".hada_w1_b"))?;
        let second = factor(Slot::HadaT2, (Slot::HadaW2A, ".hada_w2_a"), (Slot::HadaW2B, ".hada_w2_b"))?;
        Ok(Matter::Hadamard(first, second))
    }

    fn lokr(&self) -> Result<Matter, Fault> {
        let product = |a, a_end, b, b_end| -> Result<Matrix, Fault> {
            Ok(Matrix::product(self.need(a, a_end)?, self.need(b, b_end)?)?)
        };
        let first = match self.get(Slot::LokrW1) {
            Some(whole) => Matrix::whole(whole.clone())?,
            None => product(Slot::LokrW1A, ".lokr_w1_a", Slot::LokrW1B, ".lokr_w1_b")?,
        };
        let second = match (self.get(Slot::LokrW2), self.get(Slot::LokrT2)) {
            (Some(whole), _) => Matrix::whole(whole.clone())?,
            (None, Some(core)) => {
                let (a, b) = (self.need(Slot::LokrW2A, ".lokr_w2_a")?, self.need(Slot::LokrW2B, ".lokr_w2_b")?);
                Matrix::turned_tucker(a, core.clone(), b)?
            }
            (None, None) => product(Slot::LokrW2A, ".lokr_w2_a", Slot::LokrW2B, ".lokr_w2_b")?,
        };
        Ok(Matter::Kronecker(first, second))
    }
}
