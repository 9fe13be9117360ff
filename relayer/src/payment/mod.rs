//! Who pays, and how: the gate in front of every paid endpoint, and the facilitator behind it.

pub mod facilitator;
