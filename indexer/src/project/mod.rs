//! From events to rows: a pure fold, checked step by step against the protocol's own model of an account.
//!
//! What the chain says is what is stored. Where the model says otherwise, a discrepancy is stored next to it: nothing is
//! hidden and nothing is corrected.

mod account;
mod batch;
mod check;
mod credit;
mod fold;
mod ledger;
mod operator;
mod position;
mod tables;

pub use account::AccountRow;
pub use check::Discrepancy;
pub use fold::{Fold, Folded, Touched, restored, touched};
pub use operator::OperatorRow;
pub use position::Position;
pub use tables::{BLOCKS, RECEIPTS, ROLLED_BACK, UndoKind};
