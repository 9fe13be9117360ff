//! Providers: what they publish, and what they take out.

use compute_futures_protocol::{Address, B256, Usdc, market::ProviderContent};

use super::{About, Entry, Fold};
use crate::market::{Key, ProviderRow};

impl Fold {
    pub(super) fn published(
        &mut self,
        kind: &'static str,
        id: u32,
        owner: Address,
        version: u32,
        hash: B256,
        content: Option<&ProviderContent>,
    ) {
        let at = self.at;
        self.touch(Key::Provider(id));
        let row = self.known.providers.entry(id).or_insert_with(|| ProviderRow::new(id, owner, at));
        let (before, owned_by) = (row.version, row.owner);
        (row.version, row.content_hash, row.updated_at) = (version, Some(hash), at.as_u64());
        if version != before + 1 {
            self.report("provider_version", About::provider(id), format!("version {version} follows {before}"));
        }
        if owned_by != owner {
            self.report("provider_owner", About::provider(id), format!("{owned_by} became {owner}"));
        }
        if let Some(hashed) = content.map(ProviderContent::hash).filter(|hashed| *hashed != hash) {
            let detail =
                format!("the content of version {version} has the hash {hashed}, the chain says {hash} (I-11)");
            self.report("provider_content", About::provider(id), detail);
        }
        // A content of strings and numbers always has a JSON form.
        let text = content.and_then(|content| serde_json::to_string(content).ok());
        self.rows.contents.push([at.into(), self.tx.into(), id.into(), version.into(), hash.into(), text.into()]);
        self.note(kind, Entry { provider: Some(id), party: Some(owner), ..Entry::default() });
    }

    pub(super) fn retired(&mut self, id: u32, owner: Address, version: u32) {
        let row = self.provider(id);
        let before = row.version;
        (row.version, row.content_hash) = (version, None);
        if version != before {
            let detail = format!("retired at version {version}, it had {before}");
            self.report("provider_version", About::provider(id), detail);
        }
        self.note("providerRetired", Entry { provider: Some(id), party: Some(owner), ..Entry::default() });
    }

    pub(super) fn withdrawn(&mut self, id: u32, to: Address, amount: Usdc) {
        let row = self.provider(id);
        let earnings = row.earnings();
        row.withdrawn += amount.micros();
        if amount.micros() > earnings {
            let detail = format!("{} micro-USDC withdrawn of {earnings} earned (I-1)", amount.micros());
            self.report("provider_withdrawn_beyond_earnings", About::provider(id), detail);
        }
        let entry = Entry { provider: Some(id), party: Some(to), amount: Some(amount), ..Entry::default() };
        self.note("earningsWithdrawn", entry);
    }
}
