//! Passes: one rewrite each, exact up to floating-point re-association.
