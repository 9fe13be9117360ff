//! One file a verb.

mod close_account;
mod deposit;
mod deposit_address;
mod post_debits;
mod raise_ceiling;
mod recover;
mod refund;
mod request_refund;
mod set_delegate;
mod set_terms;
mod top_up;
mod verify_receipt;
mod withdraw_earnings;
