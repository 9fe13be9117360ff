//! The program's accounts, decoded. Layouts: docs/adr/010-solana.md.

use compute_futures_protocol::{
    AccountId, AccountState, B256, DiscountFloor, MAX_BATCH_NUMBER, SolanaAddress, Terms, Tier, Usdc,
};
use sha2::{Digest, Sha256};

use super::bytes::Bytes;

/// Lamports that an account of 224 bytes holds while it is open; 128 bytes on top are charged for any.
pub(super) const ACCOUNT_RENT: u64 = (128 + 224) * 6_960;
/// Batches whose roots an operator account holds.
const RECENT_ROOTS: u64 = 64;
/// Where they begin.
const RECENT_ROOTS_AT: usize = 1_432;

/// First eight bytes of sha256("`kind`:`name`").
pub(super) fn discriminator(kind: &str, name: &str) -> [u8; 8] {
    let hash: [u8; 32] = Sha256::digest(format!("{kind}:{name}")).into();
    hash.first_chunk().copied().unwrap_or_default()
}

pub(super) fn account<'a>(data: &'a [u8], name: &str) -> Option<Bytes<'a>> {
    let mut bytes = Bytes::of(data);
    (bytes.array()? == discriminator("account", name)).then_some(bytes)
}

/// `Registry`: how many operators there are.
pub(super) fn operator_count(data: &[u8]) -> Option<u32> {
    account(data, "Registry")?.u32()
}

/// `OperatorOf`: the index of an authority.
pub(super) fn operator_index(data: &[u8]) -> Option<u32> {
    account(data, "OperatorOf")?.u32()
}

/// `DepositAddress`: the open account it feeds, if any.
pub(super) fn fed_account(data: &[u8]) -> Option<Option<AccountId>> {
    match account(data, "DepositAddress")?.u64()? {
        0 => Some(None),
        id => AccountId::try_from(id).ok().map(Some),
    }
}

/// Amount of a token account of the SPL Token program.
pub(super) fn token_amount(data: &[u8]) -> Option<u64> {
    let mut bytes = Bytes::of(data);
    bytes.skip(64)?;
    bytes.u64()
}

/// `Operator`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Operator {
    pub(super) authority: SolanaAddress,
    pub(super) earnings: Usdc,
    pub(super) last_batch: u64,
    pub(super) index: u32,
    pub(super) last_sequence: u32,
    pub(super) terms_version: u32,
    pub(super) terms: Terms,
    recent_roots: Vec<B256>,
}

impl Operator {
    pub(super) fn decode(data: &[u8]) -> Option<Self> {
        let mut bytes = account(data, "Operator")?;
        let (authority, earnings, last_batch) = (bytes.key()?, bytes.usdc()?, bytes.u64()?);
        let rate_card_hash = bytes.hash()?;
        let (index, last_sequence, terms_version) = (bytes.u32()?, bytes.u32()?, bytes.u32()?);
        let (refund_delay, minimum_deposit) = (bytes.u32()?, bytes.usdc()?);
        let tiers = tiers(&mut bytes)?;
        let mut roots = Bytes::of(data.get(RECENT_ROOTS_AT..)?);
        let recent_roots = (0..RECENT_ROOTS).map(|_| roots.hash()).collect::<Option<_>>()?;
        let terms = Terms { refund_delay, minimum_deposit, rate_card_hash, tiers };
        Some(Self { authority, earnings, last_batch, index, last_sequence, terms_version, terms, recent_roots })
    }

    /// The root of a batch: `Ok(None)` when it is not posted, `Err` when it is too old to be kept here.
    pub(super) fn root(&self, number: u64) -> Result<Option<B256>, ()> {
        if number == 0 || number > self.last_batch || number > MAX_BATCH_NUMBER {
            return Ok(None);
        }
        if self.last_batch - number >= RECENT_ROOTS {
            return Err(());
        }
        usize::try_from(number % RECENT_ROOTS).map(|slot| self.recent_roots.get(slot).copied()).map_err(|_| ())
    }
}

fn tiers(bytes: &mut Bytes<'_>) -> Option<Vec<Tier>> {
    let mut tiers = Vec::new();
    for _ in 0..3 {
        let (minimum, discount_bps) = (bytes.u48()?, bytes.u16()?);
        if discount_bps != 0 {
            tiers.push(Tier { minimum_deposit: Usdc::try_from(minimum).ok()?, discount_bps });
        }
    }
    Some(tiers)
}

/// `FuturesAccount`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FuturesAccount {
    pub(super) id: AccountId,
    pub(super) state: AccountState,
    pub(super) refundable_at: Option<u64>,
    pub(super) terms_version: u32,
    pub(super) owner: SolanaAddress,
    pub(super) delegate: Option<SolanaAddress>,
    pub(super) rent_payer: SolanaAddress,
    pub(super) deposit_address: Option<SolanaAddress>,
}

impl FuturesAccount {
    pub(super) fn decode(data: &[u8]) -> Option<Self> {
        let mut bytes = account(data, "FuturesAccount")?;
        let id = bytes.account()?;
        let (credit, charged, ceiling) = (bytes.usdc()?, bytes.usdc()?, bytes.usdc()?);
        let (discount_from_batch, refundable_at, terms_version) = (bytes.u64()?, bytes.u64()?, bytes.u32()?);
        bytes.skip(4 + 24)?;
        let (remainder, discount_bps, previous_discount_bps) = (bytes.u16()?, bytes.u16()?, bytes.u16()?);
        bytes.skip(2)?;
        let discount = DiscountFloor { discount_bps, previous_discount_bps, discount_from_batch };
        Some(Self {
            id,
            state: AccountState { credit, charged, ceiling, remainder, discount },
            refundable_at: (refundable_at != 0).then_some(refundable_at),
            terms_version,
            owner: bytes.key()?,
            delegate: bytes.optional_key()?,
            rent_payer: bytes.key()?,
            deposit_address: bytes.optional_key()?,
        })
    }
}
