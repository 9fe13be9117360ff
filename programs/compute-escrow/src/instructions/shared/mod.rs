//! Steps that several verbs share.

pub(super) mod address;
pub(super) mod agents;
pub(super) mod closing;
pub(super) mod creation;
pub(super) mod lapsing;
pub(super) mod opening;
pub(super) mod vault;
