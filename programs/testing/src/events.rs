//! What an indexer reads.

use anchor_lang::event::EVENT_IX_TAG_LE;
use anchor_lang::{AnchorDeserialize, Discriminator};
use litesvm::types::TransactionMetadata;

/// Data of the programs' calls to themselves, without the tag.
pub fn recorded(done: &TransactionMetadata) -> Vec<Vec<u8>> {
    let inner = done.inner_instructions.iter().flatten();
    inner.filter_map(|call| call.instruction.data.strip_prefix(EVENT_IX_TAG_LE).map(<[u8]>::to_vec)).collect()
}

/// The one event of a transaction.
#[track_caller]
pub fn event<E: AnchorDeserialize + Discriminator>(done: &TransactionMetadata) -> E {
    let events = recorded(done);
    assert_eq!(events.len(), 1, "one event an instruction");
    let mut fields = events[0].strip_prefix(E::DISCRIMINATOR).expect("another event");
    let event = E::deserialize(&mut fields).unwrap();
    assert!(fields.is_empty());
    event
}
