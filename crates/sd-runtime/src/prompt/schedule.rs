//! AUTOMATIC1111's prompts that change on the way: `[from:to:when]`, `[to:when]`, `[from::when]`, and `[a|b]`, which alternate.
//!
//! Everything else, weights too, is text here. A bracket that is none of these is text; a text that the grammar has no way
//! to read at all, as with a `|` outside of brackets, does not change on the way.
// Source of the rules: modules/prompt_parser.py, get_learned_conditioning_prompt_schedules and reconstruct_cond_batch, of
// AUTOMATIC1111's web UI 1.10; checked by running its grammar.

/// Brackets within brackets; deeper ones are text.
const MAX_DEPTH: usize = 64;

/// The evaluations of the denoiser among which a prompt changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Course {
    /// How many there are.
    pub(crate) n_calls: usize,
    /// How many a pass before this one had, of which the prompt is too.
    pub(crate) n_before: Option<usize>,
}

/// What a prompt says up to an evaluation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stage {
    /// The last evaluation, from 0.
    pub(crate) last: usize,
    pub(crate) text: String,
}

/// What a prompt says, in order; the last stage is for all that follow.
pub(crate) fn stages(prompt: &str, course: Course) -> Vec<Stage> {
    let constant = || vec![Stage { last: course.n_calls, text: prompt.to_owned() }];
    if !prompt.contains('[') {
        return constant();
    }
    let Some(nodes) = (Parser { rest: prompt }).prompt_and_strays() else { return constant() };
    let mut ends = vec![course.n_calls];
    gather_ends(&nodes, course, &mut ends);
    ends.sort_unstable();
    ends.dedup();
    let mut stages: Vec<Stage> = Vec::new();
    for last in ends {
        let mut text = String::new();
        write_at(&nodes, last, course, &mut text);
        match stages.last_mut().filter(|stage| stage.text == text) {
            Some(stage) => stage.last = last,
            None => stages.push(Stage { last, text }),
        }
    }
    stages
}

/// The text of an evaluation, from 0.
pub(crate) fn text_at(stages: &[Stage], call: usize) -> &str {
    let found = stages.iter().find(|stage| call <= stage.last).or(stages.last());
    found.map_or("", |stage| stage.text.as_str())
}

enum Node<'t> {
    Text(&'t str),
    /// The first before it is time, the second from then on.
    Turn(Vec<Node<'t>>, Vec<Node<'t>>, &'t str),
    Alternate(Vec<Vec<Node<'t>>>),
    /// What stands in brackets that stay.
    Group(Vec<Node<'t>>),
}

/// The evaluation up to which a turn has not come.
fn when(number: &str, course: Course) -> i64 {
    let value: f64 = number.parse().unwrap_or(0.0);
    let n_calls = course.n_calls as f64;
    let value = match (number.contains('.'), course.n_before) {
        (true, None) => value * n_calls,
        (true, Some(_)) => (value - 1.0) * n_calls,
        (false, before) => value - before.unwrap_or(0) as f64,
    };
    value.min(n_calls) as i64
}

fn gather_ends(nodes: &[Node<'_>], course: Course, ends: &mut Vec<usize>) {
    for node in nodes {
        match node {
            Node::Text(_) => {}
            Node::Group(inner) => gather_ends(inner, course, ends),
            Node::Turn(before, after, number) => {
                ends.extend(usize::try_from(when(number, course)).ok().filter(|end| *end >= 1));
                gather_ends(before, course, ends);
                gather_ends(after, course, ends);
            }
            Node::Alternate(options) => {
                ends.extend(1..=course.n_calls);
                options.iter().for_each(|option| gather_ends(option, course, ends));
            }
        }
    }
}

/// Writes what stands at the stage that ends there.
fn write_at(nodes: &[Node<'_>], end: usize, course: Course, text: &mut String) {
    for node in nodes {
        match node {
            Node::Text(own) => text.push_str(own),
            Node::Group(inner) => write_at(inner, end, course, text),
            Node::Turn(before, after, number) => {
                let is_before = i64::try_from(end).is_ok_and(|end| end <= when(number, course));
                write_at(if is_before { before } else { after }, end, course, text);
            }
            Node::Alternate(options) => {
                let idx = end.saturating_sub(1) % options.len().max(1);
                options.get(idx).into_iter().for_each(|option| write_at(option, end, course, text));
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Parser<'t> {
    rest: &'t str,
}

impl<'t> Parser<'t> {
    fn skip(&mut self, n_bytes: usize) -> &'t str {
        let (taken, rest) = self.rest.split_at(n_bytes);
        self.rest = rest;
        taken
    }

    /// All of a prompt; brackets and colons that belong to nothing are text.
    fn prompt_and_strays(mut self) -> Option<Vec<Node<'t>>> {
        let mut nodes = Vec::new();
        loop {
            nodes.extend(self.prompt(0));
            match self.rest.chars().next() {
                None => return Some(nodes),
                Some('(' | ')' | '[' | ']' | ':') => nodes.push(Node::Text(self.skip(1))),
                Some(_) => return None,
            }
        }
    }

    /// As much as is text or brackets that are whole.
    fn prompt(&mut self, depth: usize) -> Vec<Node<'t>> {
        let mut nodes = Vec::new();
        loop {
            let node = match self.rest.chars().next() {
                Some('(') => self.attempt(|parser| parser.round(depth)),
                Some('[') => self.attempt(|parser| parser.square(depth)),
                _ => self.plain(),
            };
            match node {
                Some(node) => nodes.push(node),
                None => return nodes,
            }
        }
    }

    /// What a part of the grammar takes, or nothing.
    fn attempt(&mut self, part: impl Fn(&mut Self) -> Option<Node<'t>>) -> Option<Node<'t>> {
        let mut ahead = *self;
        let node = part(&mut ahead)?;
        *self = ahead;
        Some(node)
    }

    /// Text without brackets, colons and bars, but for those behind a backslash.
    fn plain(&mut self) -> Option<Node<'t>> {
        let mut end = 0;
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '[' | ']' | '(' | ')' | ':' | '|' => break,
                '\\' => match chars.next() {
                    Some((next, escaped)) if escaped != '\n' => end = next + escaped.len_utf8(),
                    _ => break,
                },
                c => end = at + c.len_utf8(),
            }
        }
        (end > 0).then(|| Node::Text(self.skip(end)))
    }

    /// `(a)` and `(a:b)`, whose second part is mostly a weight.
    fn round(&mut self, depth: usize) -> Option<Node<'t>> {
        let mut nodes = vec![Node::Text(self.skip(1))];
        nodes.extend(self.inner(depth)?);
        if self.rest.starts_with(':') {
            nodes.push(Node::Text(self.skip(1)));
            nodes.extend(self.inner(depth)?);
        }
        self.rest.starts_with(')').then(|| nodes.push(Node::Text(self.skip(1))))?;
        Some(Node::Group(nodes))
    }

    fn square(&mut self, depth: usize) -> Option<Node<'t>> {
        let open = self.skip(1);
        let first = self.inner(depth)?;
        match self.rest.chars().next()? {
            ']' => {
                let mut nodes = vec![Node::Text(open)];
                nodes.extend(first);
                nodes.push(Node::Text(self.skip(1)));
                Some(Node::Group(nodes))
            }
            '|' => {
                let mut options = vec![first];
                while self.rest.starts_with('|') {
                    self.skip(1);
                    options.push(self.inner(depth)?);
                }
                self.rest.starts_with(']').then(|| self.skip(1))?;
                Some(Node::Alternate(options))
            }
            ':' => self.turn(first, depth),
            _ => None,
        }
    }

    /// What follows the first part of `[to:when]` and `[from:to:when]`.
    fn turn(&mut self, first: Vec<Node<'t>>, depth: usize) -> Option<Node<'t>> {
        self.skip(1);
        if let Some(number) = self.number() {
            return Some(Node::Turn(Vec::new(), first, number));
        }
        let second = self.inner(depth)?;
        self.rest.starts_with(':').then(|| self.skip(1))?;
        let number = self.number()?;
        Some(Node::Turn(first, second, number))
    }

    fn inner(&mut self, depth: usize) -> Option<Vec<Node<'t>>> {
        (depth < MAX_DEPTH).then(|| self.prompt(depth + 1))
    }

    /// A number and the bracket behind it.
    fn number(&mut self) -> Option<&'t str> {
        let begin = self.rest.trim_start();
        let end = begin.find(|c: char| c.is_whitespace() || c == ']')?;
        let (number, behind) = begin.split_at(end);
        let rest = behind.trim_start().strip_prefix(']')?;
        is_number(number).then(|| self.rest = rest)?;
        Some(number)
    }
}

/// Digits with a point or without, a sign before them, and perhaps an exponent.
fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') && unsigned.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stages of ten evaluations, as `last: text`; at most four.
    #[track_caller]
    fn check(prompt: &str, expected: &[(usize, &str)]) {
        let course = Course { n_calls: 10, n_before: None };
        let found = stages(prompt, course);
        let found: Vec<(usize, &str)> = found.iter().take(4).map(|stage| (stage.last, stage.text.as_str())).collect();
        assert_eq!(found, expected, "{prompt:?}");
    }

    #[test]
    fn turns_come_at_evaluations_and_at_shares_of_them() {
        check("red fox", &[(10, "red fox")]);
        check("a [red:blue:3] fox", &[(3, "a red fox"), (10, "a blue fox")]);
        check("a [red:4] fox", &[(4, "a  fox"), (10, "a red fox")]);
        check("[red::.25]fox", &[(2, "redfox"), (10, "fox")]);
        check("[ red : blue : 0.5 ]", &[(5, " red "), (10, " blue ")]);
        check("[red:blue:+3]", &[(3, "red"), (10, "blue")]);
        check("[red:blue:3e0]", &[(3, "red"), (10, "blue")]);
        check("[red:blue:0]", &[(10, "blue")]);
        check("[red:blue:0.05]", &[(10, "blue")]);
        check("[red:blue:-1]", &[(10, "blue")]);
        check("[red:blue:1e-1]", &[(10, "blue")]);
        // A share of more than all is all.
        check("[red:blue:3.]", &[(10, "red")]);
        check("[red:blue:99]", &[(10, "red")]);
        check("[:3]fox", &[(10, "fox")]);
    }

    #[test]
    fn bars_alternate() {
        check("[cow|horse] ", &[(1, "cow "), (2, "horse "), (3, "cow "), (4, "horse ")]);
        check("[fe|]male", &[(1, "female"), (2, "male"), (3, "female"), (4, "male")]);
        check("[fe|||]male", &[(1, "female"), (4, "male"), (5, "female"), (8, "male")]);
        check("x [a|[b|c]|d]", &[(1, "x a"), (2, "x c"), (3, "x d"), (4, "x a")]);
        check("[a|b]:3]", &[(1, "a:3]"), (2, "b:3]"), (3, "a:3]"), (4, "b:3]")]);
        check("[a:b:3] [c|d]", &[(1, "a c"), (2, "a d"), (3, "a c"), (4, "b d")]);
    }

    #[test]
    fn turns_stand_in_one_another_and_in_weights() {
        check("a[b:[c:d:2]:1]e", &[(1, "abe"), (2, "ace"), (10, "ade")]);
        check("[[a:b:2]:c:5]", &[(2, "a"), (5, "b"), (10, "c")]);
        check("(a [b:c:3]:1.2)", &[(3, "(a b:1.2)"), (10, "(a c:1.2)")]);
        check("[a:(b:1.2):5]", &[(5, "a"), (10, "(b:1.2)")]);
        check("a [[[b]]:2]", &[(2, "a "), (10, "a [[b]]")]);
        check("[a:b:2][c:d:4]", &[(2, "ac"), (4, "bc"), (10, "bd")]);
        check("BREAK [x:y:5] BREAK", &[(5, "BREAK x BREAK"), (10, "BREAK y BREAK")]);
    }

    #[test]
    fn brackets_that_are_none_of_these_are_text() {
        for text in
            ["a [unbalanced", "[a:b]", "[a:b:3 x]", "\\[a:b:3]", "[a:b:2", "[(a:b:c):5]", "[a:b:c:3]", "a ] [b:c:3"]
        {
            check(text, &[(10, text)]);
        }
        check("((a][:b:c [d:3]", &[(3, "((a][:b:c "), (10, "((a][:b:c d")]);
        check("12:30 [a:b:3]", &[(3, "12:30 a"), (10, "12:30 b")]);
        check("[a] [b:c:4]", &[(4, "[a] b"), (10, "[a] c")]);
        check("[\\[a:b:3]", &[(3, "\\[a"), (10, "b")]);
        check("[a\\:b:c:3]", &[(3, "a\\:b"), (10, "c")]);
    }

    #[test]
    fn a_text_that_cannot_be_read_does_not_change() {
        for text in ["a|b [c:d:3]", "[a|b:3]", "[a|b", "[a|b|c:0.5]", "[a:1.2|b]", "[a:b:3] tail\\"] {
            check(text, &[(10, text)]);
        }
    }

    #[test]
    fn a_second_pass_counts_from_the_end_of_the_first() {
        let course = Course { n_calls: 10, n_before: Some(20) };
        let at = |prompt: &str| stages(prompt, course).iter().map(|stage| stage.last).collect::<Vec<_>>();
        assert_eq!(at("[a:b:25]"), [5, 10]);
        assert_eq!(at("[a:b:1.5]"), [5, 10]);
        assert_eq!(at("[a:b:15]"), [10]);
        assert_eq!(at("[a:b:0.5]"), [10]);
    }

    #[test]
    fn an_evaluation_up_to_the_last_of_a_stage_has_its_text() {
        let stages = stages("[a:b:3]", Course { n_calls: 10, n_before: None });
        let texts: String = (0..12).map(|call| text_at(&stages, call)).collect();
        assert_eq!(texts, "aaaabbbbbbbb");
    }

    #[test]
    fn deep_brackets_are_text() {
        let deep = format!("{}a:b:3{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(stages(&deep, Course { n_calls: 2, n_before: None }).last().map(|s| s.last), Some(2));
    }
}
