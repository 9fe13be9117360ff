//! Prepaid credit: deposit, balance, execute, history, refund, pricing.

mod account;
mod balance;
mod crediting;
mod deposit;
mod deposit_address;
mod execute;
mod gasless;
mod history;
mod pricing;
mod refund;
pub mod sponsored;
pub mod sweeper;

pub use balance::balance;
pub(super) use balance::read;
pub use deposit::deposit;
pub use deposit_address::deposit_address;
pub use execute::execute;
pub use history::history;
pub use pricing::pricing;
pub use refund::refund;
