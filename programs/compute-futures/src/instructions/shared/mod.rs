//! Steps that several verbs share.

pub(super) mod address;
pub(super) mod exit;
pub(super) mod opening;
