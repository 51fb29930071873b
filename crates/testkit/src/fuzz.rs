//! Runs a fuzz body inside `cargo test`: mutated inputs for a fixed time, from a fixed seed.
//!
//! Not coverage-guided: `cargo fuzz` runs the same bodies for hours.
//! A body is an ordinary function over bytes that must not panic.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    time::{Duration, Instant},
};

use crate::Rng;

/// Calls `body` on every input of `corpus`, then on mutations of them until `time` is over; returns the number of calls.
///
/// # Panics
/// With the body's own panic, after the offending input has been printed (in hexadecimal, its first 2 KiB).
#[track_caller]
pub fn run_for(time: Duration, corpus: &[&[u8]], body: impl Fn(&[u8])) -> u64 {
    let start = Instant::now();
    let mut rng = Rng::new(0x5EED);
    let mut n_calls = 0;
    for input in corpus {
        call(&body, input);
        n_calls += 1;
    }
    while start.elapsed() < time {
        let mut input = if corpus.is_empty() { Vec::new() } else { rng.pick(corpus).to_vec() };
        for _ in 0..=rng.below(4) {
            mutate(&mut input, corpus, &mut rng);
        }
        call(&body, &input);
        n_calls += 1;
    }
    n_calls
}

#[allow(clippy::print_stderr, reason = "the input that broke the body must be seen")]
fn call(body: &impl Fn(&[u8]), input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| body(input))) {
        let hex: String = crate::hash::hex(&input[..input.len().min(2048)]);
        eprintln!("the fuzz body panicked on {} bytes: {hex}", input.len());
        resume_unwind(panic);
    }
}

/// One random edit: the kinds that break parsers of lengths, offsets and varints.
fn mutate(input: &mut Vec<u8>, corpus: &[&[u8]], rng: &mut Rng) {
    const EXTREMES: [u64; 8] = [0, 1, 0x7F, 0xFF, 0x7FFF_FFFF, 0xFFFF_FFFF, i64::MAX as u64, u64::MAX];
    let at = rng.below(input.len() + 1);
    match rng.below(7) {
        0 if at < input.len() => input[at] ^= 1 << rng.below(8),
        1 if at < input.len() => input[at] = rng.next_u64() as u8,
        2 => input.truncate(at),
        3 => {
            let extra_len = 1 + rng.below(8);
            let extra = rng.bytes(extra_len);
            input.splice(at..at, extra);
        }
        4 => {
            let end = at + rng.below((input.len() - at).min(64) + 1);
            input.drain(at..end);
        }
        5 => {
            let value = rng.pick(&EXTREMES).to_le_bytes();
            for (slot, byte) in input[at..].iter_mut().zip(value) {
                *slot = byte;
            }
        }
        _ if !corpus.is_empty() => {
            let other = *rng.pick(corpus);
            let from = rng.below(other.len() + 1);
            let until = from + rng.below((other.len() - from).min(256) + 1);
            input.splice(at..at, other[from..until].iter().copied());
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn every_corpus_input_is_tried_even_without_time() {
        let total = Cell::new(0);
        let n_calls = run_for(Duration::ZERO, &[b"ab", b"cde"], |input| total.set(total.get() + input.len()));
        assert_eq!((n_calls, total.get()), (2, 5));
    }

    #[test]
    #[should_panic(expected = "index out of bounds")]
    fn a_body_that_trusts_a_length_is_found_out() {
        // The first byte claims how many follow.
        run_for(Duration::from_secs(5), &[&[3, 1, 2, 3]], |input| {
            if let Some(&claimed) = input.first() {
                let _ = (1..=usize::from(claimed)).map(|i| input[i]).max();
            }
        });
    }

    #[test]
    fn mutation_also_grows_inputs_from_an_empty_corpus() {
        let longest = Cell::new(0);
        run_for(Duration::from_millis(50), &[], |input| longest.set(longest.get().max(input.len())));
        assert!(longest.get() > 0);
    }
}
