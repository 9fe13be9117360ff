//! Base and its kin.
