//! Well-formed instructions; tests change one thing at a time.

use compute_escrow::rows::Rows;
use compute_escrow::typed_data::{domain_separator, open_session_digest, terms_hash};
use compute_escrow::{ID, accounts as a, instruction as i, seeds};
use compute_program_testing::accounts::INSTRUCTIONS;
use compute_program_testing::vm::instruction;
use provider_registry::content::Content;
use provider_registry::{ID as REGISTRY, accounts as ra, instruction as ri, seeds as rs};

use super::*;

pub(crate) const EVENTS: Pubkey = compute_escrow::EVENT_AUTHORITY_AND_BUMP.0;
const REGISTRY_EVENTS: Pubkey = provider_registry::EVENT_AUTHORITY_AND_BUMP.0;
const ATA: Pubkey = anchor_spl::associated_token::ID;

pub(crate) fn pda(seeds: &[&[u8]]) -> Pubkey {
    Pubkey::find_program_address(seeds, &ID).0
}

pub(crate) fn registry_address() -> Pubkey {
    Pubkey::find_program_address(&[rs::REGISTRY], &REGISTRY).0
}

pub(crate) fn provider_address(id: u32) -> Pubkey {
    Pubkey::find_program_address(&[rs::PROVIDER, &id.to_le_bytes()], &REGISTRY).0
}

pub(crate) fn escrow_address(id: u32) -> Pubkey {
    pda(&[seeds::ESCROW, &id.to_le_bytes()])
}

pub(crate) fn agent_address(escrow: u32, agent: Pubkey) -> Pubkey {
    pda(&[seeds::AGENT, &escrow.to_le_bytes(), agent.as_ref()])
}

pub(crate) fn session_address(escrow: u32, sequence: u32) -> Pubkey {
    pda(&[seeds::SESSION, &escrow.to_le_bytes(), &sequence.to_le_bytes()])
}

pub(crate) fn earnings_address(provider: u32) -> Pubkey {
    pda(&[seeds::EARNINGS, &provider.to_le_bytes()])
}

pub(crate) fn deposit_address(terms: &EscrowTerms) -> Pubkey {
    pda(&[seeds::DEPOSIT, &terms_hash(terms)])
}

// ---------------------------------------------------------------- registry

pub(crate) fn register(payer: Pubkey, owner: Pubkey, id: u32, content: Content) -> Instruction {
    let accounts = ra::Register {
        payer,
        owner,
        registry: registry_address(),
        provider: provider_address(id),
        system_program: SYSTEM,
        event_authority: REGISTRY_EVENTS,
        program: REGISTRY,
    };
    instruction(REGISTRY, &accounts, &ri::Register { content })
}

pub(crate) fn update(owner: Pubkey, id: u32, content: Content) -> Instruction {
    let provider = provider_address(id);
    let accounts = ra::Update { owner, provider, event_authority: REGISTRY_EVENTS, program: REGISTRY };
    instruction(REGISTRY, &accounts, &ri::Update { content })
}

pub(crate) fn retire(owner: Pubkey, id: u32) -> Instruction {
    let provider = provider_address(id);
    let accounts = ra::Retire { owner, provider, event_authority: REGISTRY_EVENTS, program: REGISTRY };
    instruction(REGISTRY, &accounts, &ri::Retire {})
}

// ------------------------------------------------------------------ budget

fn with_agents(mut built: Instruction, id: u32, terms: &EscrowTerms) -> Instruction {
    let agents = terms.agents.iter().map(|agent| AccountMeta::new(address(agent_address(id, *agent)), false));
    built.accounts.extend(agents);
    built
}

/// The next escrow, `id`.
pub(crate) fn create(payer: Pubkey, id: u32, terms: &EscrowTerms, amount: u64) -> Instruction {
    let accounts = a::Create {
        payer,
        creator: terms.creator,
        escrows: pda(&[seeds::ESCROWS]),
        escrow: escrow_address(id),
        source: token_address(terms.creator),
        vault: seeds::VAULT_TOKEN_ACCOUNT,
        vault_authority: seeds::VAULT_AUTHORITY,
        mint: seeds::USDC,
        token_program: TOKEN,
        associated_token_program: ATA,
        system_program: SYSTEM,
        event_authority: EVENTS,
        program: ID,
    };
    with_agents(instruction(ID, &accounts, &i::Create { terms: terms.clone(), amount }), id, terms)
}

pub(crate) fn fund(funder: Pubkey, id: u32, amount: u64) -> Instruction {
    let accounts = a::Fund {
        funder,
        escrow: escrow_address(id),
        source: token_address(funder),
        vault: seeds::VAULT_TOKEN_ACCOUNT,
        mint: seeds::USDC,
        token_program: TOKEN,
        event_authority: EVENTS,
        program: ID,
    };
    instruction(ID, &accounts, &i::Fund { amount })
}

pub(crate) fn open_deposit_address(payer: Pubkey, terms: &EscrowTerms) -> Instruction {
    let at = deposit_address(terms);
    let accounts = a::OpenDepositAddress {
        payer,
        deposit_address: at,
        deposit_token: token_address(at),
        mint: seeds::USDC,
        token_program: TOKEN,
        associated_token_program: ATA,
        system_program: SYSTEM,
    };
    instruction(ID, &accounts, &i::OpenDepositAddress { terms_hash: terms_hash(terms) })
}

/// Into escrow `id`, which it feeds or creates.
pub(crate) fn sweep(payer: Pubkey, id: u32, terms: &EscrowTerms) -> Instruction {
    let at = deposit_address(terms);
    let accounts = a::Sweep {
        payer,
        escrows: pda(&[seeds::ESCROWS]),
        deposit_address: at,
        deposit_token: token_address(at),
        escrow: escrow_address(id),
        vault: seeds::VAULT_TOKEN_ACCOUNT,
        vault_authority: seeds::VAULT_AUTHORITY,
        mint: seeds::USDC,
        token_program: TOKEN,
        associated_token_program: ATA,
        system_program: SYSTEM,
        event_authority: EVENTS,
        program: ID,
    };
    with_agents(instruction(ID, &accounts, &i::Sweep { terms: terms.clone() }), id, terms)
}

/// `from`, `to`: token accounts of the address and of the creator; of `mint` and its program.
pub(crate) fn recover(
    caller: Pubkey,
    terms: &EscrowTerms,
    from: Pubkey,
    to: Pubkey,
    (mint, token_program): (Pubkey, Pubkey),
) -> Instruction {
    let accounts = a::Recover {
        caller,
        deposit_address: deposit_address(terms),
        source: from,
        destination: to,
        mint,
        token_program,
        event_authority: EVENTS,
        program: ID,
    };
    instruction(ID, &accounts, &i::Recover { terms: terms.clone() })
}

pub(crate) fn close_deposit_address(
    rent_payer: Pubkey,
    terms: &EscrowTerms,
    creator_token: Option<Pubkey>,
) -> Instruction {
    let at = deposit_address(terms);
    let accounts = a::CloseDepositAddress {
        rent_payer,
        deposit_address: at,
        deposit_token: token_address(at),
        creator_token,
        mint: seeds::USDC,
        token_program: TOKEN,
        event_authority: EVENTS,
        program: ID,
    };
    instruction(ID, &accounts, &i::CloseDepositAddress { terms: terms.clone() })
}

pub(crate) fn add_agent(payer: Pubkey, creator: Pubkey, id: u32, agent: Pubkey) -> Instruction {
    let accounts = a::AddAgent {
        payer,
        creator,
        escrow: escrow_address(id),
        agent_account: agent_address(id, agent),
        system_program: SYSTEM,
        event_authority: EVENTS,
        program: ID,
    };
    instruction(ID, &accounts, &i::AddAgent { agent })
}

pub(crate) fn remove_agent(creator: Pubkey, id: u32, agent: Pubkey) -> Instruction {
    let agent_account = agent_address(id, agent);
    let accounts =
        a::RemoveAgent { creator, escrow: escrow_address(id), agent_account, event_authority: EVENTS, program: ID };
    instruction(ID, &accounts, &i::RemoveAgent { agent })
}

pub(crate) fn close_agent(rent_payer: Pubkey, id: u32, agent: Pubkey) -> Instruction {
    let accounts = a::CloseAgent { rent_payer, agent_account: agent_address(id, agent), escrow: escrow_address(id) };
    instruction(ID, &accounts, &i::CloseAgent {})
}

// ---------------------------------------------------------------- sessions

/// As the escrow's session number `sequence`, by an agent on its list.
pub(crate) fn open_session(payer: Pubkey, agent: Pubkey, request: &SessionRequest, sequence: u32) -> Instruction {
    open_session_by(payer, agent, Some(agent_address(request.escrow_id, agent)), request, sequence)
}

pub(crate) fn open_session_by(
    payer: Pubkey,
    agent: Pubkey,
    agent_account: Option<Pubkey>,
    request: &SessionRequest,
    sequence: u32,
) -> Instruction {
    let accounts = a::OpenSession {
        payer,
        agent,
        escrow: escrow_address(request.escrow_id),
        agent_account,
        provider: provider_address(request.provider_id),
        session: session_address(request.escrow_id, sequence),
        earnings: earnings_address(request.provider_id),
        system_program: SYSTEM,
        event_authority: EVENTS,
        program: ID,
    };
    instruction(ID, &accounts, &i::OpenSession { request: request.clone() })
}

pub(crate) fn open_session_with_signature(
    payer: Pubkey,
    agent: Pubkey,
    request: &SessionRequest,
    sequence: u32,
) -> Instruction {
    let accounts = a::OpenSessionWithSignature {
        payer,
        escrow: escrow_address(request.escrow_id),
        agent_account: agent_address(request.escrow_id, agent),
        provider: provider_address(request.provider_id),
        session: session_address(request.escrow_id, sequence),
        earnings: earnings_address(request.provider_id),
        instructions: INSTRUCTIONS,
        system_program: SYSTEM,
        event_authority: EVENTS,
        program: ID,
    };
    instruction(ID, &accounts, &i::OpenSessionWithSignature { request: request.clone(), agent })
}

/// What the agent signs.
pub(crate) fn opening_digest(request: &SessionRequest, agent: Pubkey, nonce: u32) -> [u8; 32] {
    open_session_digest(&domain_separator(seeds::CLUSTER, &ID), request, &agent, nonce)
}

/// What the meter signs.
pub(crate) fn cost_digest(cost: &SessionCost) -> [u8; 32] {
    cost.digest(&domain_separator(seeds::CLUSTER, &ID))
}

/// The four accounts of a close: of a session with a provider, opened at the cost of `rent_payer`.
pub(crate) fn of_session(id: u64, provider: u32, rent_payer: Pubkey) -> [Pubkey; 4] {
    let (escrow, sequence) = ((id >> 32) as u32, id as u32);
    [session_address(escrow, sequence), escrow_address(escrow), earnings_address(provider), rent_payer]
}

pub(crate) fn close_session(cost: &SessionCost, rent_payer: Pubkey) -> Instruction {
    let [session, escrow, earnings, rent_payer] = of_session(cost.session_id, cost.provider, rent_payer);
    let accounts = a::CloseSession {
        session,
        escrow,
        earnings,
        rent_payer,
        instructions: INSTRUCTIONS,
        event_authority: EVENTS,
        program: ID,
    };
    let SessionCost { cost, receipt_count, receipts_root, .. } = *cost;
    instruction(ID, &accounts, &i::CloseSession { cost, receipt_count, receipts_root })
}

pub(crate) fn close_sessions(meter: Pubkey, rows: &[Row], of: &[[Pubkey; 4]]) -> Instruction {
    let accounts = a::CloseSessions { meter, event_authority: EVENTS, program: ID };
    let mut built = instruction(ID, &accounts, &i::CloseSessions { rows: Rows::new(rows).unwrap() });
    built.accounts.extend(of.as_flattened().iter().map(|account| AccountMeta::new(address(*account), false)));
    built
}

pub(crate) fn lapse_session(id: u64, rent_payer: Pubkey) -> Instruction {
    let [session, escrow, _, rent_payer] = of_session(id, 1, rent_payer);
    let accounts = a::LapseSession { session, escrow, rent_payer, event_authority: EVENTS, program: ID };
    instruction(ID, &accounts, &i::LapseSession {})
}

pub(crate) fn lapse_sessions(of: &[[Pubkey; 3]]) -> Instruction {
    let accounts = a::LapseSessions { event_authority: EVENTS, program: ID };
    let mut built = instruction(ID, &accounts, &i::LapseSessions {});
    built.accounts.extend(of.as_flattened().iter().map(|account| AccountMeta::new(address(*account), false)));
    built
}

// -------------------------------------------------------------------- exit

pub(crate) fn refund(creator: Pubkey, id: u32, amount: u64) -> Instruction {
    let accounts = a::Refund {
        creator,
        escrow: escrow_address(id),
        creator_token: token_address(creator),
        vault: seeds::VAULT_TOKEN_ACCOUNT,
        vault_authority: seeds::VAULT_AUTHORITY,
        mint: seeds::USDC,
        token_program: TOKEN,
        event_authority: EVENTS,
        program: ID,
    };
    instruction(ID, &accounts, &i::Refund { amount })
}

pub(crate) fn expire(id: u32, creator: Pubkey, rent_payer: Pubkey, deposit_address: Option<Pubkey>) -> Instruction {
    let accounts = a::Expire {
        escrow: escrow_address(id),
        creator_token: token_address(creator),
        rent_payer,
        deposit_address,
        vault: seeds::VAULT_TOKEN_ACCOUNT,
        vault_authority: seeds::VAULT_AUTHORITY,
        mint: seeds::USDC,
        token_program: TOKEN,
        event_authority: EVENTS,
        program: ID,
    };
    instruction(ID, &accounts, &i::Expire {})
}

pub(crate) fn withdraw(owner: Pubkey, provider: u32, amount: u64) -> Instruction {
    let accounts = a::Withdraw {
        owner,
        provider: provider_address(provider),
        earnings: earnings_address(provider),
        destination: token_address(owner),
        vault: seeds::VAULT_TOKEN_ACCOUNT,
        vault_authority: seeds::VAULT_AUTHORITY,
        mint: seeds::USDC,
        token_program: TOKEN,
        event_authority: EVENTS,
        program: ID,
    };
    instruction(ID, &accounts, &i::Withdraw { amount })
}

pub(crate) fn verify_receipt(
    provider: u32,
    session_cost: &SessionCost,
    number: u64,
    receipt_hash: [u8; 32],
    proof: Vec<[u8; 32]>,
    range_proof: Vec<[u8; 32]>,
) -> Instruction {
    let accounts = a::VerifyReceipt { earnings: earnings_address(provider) };
    let session_cost = session_cost.clone();
    instruction(ID, &accounts, &i::VerifyReceipt { session_cost, number, receipt_hash, proof, range_proof })
}
