//! What one batch of inputs tells of each weight.

use crate::{
    Analyser, SensitivityError,
    parts::{Part, Values, around},
    trial::{self, Trial},
};
use host_tensor::{HostTensor, Stop};
use mil_compress::Named;

/// One batch of inputs, run with all weights as they are.
#[derive(Debug)]
pub struct Session<'a> {
    analyser: &'a Analyser,
    /// The inputs, and all that crosses between parts.
    clean: Values,
    n_rows: usize,
    signal: Clean,
    /// The part whose operations were run last, one by one.
    alone: Option<Alone>,
}

/// The outputs of a run with all weights as they are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clean {
    /// Sum of the squares of their elements.
    pub squares: f64,
    /// Largest magnitude.
    pub peak: f64,
    /// Number of elements.
    pub n_elements: usize,
}

/// A way to store a weight, measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Bytes that the weight takes.
    pub bytes: u64,
    /// Sum of the squares of what changes at the outputs of the operations that read the weight.
    pub local: f64,
    /// The same at the outputs of the function, for schemes that are measured there.
    pub output: Option<f64>,
}

/// A part, cut around the operations whose weights are looked at, and what these take and give.
#[derive(Debug)]
struct Alone {
    part: usize,
    pieces: Vec<Part>,
    values: Values,
}

impl Analyser {
    /// Runs the function on some inputs with all weights as they are, and keeps what measuring needs.
    ///
    /// Only the first `n_rows` indices of the outputs' first axis count: a batch may be filled up.
    ///
    /// # Errors
    /// As the engine, and [`SensitivityError::NotFinite`].
    pub fn begin(&self, inputs: &Values, n_rows: usize, stop: &Stop) -> Result<Session<'_>, SensitivityError> {
        Session::new(self, inputs, n_rows, stop)
    }
}

impl<'a> Session<'a> {
    fn new(analyser: &'a Analyser, inputs: &Values, n_rows: usize, stop: &Stop) -> Result<Self, SensitivityError> {
        let mut clean = inputs.clone();
        for part in &analyser.parts {
            let made = part.run(&[&clean], stop)?;
            clean.extend(made);
        }
        let mut signal = Clean { squares: 0.0, peak: 0.0, n_elements: 0 };
        for output in &analyser.outputs {
            let values = clean.get(output).map(|tensor| rows(tensor, n_rows)).unwrap_or_default();
            if values.iter().any(|v| !v.is_finite()) {
                return Err(SensitivityError::NotFinite { output: output.clone() });
            }
            signal.squares += values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>();
            signal.peak = values.iter().fold(signal.peak, |most, &v| most.max(f64::from(v).abs()));
            signal.n_elements += values.len();
        }
        Ok(Self { analyser, clean, n_rows, signal, alone: None })
    }

    /// The outputs with all weights as they are.
    #[must_use]
    pub fn clean(&self) -> Clean {
        self.signal
    }

    /// What each scheme does to a weight, or why the weight is better left as it is; in the order of the schemes.
    ///
    /// Weights of one part one after another share what the part needs for them.
    ///
    /// # Errors
    /// As the engine; [`SensitivityError::is_stopped`] once `stop` is set.
    pub fn measure(&mut self, weight: usize, stop: &Stop) -> Result<Vec<Result<Measured, String>>, SensitivityError> {
        let analyser = self.analyser;
        let Some(found) = analyser.weights.get(weight) else { return Ok(Vec::new()) };
        let names = &found.planned.values;
        let mut all = vec![Ok(Measured { bytes: 0, local: 0.0, output: None }); analyser.options.schemes.len()];
        for part in (found.part..analyser.parts.len()).filter(|&p| analyser.parts[p].holds(names)) {
            self.look_at(part, stop)?;
            for (&scheme, result) in analyser.options.schemes.iter().zip(&mut all) {
                let Ok(measured) = result else { continue };
                match self.local(names, scheme, stop)? {
                    Ok((bytes, local)) => {
                        measured.bytes = bytes;
                        measured.local += local;
                    }
                    Err(reason) => *result = Err(reason),
                }
            }
        }
        for (scheme, result) in analyser.options.schemes.iter().zip(&mut all) {
            if let (Ok(measured), true) = (result, analyser.options.measured.contains(scheme)) {
                measured.output = Some(self.output(found.part, names, *scheme, stop)?);
            }
        }
        Ok(all)
    }

    /// Runs a part piece by piece, and keeps what its pieces take and give.
    fn look_at(&mut self, part: usize, stop: &Stop) -> Result<(), SensitivityError> {
        if self.alone.as_ref().is_some_and(|alone| alone.part == part) {
            return Ok(());
        }
        self.alone = None;
        let whole = &self.analyser.parts[part];
        let names = self.analyser.weights.iter().flat_map(|w| &w.planned.values);
        let here: Vec<&str> =
            names.filter(|name| whole.holds(std::slice::from_ref(name))).map(String::as_str).collect();
        let (mut pieces, mut values) = (Vec::new(), Values::new());
        for function in around(&whole.function, &here)? {
            let piece = Part::new(function, &self.analyser.options.engine)?;
            let made = piece.run(&[&values, &self.clean], stop)?;
            values.extend(made);
            pieces.push(piece);
        }
        self.alone = Some(Alone { part, pieces, values });
        Ok(())
    }

    /// Bytes of a weight, and the squared error at the outputs of the operations that read it.
    fn local(
        &self,
        names: &[String],
        scheme: Named,
        stop: &Stop,
    ) -> Result<Result<(u64, f64), String>, SensitivityError> {
        let Some(alone) = &self.alone else { return Ok(Err("nothing reads it".to_owned())) };
        let (mut bytes, mut error) = (0, 0.0);
        for piece in alone.pieces.iter().filter(|piece| piece.holds(names)) {
            match trial::with(piece, names, scheme, &self.analyser.options.engine, stop)? {
                Trial::Unfit(reason) => return Ok(Err(reason)),
                Trial::Made(changed, n) => {
                    bytes = n;
                    for (name, tensor) in changed.run(&[&alone.values, &self.clean], stop)? {
                        let clean = alone.values.get(&name);
                        error += clean.map_or(0.0, |clean| difference(&clean.to_f32_vec(), &tensor.to_f32_vec()));
                    }
                }
            }
        }
        Ok(Ok((bytes, error)))
    }

    /// The squared error at the outputs of the function.
    fn output(&self, first: usize, names: &[String], scheme: Named, stop: &Stop) -> Result<f64, SensitivityError> {
        let mut changed = Values::new();
        for part in &self.analyser.parts[first..] {
            let from = [&changed, &self.clean];
            let made = if part.holds(names) {
                match trial::with(part, names, scheme, &self.analyser.options.engine, stop)? {
                    Trial::Made(trial, _) => trial.run(&from, stop)?,
                    Trial::Unfit(_) => continue,
                }
            } else if part.reads(&changed) {
                part.run(&from, stop)?
            } else {
                continue;
            };
            changed.extend(made);
        }
        let error = |name: &String| {
            let (Some(clean), Some(changed)) = (self.clean.get(name), changed.get(name)) else { return 0.0 };
            difference(&rows(clean, self.n_rows), &rows(changed, self.n_rows))
        };
        Ok(self.analyser.outputs.iter().map(error).sum())
    }
}

/// The values of the first indices of the first axis.
fn rows(tensor: &HostTensor, n_rows: usize) -> Vec<f32> {
    let mut values = tensor.to_f32_vec();
    if let Some(&all) = tensor.shape().first().filter(|&&all| all > n_rows) {
        values.truncate(values.len() / all * n_rows);
    }
    values
}

/// The sum of squared differences. What is not finite counts as the largest number: nothing could be worse.
fn difference(clean: &[f32], changed: &[f32]) -> f64 {
    let squared = |(&a, &b): (&f32, &f32)| (f64::from(a) - f64::from(b)).powi(2);
    let sum: f64 = clean.iter().zip(changed).map(squared).sum();
    if sum.is_finite() { sum } else { f64::MAX }
}
