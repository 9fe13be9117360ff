-- The relayer's ledger: the same statements on SQLite and PostgreSQL.
-- Amounts are micro-USDC, times are unix seconds unless the column says _ms, flags are 0 or 1. BYTEA is a blob on both.

-- Whose ledger this is. One row; a ledger never changes hands.
CREATE TABLE identity (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    chain TEXT NOT NULL,
    contract BYTEA NOT NULL,
    operator_index BIGINT NOT NULL,
    -- The batch that should not wait for the batcher's limits, and why.
    flush_batch BIGINT NOT NULL,
    flush_reason TEXT NOT NULL
);

-- One row per account of our operator. First what the chain says (rewritten by the follower), then what happened here.
CREATE TABLE accounts (
    id BIGINT PRIMARY KEY,
    owner BYTEA NOT NULL,
    delegate BYTEA,
    terms_version BIGINT NOT NULL,
    opened_at BIGINT NOT NULL,
    credit BIGINT NOT NULL CHECK (credit >= 0),
    unconfirmed BIGINT NOT NULL CHECK (unconfirmed >= 0),
    chain_charged BIGINT NOT NULL CHECK (chain_charged >= 0),
    chain_ceiling BIGINT NOT NULL CHECK (chain_ceiling >= 0),
    chain_remainder BIGINT NOT NULL CHECK (chain_remainder >= 0 AND chain_remainder < 10000),
    discount_bps BIGINT NOT NULL CHECK (discount_bps >= 0 AND discount_bps <= 10000),
    refundable_at BIGINT NOT NULL,
    closed BIGINT NOT NULL,
    -- Ours. charged here and not confirmed on chain = total_charged - settled.
    held BIGINT NOT NULL CHECK (held >= 0),
    total_charged BIGINT NOT NULL CHECK (total_charged >= 0),
    settled BIGINT NOT NULL CHECK (settled >= 0),
    written_off BIGINT NOT NULL CHECK (written_off >= 0),
    total_list BIGINT NOT NULL CHECK (total_list >= 0),
    remainder BIGINT NOT NULL CHECK (remainder >= 0 AND remainder < 10000),
    signed_ceiling BIGINT NOT NULL CHECK (signed_ceiling >= 0),
    sequence BIGINT NOT NULL CHECK (sequence >= 0),
    -- The last row this account has in a batch: charges at the same rate in the same batch share it.
    row_batch BIGINT NOT NULL,
    row_bps BIGINT NOT NULL,
    closing BIGINT NOT NULL,
    -- 1: a reorg gave this id to another owner; the first one's receipts are never posted against the second.
    void BIGINT NOT NULL,
    frozen TEXT,
    CHECK (settled <= total_charged)
);
CREATE INDEX accounts_owner ON accounts (owner);
-- Few rows each, looked for at every turn.
CREATE INDEX accounts_unconfirmed ON accounts (id) WHERE unconfirmed > 0;
CREATE INDEX accounts_closing ON accounts (id) WHERE closing = 1 AND closed = 0;
CREATE INDEX accounts_void ON accounts (id) WHERE void = 1;

-- Credit reserved by jobs in flight. A row lives from hold to charge or release.
CREATE TABLE holds (
    job_id BYTEA PRIMARY KEY,
    account BIGINT NOT NULL REFERENCES accounts (id),
    idempotency_key BYTEA NOT NULL,
    request_hash BYTEA NOT NULL,
    amount BIGINT NOT NULL CHECK (amount >= 0),
    max_list BIGINT NOT NULL CHECK (max_list >= 0),
    discount_bps BIGINT NOT NULL,
    lease BIGINT NOT NULL,
    kind TEXT NOT NULL,
    model TEXT NOT NULL,
    authorization_hash BYTEA NOT NULL,
    authorization_json TEXT NOT NULL,
    held_at_ms BIGINT NOT NULL
);
CREATE UNIQUE INDEX holds_key ON holds (idempotency_key, account);

-- Every charge, for good. The receipt's fields, what the depositor signed, and the answer that every retry gets.
CREATE TABLE receipts (
    account BIGINT NOT NULL,
    sequence BIGINT NOT NULL CHECK (sequence > 0),
    batch_number BIGINT NOT NULL CHECK (batch_number > 0),
    job_id BYTEA NOT NULL,
    idempotency_key BYTEA NOT NULL,
    request_hash BYTEA NOT NULL,
    authorization_hash BYTEA NOT NULL,
    output_hash BYTEA NOT NULL,
    list_amount BIGINT NOT NULL CHECK (list_amount >= 0),
    discount_bps BIGINT NOT NULL,
    charged BIGINT NOT NULL CHECK (charged >= 0),
    remainder BIGINT NOT NULL CHECK (remainder >= 0 AND remainder < 10000),
    issued_at BIGINT NOT NULL,
    signature BYTEA NOT NULL,
    kind TEXT NOT NULL,
    model TEXT NOT NULL,
    authorization_json TEXT NOT NULL,
    usage_json TEXT NOT NULL,
    answer_status BIGINT NOT NULL,
    answer BYTEA,
    PRIMARY KEY (account, sequence)
);
CREATE UNIQUE INDEX receipts_job ON receipts (job_id);
CREATE UNIQUE INDEX receipts_key ON receipts (idempotency_key, account);
CREATE INDEX receipts_batch ON receipts (batch_number, account, sequence);

-- open: takes receipts. closed: takes no more, root not yet computed. sealed: root and rows fixed. confirmed: seen on chain.
CREATE TABLE batches (
    number BIGINT PRIMARY KEY CHECK (number > 0),
    state TEXT NOT NULL CHECK (state IN ('open', 'closed', 'sealed', 'confirmed')),
    receipts BIGINT NOT NULL,
    debit_rows BIGINT NOT NULL,
    charged BIGINT NOT NULL CHECK (charged >= 0),
    first_receipt_ms BIGINT,
    sealed_ms BIGINT,
    root BYTEA,
    confirmed_tx BYTEA,
    confirmed_block BIGINT
);
CREATE INDEX batches_state ON batches (state);

-- The rows of a sealed batch, in the order they are posted.
CREATE TABLE batch_rows (
    batch_number BIGINT NOT NULL REFERENCES batches (number),
    position BIGINT NOT NULL,
    account BIGINT NOT NULL,
    first_sequence BIGINT NOT NULL,
    receipts BIGINT NOT NULL,
    discount_bps BIGINT NOT NULL,
    list_amount BIGINT NOT NULL CHECK (list_amount >= 0),
    charged BIGINT NOT NULL CHECK (charged >= 0),
    remainder BIGINT NOT NULL,
    PRIMARY KEY (batch_number, position)
);
CREATE INDEX batch_rows_account ON batch_rows (account);

-- The highest ceiling signed for an account and not yet on chain.
CREATE TABLE ceilings (
    account BIGINT PRIMARY KEY REFERENCES accounts (id),
    ceiling BIGINT NOT NULL CHECK (ceiling >= 0),
    signature BYTEA NOT NULL
);

-- x402 payments, so that none is settled twice and none is answered unpaid.
-- working: the job runs. ready: answer stored, settlement not known. settled, failed: final (failed may be tried again).
CREATE TABLE payments (
    id BYTEA PRIMARY KEY,
    request_hash BYTEA NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('working', 'ready', 'settled', 'failed')),
    scheme TEXT NOT NULL,
    network TEXT NOT NULL,
    payer TEXT NOT NULL,
    amount BIGINT NOT NULL CHECK (amount >= 0),
    details_json TEXT NOT NULL,
    lease BIGINT NOT NULL,
    -- The job to charge when it settles.
    job_id BYTEA,
    charge_json TEXT,
    answer_status BIGINT,
    answer BYTEA,
    settlement_tx TEXT,
    reason TEXT,
    created_ms BIGINT NOT NULL,
    ready_ms BIGINT
);
CREATE INDEX payments_state ON payments (state);

-- Processes that hold credit for running jobs. Holds of a lease that ran out are released.
CREATE TABLE leases (
    id BIGINT PRIMARY KEY,
    expires_ms BIGINT NOT NULL
);

-- The chain as followed: our operator's events, and enough blocks to see a reorg.
CREATE TABLE chain_events (
    block_number BIGINT NOT NULL,
    log_index BIGINT NOT NULL,
    block_hash BYTEA NOT NULL,
    block_timestamp BIGINT NOT NULL,
    transaction_hash BYTEA NOT NULL,
    account BIGINT,
    kind TEXT NOT NULL,
    event_json TEXT NOT NULL,
    PRIMARY KEY (block_number, log_index)
);
CREATE INDEX chain_events_account ON chain_events (account, block_number, log_index);
CREATE INDEX chain_events_tx ON chain_events (transaction_hash);

CREATE TABLE chain_blocks (
    number BIGINT PRIMARY KEY,
    hash BYTEA NOT NULL
);

CREATE TABLE follow_cursor (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    block_number BIGINT NOT NULL,
    block_hash BYTEA NOT NULL,
    block_timestamp BIGINT NOT NULL,
    safe BIGINT NOT NULL,
    finalized BIGINT NOT NULL
);

-- Chain actions of the operator key. The purpose is what makes an action happen once.
CREATE TABLE outbox (
    purpose TEXT PRIMARY KEY,
    position BIGINT NOT NULL UNIQUE,
    action_json TEXT NOT NULL,
    -- queued: not signed. sent: signed, maybe broadcast. confirmed: its event was seen. failed: refused by the contract.
    state TEXT NOT NULL CHECK (state IN ('queued', 'sent', 'confirmed', 'failed')),
    -- The event that confirms the action whoever sent it, e.g. batch:7.
    subject TEXT NOT NULL,
    nonce BIGINT UNIQUE,
    gas_limit BIGINT,
    confirmed_tx BYTEA,
    confirmed_block BIGINT,
    error TEXT,
    retry_ms BIGINT NOT NULL,
    created_ms BIGINT NOT NULL
);
CREATE INDEX outbox_state ON outbox (state);
CREATE INDEX outbox_subject ON outbox (subject);

-- Every signed transaction ever made for an action: the first and each replacement with higher fees.
CREATE TABLE outbox_attempts (
    hash BYTEA PRIMARY KEY,
    purpose TEXT NOT NULL REFERENCES outbox (purpose),
    nonce BIGINT NOT NULL,
    raw BYTEA NOT NULL,
    max_fee TEXT NOT NULL,
    max_priority_fee TEXT NOT NULL,
    signed_ms BIGINT NOT NULL,
    broadcast_ms BIGINT
);
CREATE INDEX outbox_attempts_purpose ON outbox_attempts (purpose);
