//! Strided copies there and back, and numbers that are refused before anything is read.

use testkit::Rng;

use super::*;

fn layout(shape: &[isize], strides: &[isize], n_bytes: usize) -> Result<Layout, String> {
    Layout::new(DType::I8, shape, strides, n_bytes).map_err(|fault| fault.to_string())
}

#[track_caller]
fn gathers(shape: &[isize], strides: &[isize], expected: &[u8]) {
    let buffer: Vec<u8> = (0..=255).collect();
    assert_eq!(layout(shape, strides, 256).unwrap().gather(&buffer).unwrap(), expected, "{shape:?} {strides:?}");
}

#[test]
fn elements_are_found_by_their_strides() {
    gathers(&[2, 3], &[3, 1], &[0, 1, 2, 3, 4, 5]);
    gathers(&[2, 3], &[64, 1], &[0, 1, 2, 64, 65, 66]);
    gathers(&[2, 2, 2], &[96, 32, 1], &[0, 1, 32, 33, 96, 97, 128, 129]);
    gathers(&[3, 2], &[1, 3], &[0, 3, 1, 4, 2, 5]);
    gathers(&[2, 2], &[100, 7], &[0, 7, 100, 107]);
    gathers(&[1, 4, 1], &[0, 32, 9], &[0, 32, 64, 96]);
    gathers(&[1, 1, 3], &[999, 0, 1], &[0, 1, 2]);
    gathers(&[], &[], &[0]);
    gathers(&[3, 0, 2], &[2, 2, 1], &[]);
    gathers(&[4, 64], &[64, 1], &(0..=255).collect::<Vec<u8>>());
}

#[track_caller]
fn refused(shape: &[isize], strides: &[isize], n_bytes: usize, words: &str) {
    let fault = layout(shape, strides, n_bytes).unwrap_err();
    assert!(fault.contains(words), "{fault}");
    assert!(fault.contains(&format!("{strides:?} in {n_bytes} bytes")), "{fault}");
}

#[test]
fn hostile_numbers_are_refused_before_anything_is_read() {
    refused(&[2, 3], &[3], 6, "one stride for each dimension");
    refused(&[2, -3], &[3, 1], 6, "negative");
    refused(&[2, 3], &[-3, 1], 6, "negative");
    refused(&[2, 3], &[3, 1], 5, "more elements");
    refused(&[2, 3], &[4, 1], 6, "behind the buffer");
    refused(&[1 << 40, 1 << 40], &[0, 0], 6, "more elements");
    refused(&[isize::MAX, 2], &[isize::MAX, 1], 6, "more elements");
    refused(&[2, 1], &[isize::MAX, 1], 6, "behind the buffer");
    refused(&[3, 2], &[isize::MAX, isize::MAX], 6, "behind the buffer");
    refused(&[2, 3], &[0, 1], 6, "the same one");
    refused(&[2, 3], &[2, 1], 6, "the same one");
    let fault = Layout::new(DType::U4, &[2], &[1], 8).unwrap_err().to_string();
    assert!(fault.contains("no whole bytes"), "{fault}");
}

#[test]
fn a_buffer_of_another_size_is_not_touched() {
    let layout = layout(&[2, 2], &[4, 1], 8).unwrap();
    assert_eq!(layout.gather(&[0; 7]), None);
    assert_eq!(layout.scatter(&[1; 3], &mut [0; 8]), None);
    assert_eq!(layout.scatter(&[1; 4], &mut [0; 9]), None);
}

#[test]
fn what_is_scattered_is_gathered_and_padding_is_zero() {
    let mut rng = Rng::new(5);
    for _ in 0..500 {
        let shape: Vec<isize> = (0..rng.below(4)).map(|_| rng.below(4) as isize).collect();
        let mut strides = vec![0; shape.len()];
        let mut step = 1 + rng.below(2) as isize;
        for axis in (0..shape.len()).rev() {
            strides[axis] = step;
            step = step * shape[axis].max(1) + rng.below(3) as isize;
        }
        let n_bytes = 4 * step as usize + rng.below(9);
        let layout = Layout::new(DType::F32, &shape, &strides, n_bytes).unwrap();
        let n: isize = shape.iter().product();
        let dense: Vec<u8> = (0..4 * n).map(|_| 1 + rng.below(255) as u8).collect();
        let mut buffer = vec![0xee; n_bytes];
        layout.scatter(&dense, &mut buffer).unwrap();
        assert_eq!(layout.gather(&buffer).unwrap(), dense, "{shape:?} {strides:?}");
        assert_eq!(buffer.iter().filter(|byte| **byte != 0).count(), dense.len());
    }
}
