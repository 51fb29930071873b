//! What prompts say at one moment of the way, and where they change.

use crate::prompt::{Course, Stage, stages, text_at};
use crate::request::GenerateOptions;

/// Prompt and negative prompt at one moment, each as both of two text encoders read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Texts {
    pub(crate) prompts: [String; 2],
    pub(crate) negatives: [String; 2],
}

/// All of them, and which counts when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Turns {
    /// Without repetition.
    pub(crate) texts: Vec<Texts>,
    /// Which of them each evaluation has.
    pub(crate) of_call: Vec<usize>,
}

impl Texts {
    /// Those of a request whose prompts do not change.
    fn constant(options: &GenerateOptions) -> Self {
        Self { prompts: options.prompts().map(str::to_owned), negatives: options.negative_prompts().map(str::to_owned) }
    }
}

impl Turns {
    /// What a request's prompts say at so many evaluations, from this one on in a course.
    pub(crate) fn new(options: &GenerateOptions, course: Course, first: usize, n_calls: usize) -> Self {
        if !options.emphasis.is_of_web_ui() {
            return Self { texts: vec![Texts::constant(options)], of_call: vec![0; n_calls] };
        }
        let stages = |texts: [&str; 2]| texts.map(|text| stages(text, course));
        let (prompts, negatives) = (stages(options.prompts()), stages(options.negative_prompts()));
        let at = |stages: &[Vec<Stage>; 2], call| [0, 1].map(|i: usize| text_at(&stages[i], call).to_owned());
        let mut turns = Self { texts: Vec::new(), of_call: Vec::with_capacity(n_calls) };
        for call in first..first + n_calls.max(1) {
            let texts = Texts { prompts: at(&prompts, call), negatives: at(&negatives, call) };
            let idx = turns.texts.iter().position(|other| *other == texts).unwrap_or_else(|| {
                turns.texts.push(texts);
                turns.texts.len() - 1
            });
            turns.of_call.push(idx);
        }
        turns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::Emphasis;

    #[test]
    fn texts_that_come_again_are_read_once() {
        let course = Course { n_calls: 6, n_before: None };
        let options =
            GenerateOptions { negative_prompt: Some("[x::2]".into()), ..GenerateOptions::new("a [cow|horse]") };
        let turns = Turns::new(&options, course, 0, 6);
        let said = |idx: usize| format!("{}, not {}", turns.texts[idx].prompts[0], turns.texts[idx].negatives[0]);
        let said: Vec<String> = turns.of_call.iter().map(|&idx| said(idx)).collect();
        let (cow, horse) = ("a cow, not ", "a horse, not ");
        assert_eq!(said, ["a cow, not x", "a cow, not x", "a horse, not x", cow, horse, cow]);
        assert_eq!(turns.texts.len(), 4);
        let late = Turns::new(&options, course, 3, 3);
        assert_eq!((late.texts.len(), late.of_call), (2, vec![0, 1, 0]));
        let plain = Turns::new(&GenerateOptions { emphasis: Emphasis::Plain, ..options }, course, 0, 6);
        assert_eq!((plain.texts[0].prompts[0].as_str(), plain.of_call.len()), ("a [cow|horse]", 6));
    }
}
