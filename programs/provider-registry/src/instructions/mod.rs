//! One file a verb. Each says of every account what is checked, and where.

mod register;
mod retire;
mod update;

pub use register::*;
pub use retire::*;
pub use update::*;
