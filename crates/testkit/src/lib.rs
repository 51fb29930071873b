//! Checks, tolerances and golden data for tests.
