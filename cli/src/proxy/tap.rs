//! What a receipt needs to know of an answer while it passes: its hash, and for streams the receipt itself.

use alloy::primitives::Keccak256;
use compute_futures_protocol::{B256, SignedReceipt};
use serde::Deserialize;

/// The line that starts the last event of a paid stream. What is before it is what the receipt attests.
const MARK: &[u8] = b"event: receipt";
/// A line longer than this cannot be the mark, so it need not be kept.
const LONGEST: usize = 64 * 1024;

/// Hashes what passes.
pub(super) struct Tap {
    hash: Keccak256,
    /// `None`: the whole body counts. `Some`: a stream of events, by lines.
    events: Option<Events>,
}

#[derive(Default)]
struct Events {
    /// The line so far.
    line: Vec<u8>,
    /// Whether it goes on one that was too long to keep.
    goes_on: bool,
    /// What comes after the mark.
    receipt: Option<Vec<u8>>,
}

#[derive(Deserialize)]
struct Last {
    receipt: SignedReceipt,
}

impl Tap {
    /// For an answer that is, or is not, a stream of events.
    pub(super) fn new(events: bool) -> Self {
        Self { hash: Keccak256::new(), events: events.then(Events::default) }
    }

    /// The next bytes as they came.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let Some(events) = &mut self.events else { return self.hash.update(bytes) };
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if let Some(receipt) = &mut events.receipt {
                if receipt.len() < LONGEST {
                    receipt.extend_from_slice(piece);
                }
                continue;
            }
            events.line.extend_from_slice(piece);
            let whole = events.line.ends_with(b"\n");
            if whole && !events.goes_on && events.line.trim_ascii_end() == MARK {
                events.receipt = Some(Vec::new());
            } else if whole || events.line.len() > LONGEST {
                self.hash.update(&events.line);
            } else {
                continue;
            }
            events.goes_on = !whole;
            events.line.clear();
        }
    }

    /// The hash of what the receipt attests, and the receipt that ended a stream.
    pub(super) fn finish(mut self) -> (B256, Option<SignedReceipt>) {
        let mut found = None;
        if let Some(events) = self.events {
            self.hash.update(&events.line);
            found = events.receipt.and_then(|text| {
                let data = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"data:"))?;
                serde_json::from_slice::<Last>(data).ok().map(|last| last.receipt)
            });
        }
        (self.hash.finalize(), found)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use compute_futures_protocol::keccak256;

    use super::*;

    const TEXT: &str = "data: {\"choices\":[]}\n\ndata: [DONE]\n\n";

    #[test]
    fn a_stream_counts_up_to_its_receipt_however_it_is_cut() {
        let whole = format!("{TEXT}event: receipt\ndata: {{\"receipt\": 7}}\n\n");
        for size in 1..whole.len() {
            let mut tap = Tap::new(true);
            whole.as_bytes().chunks(size).for_each(|chunk| tap.feed(chunk));
            assert_eq!(tap.events.as_ref().unwrap().receipt.as_deref(), Some(&b"data: {\"receipt\": 7}\n\n"[..]));
            // What is no receipt is none.
            assert_eq!(tap.finish(), (keccak256(TEXT), None), "in pieces of {size}");
        }
    }

    #[test]
    fn the_mark_counts_only_as_a_line_of_its_own() {
        for text in ["data: event: receipt\n\n", "event: receipts\n", "x event: receipt\ndata: {}\n", TEXT] {
            let mut tap = Tap::new(true);
            tap.feed(text.as_bytes());
            assert_eq!(tap.finish(), (keccak256(text), None), "{text}");
        }
        let long = "y".repeat(3 * LONGEST);
        let mut tap = Tap::new(true);
        tap.feed(long.as_bytes());
        let long = long + "event: receipt\n";
        tap.feed(b"event: receipt\n");
        assert!(tap.events.as_ref().unwrap().line.len() <= LONGEST, "nobody makes it keep what it need not");
        assert_eq!(tap.finish().0, keccak256(&long));
        let mut whole = Tap::new(false);
        whole.feed(b"event: receipt\n");
        assert_eq!(whole.finish().0, keccak256("event: receipt\n"));
    }
}
