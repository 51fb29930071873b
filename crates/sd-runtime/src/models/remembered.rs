//! What models gave that are asked the same again and again: text encoders, for the same prompts.
//!
//! The key is what the model was given, byte for byte, so nobody needs to say when an answer is out of date.

use std::collections::VecDeque;

use crate::engine::Tensors;
use crate::part::Part;

/// Bytes of answers that are kept: the prompts of hundreds of pictures with CLIP, of some ten with T5.
const MOST_BYTES: usize = 64 << 20;

/// The last answers, the newest last.
#[derive(Debug, Clone, Default)]
pub(super) struct Remembered {
    answers: VecDeque<Answer>,
    n_bytes: usize,
}

#[derive(Debug, Clone)]
struct Answer {
    part: Part,
    inputs: Tensors,
    outputs: Tensors,
    n_bytes: usize,
}

impl Remembered {
    /// What the model gave when it was given the same.
    pub(super) fn find(&mut self, part: Part, inputs: &Tensors) -> Option<Tensors> {
        let idx = self.answers.iter().position(|answer| answer.part == part && same(&answer.inputs, inputs))?;
        let answer = self.answers.remove(idx)?;
        let outputs = answer.outputs.clone();
        self.answers.push_back(answer);
        Some(outputs)
    }

    /// Keeps an answer, and forgets those that were not asked for the longest where they are too many.
    pub(super) fn keep(&mut self, part: Part, inputs: Tensors, outputs: Tensors) {
        let n_bytes = size(&inputs) + size(&outputs);
        if n_bytes > MOST_BYTES {
            return;
        }
        self.n_bytes += n_bytes;
        self.answers.push_back(Answer { part, inputs, outputs, n_bytes });
        while self.n_bytes > MOST_BYTES {
            let Some(oldest) = self.answers.pop_front() else { break };
            self.n_bytes -= oldest.n_bytes;
        }
    }
}

fn size(tensors: &Tensors) -> usize {
    tensors.values().map(|tensor| tensor.bytes().len()).sum()
}

fn same(a: &Tensors, b: &Tensors) -> bool {
    let pairs = a.iter().zip(b);
    a.len() == b.len()
        && pairs.into_iter().all(|((name, x), (other, y))| {
            name == other && x.dtype() == y.dtype() && x.shape() == y.shape() && x.bytes()[..] == y.bytes()[..]
        })
}

#[cfg(test)]
mod tests {
    use host_tensor::HostTensor;
    use sd_spec::Role;

    use super::*;

    fn tensors(name: &str, n: usize, value: f32) -> Tensors {
        Tensors::from([(name.to_owned(), HostTensor::from_f32([n], vec![value; n]))])
    }

    #[test]
    fn only_the_same_question_to_the_same_model_has_an_answer() {
        let (first, second) = (Part::from(Role::TextEncoder), Part::from(Role::TextEncoder2));
        let mut remembered = Remembered::default();
        remembered.keep(first, tensors("input_ids", 4, 1.0), tensors("states", 2, 5.0));
        let found = remembered.find(first, &tensors("input_ids", 4, 1.0)).unwrap();
        assert_eq!(found["states"].to_f32_vec(), [5.0, 5.0]);
        for (part, inputs) in [
            (second, tensors("input_ids", 4, 1.0)),
            (first, tensors("input_ids", 4, 2.0)),
            (first, tensors("input_ids", 3, 1.0)),
            (first, tensors("ids", 4, 1.0)),
            (first, Tensors::new()),
        ] {
            assert!(remembered.find(part, &inputs).is_none(), "{part} {inputs:?}");
        }
    }

    #[test]
    fn memory_is_bounded_and_what_is_asked_for_stays() {
        let part = Part::from(Role::TextEncoder);
        let mut remembered = Remembered::default();
        let large = MOST_BYTES / 4 / 4;
        for i in 0..9 {
            remembered.keep(part, tensors("input_ids", 1, i as f32), tensors("states", large, 0.0));
            assert!(remembered.n_bytes <= MOST_BYTES);
            assert!(remembered.find(part, &tensors("input_ids", 1, 0.0)).is_some(), "{i}");
        }
        assert!(remembered.find(part, &tensors("input_ids", 1, 1.0)).is_none());
        assert!(remembered.find(part, &tensors("input_ids", 1, 8.0)).is_some());
        remembered.keep(part, tensors("input_ids", 1, 99.0), tensors("states", 5 * large, 0.0));
        assert!(remembered.n_bytes <= MOST_BYTES, "an answer that is too large is not kept");
    }
}
