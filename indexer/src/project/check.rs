//! What the chain says and the model does not.

use compute_futures_protocol::AccountId;

use super::Position;
use crate::store::{Bulk, Value};

/// One disagreement. `code` is stable; `detail` names both figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discrepancy {
    /// The event it was seen at.
    pub position: Position,
    /// Stable name: see `docs/operations/indexer.md` for the list.
    pub code: &'static str,
    /// Concerned operator.
    pub operator_index: Option<u32>,
    /// Concerned account.
    pub account: Option<AccountId>,
    /// Concerned batch.
    pub batch_number: Option<u64>,
    /// Both figures.
    pub detail: String,
}

impl Discrepancy {
    pub(crate) fn push_to(&self, bulk: &mut Bulk) {
        bulk.push([
            self.position.into(),
            self.code.into(),
            self.operator_index.map(u64::from).into(),
            self.account.map(|id| id.get()).into(),
            self.batch_number.into(),
            Value::from(self.detail.as_str()),
        ]);
    }
}
