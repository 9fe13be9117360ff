//! One file a verb.

mod agents;
mod close_session;
mod close_sessions;
mod create;
mod deposit_address;
mod expire;
mod fund;
mod lapse;
mod open_session;
mod open_session_with_signature;
mod recover;
mod refund;
mod verify_receipt;
mod withdraw;
