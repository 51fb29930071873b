//! Captures any Burn module and lowers it to MIL.
