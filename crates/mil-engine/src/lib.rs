//! Runs MIL programs on the CPU.
