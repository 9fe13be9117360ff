//! One file a verb. Each says of every account what is checked, and where.

mod close_account;
mod close_deposit_address;
mod deposit;
mod open_deposit_address;
mod post_debits;
mod raise_ceiling;
mod raise_ceiling_with_signature;
mod recover;
mod refund;
mod request_refund;
mod set_delegate;
mod set_terms;
mod shared;
mod sweep;
mod top_up;
mod verify_receipt;
mod withdraw_earnings;

pub use close_account::*;
pub use close_deposit_address::*;
pub use deposit::*;
pub use open_deposit_address::*;
pub use post_debits::*;
pub use raise_ceiling::*;
pub use raise_ceiling_with_signature::*;
pub use recover::*;
pub use refund::*;
pub use request_refund::*;
pub use set_delegate::*;
pub use set_terms::*;
pub use sweep::*;
pub use top_up::*;
pub use verify_receipt::*;
pub use withdraw_earnings::*;
