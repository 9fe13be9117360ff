-- The marketplace as its meter sees it: the same statements on SQLite and PostgreSQL.
-- Amounts are micro-USDC, times are unix seconds unless the column says _ms, flags are 0 or 1. Session ids use all 64 bits.

-- How far the marketplace's contracts are followed; apart from ComputeFutures, because it may be switched on later.
CREATE TABLE market_cursor (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    -- ComputeEscrow that is followed: another one would be another marketplace.
    contract BYTEA NOT NULL,
    block_number BIGINT NOT NULL,
    block_hash BYTEA NOT NULL,
    block_timestamp BIGINT NOT NULL
);

CREATE TABLE market_blocks (
    number BIGINT PRIMARY KEY,
    hash BYTEA NOT NULL
);

-- Providers' events, those of sessions that we meter, emptied escrows, and whatever our own transactions did.
CREATE TABLE market_events (
    block_number BIGINT NOT NULL,
    log_index BIGINT NOT NULL,
    block_hash BYTEA NOT NULL,
    block_timestamp BIGINT NOT NULL,
    transaction_hash BYTEA NOT NULL,
    provider BIGINT,
    escrow BIGINT,
    session BIGINT,
    kind TEXT NOT NULL,
    event_json TEXT NOT NULL,
    PRIMARY KEY (block_number, log_index)
);
CREATE INDEX market_events_provider ON market_events (provider, block_number, log_index);
CREATE INDEX market_events_escrow ON market_events (escrow, block_number, log_index);
CREATE INDEX market_events_session ON market_events (session, block_number, log_index);
CREATE INDEX market_events_tx ON market_events (transaction_hash);

-- Providers as they stand now. content_json: what they publish; NULL when it is no text.
CREATE TABLE market_providers (
    id BIGINT PRIMARY KEY,
    owner BYTEA NOT NULL,
    version BIGINT NOT NULL,
    content_hash BYTEA NOT NULL,
    content_json TEXT,
    retired BIGINT NOT NULL
);

-- Everything that was ever published, by its hash: what sessions are priced at. What a hash stands for no reorg changes.
CREATE TABLE market_contents (
    hash BYTEA PRIMARY KEY,
    content_json TEXT NOT NULL
);

-- Sessions whose meter we are. First what the chain says (rewritten by the follower), then what happened here.
CREATE TABLE market_sessions (
    id BIGINT PRIMARY KEY,
    escrow BIGINT NOT NULL,
    agent BYTEA NOT NULL,
    provider BIGINT NOT NULL,
    content_hash BYTEA NOT NULL,
    session_limit BIGINT NOT NULL CHECK (session_limit >= 0),
    deadline BIGINT NOT NULL,
    -- The least that a call on it costs, at least 1.
    least_charge BIGINT NOT NULL CHECK (least_charge > 0),
    opened_block BIGINT NOT NULL,
    -- gone: a reorg took its opening away.
    chain_status TEXT NOT NULL CHECK (chain_status IN ('open', 'closed', 'lapsed', 'gone')),
    -- What the chain paid, and the transaction that closed or lapsed it; NULL while open.
    paid BIGINT,
    transaction_hash BYTEA,
    -- Ours. open: takes calls. closing: takes none any more. closed: its cost is signed and never changes.
    state TEXT NOT NULL CHECK (state IN ('open', 'closing', 'closed')),
    -- 1: a reorg gave this id to another session after calls were made on it: those are nobody's any more, and it is closed at nothing.
    void BIGINT NOT NULL,
    -- Σ costs of its receipts; Σ holds of its calls in flight; how many receipts, which is the sequence of the newest.
    cost BIGINT NOT NULL CHECK (cost >= 0),
    held BIGINT NOT NULL CHECK (held >= 0),
    receipts BIGINT NOT NULL CHECK (receipts >= 0),
    signed_cost_json TEXT,
    last_call_ms BIGINT NOT NULL,
    -- The outbox's purpose of the newest transaction that closes or lapses it, how many there were, and when to try another.
    purpose TEXT,
    attempts BIGINT NOT NULL,
    retry_ms BIGINT NOT NULL,
    CHECK (void = 1 OR cost + held <= session_limit)
);
CREATE INDEX market_sessions_agent ON market_sessions (agent, escrow);
CREATE INDEX market_sessions_escrow ON market_sessions (escrow);
-- Looked at all the time; closed ones pile up.
CREATE INDEX market_sessions_live ON market_sessions (deadline) WHERE chain_status = 'open';

-- Every call on a session. open: its hold stands. done: charged, with its receipt. failed: nothing was charged.
CREATE TABLE market_calls (
    execution_id BYTEA PRIMARY KEY,
    session BIGINT NOT NULL REFERENCES market_sessions (id),
    agent BYTEA NOT NULL,
    nonce BYTEA NOT NULL,
    request_hash BYTEA NOT NULL,
    model TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'done', 'failed')),
    held BIGINT NOT NULL CHECK (held >= 0),
    -- The process that works on it: a row of `leases`.
    lease BIGINT NOT NULL DEFAULT 0,
    -- Of the receipt: its place in the session, from 1 without gaps.
    sequence BIGINT,
    cost BIGINT CHECK (cost >= 0),
    receipt_json TEXT,
    signature BYTEA,
    answer BYTEA,
    error_json TEXT,
    input_tokens BIGINT,
    output_tokens BIGINT,
    latency_ms BIGINT,
    created_ms BIGINT NOT NULL,
    UNIQUE (agent, nonce)
);
CREATE UNIQUE INDEX market_calls_sequence ON market_calls (session, sequence) WHERE sequence IS NOT NULL;
CREATE INDEX market_calls_open ON market_calls (created_ms) WHERE state = 'open';

-- What was brought on chain for others in the last hour is counted.
CREATE INDEX outbox_created ON outbox (created_ms);
