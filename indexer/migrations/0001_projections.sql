-- The same file for SQLite and PostgreSQL: BIGINT, BYTEA and TEXT only (SQLite keeps bytes as they are under any of these names).
--
-- position = block number * 2^20 + log index. It orders events, and everything above a block is one range:
-- rolling back to block B deletes position >= (B + 1) * 2^20 from every table that has one.
-- Amounts are micro-USDC. Account ids are operator index * 2^32 + sequence.

-- One row: which deployment this database follows.
CREATE TABLE deployment (
    id               BIGINT NOT NULL PRIMARY KEY,
    chain            TEXT   NOT NULL,
    contract         BYTEA  NOT NULL,
    token            BYTEA  NOT NULL,
    deployment_block BIGINT NOT NULL,
    deployment_hash  BYTEA  NOT NULL
);

-- One row: how far the projection has come, and how far the chain had settled then. Moves in the transaction of the rows it speaks for.
CREATE TABLE progress (
    id           BIGINT NOT NULL PRIMARY KEY,
    block_number BIGINT NOT NULL,
    block_hash   BYTEA  NOT NULL,
    block_time   BIGINT NOT NULL,
    latest       BIGINT NOT NULL,
    safe         BIGINT NOT NULL,
    finalized    BIGINT NOT NULL,
    reorgs       BIGINT NOT NULL
);

-- Blocks with events (for ever: they carry the time), and every block that can still be replaced.
CREATE TABLE blocks (
    number     BIGINT NOT NULL PRIMARY KEY,
    hash       BYTEA  NOT NULL,
    timestamp  BIGINT NOT NULL,
    has_events BIGINT NOT NULL
);

-- What a row was before a block that can still be replaced touched it; null: it did not exist. kind: 1 account, 2 operator.
CREATE TABLE undo (
    block_number BIGINT NOT NULL,
    kind         BIGINT NOT NULL,
    id           BIGINT NOT NULL,
    prior        TEXT,
    PRIMARY KEY (block_number, kind, id)
);

-- Current state, one row each; restored from undo when blocks are replaced.
CREATE TABLE accounts (
    id                    BIGINT NOT NULL PRIMARY KEY,
    operator_index        BIGINT NOT NULL,
    owner                 BYTEA  NOT NULL,
    delegate              BYTEA,
    terms_version         BIGINT NOT NULL,
    credit                BIGINT NOT NULL,
    charged               BIGINT NOT NULL,
    ceiling               BIGINT NOT NULL,
    remainder             BIGINT NOT NULL,
    discount_bps          BIGINT NOT NULL,
    previous_discount_bps BIGINT NOT NULL,
    discount_from_batch   BIGINT NOT NULL,
    refundable_at         BIGINT,
    closed                BIGINT NOT NULL,
    deposited             BIGINT NOT NULL,
    refunded              BIGINT NOT NULL,
    listed                BIGINT NOT NULL,
    uncovered             BIGINT NOT NULL,
    deposit_count         BIGINT NOT NULL,
    debit_count           BIGINT NOT NULL,
    shortfall_count       BIGINT NOT NULL,
    opened_at             BIGINT NOT NULL,
    updated_at            BIGINT NOT NULL
);
CREATE INDEX accounts_owner ON accounts (owner, id);
CREATE INDEX accounts_operator ON accounts (operator_index, id);

CREATE TABLE operators (
    id              BIGINT NOT NULL PRIMARY KEY,
    operator        BYTEA  NOT NULL,
    terms_version   BIGINT NOT NULL,
    account_count   BIGINT NOT NULL,
    open_accounts   BIGINT NOT NULL,
    last_sequence   BIGINT NOT NULL,
    last_batch      BIGINT NOT NULL,
    receipt_count   BIGINT NOT NULL,
    debit_count     BIGINT NOT NULL,
    earnings        BIGINT NOT NULL,
    charged         BIGINT NOT NULL,
    fees            BIGINT NOT NULL,
    withdrawn       BIGINT NOT NULL,
    listed          BIGINT NOT NULL,
    uncovered       BIGINT NOT NULL,
    deposited       BIGINT NOT NULL,
    refunded        BIGINT NOT NULL,
    unspent         BIGINT NOT NULL,
    registered_at   BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL
);
CREATE INDEX operators_operator ON operators (operator);

-- Ledgers: one row an event, never changed.
CREATE TABLE terms (
    position        BIGINT NOT NULL PRIMARY KEY,
    tx              BYTEA  NOT NULL,
    operator_index  BIGINT NOT NULL,
    version         BIGINT NOT NULL,
    refund_delay    BIGINT NOT NULL,
    minimum_deposit BIGINT NOT NULL,
    rate_card_hash  BYTEA  NOT NULL,
    tiers           TEXT   NOT NULL
);
CREATE INDEX terms_operator ON terms (operator_index, version);

CREATE TABLE deposits (
    position              BIGINT NOT NULL PRIMARY KEY,
    tx                    BYTEA  NOT NULL,
    account_id            BIGINT NOT NULL,
    payer                 BYTEA  NOT NULL,
    amount                BIGINT NOT NULL,
    credit                BIGINT NOT NULL,
    discount_bps          BIGINT NOT NULL,
    previous_discount_bps BIGINT NOT NULL,
    discount_from_batch   BIGINT NOT NULL
);
CREATE INDEX deposits_account ON deposits (account_id, position);

CREATE TABLE sweeps (
    position        BIGINT NOT NULL PRIMARY KEY,
    tx              BYTEA  NOT NULL,
    account_id      BIGINT NOT NULL,
    deposit_address BYTEA  NOT NULL,
    amount          BIGINT NOT NULL,
    fee             BIGINT NOT NULL
);
CREATE INDEX sweeps_account ON sweeps (account_id, position);

-- amount is any token's, up to 256 bits, hence text.
CREATE TABLE recoveries (
    position        BIGINT NOT NULL PRIMARY KEY,
    tx              BYTEA  NOT NULL,
    deposit_address BYTEA  NOT NULL,
    owner           BYTEA  NOT NULL,
    token           BYTEA  NOT NULL,
    amount          TEXT   NOT NULL
);
CREATE INDEX recoveries_owner ON recoveries (owner, position);

CREATE TABLE ceilings (
    position   BIGINT NOT NULL PRIMARY KEY,
    tx         BYTEA  NOT NULL,
    account_id BIGINT NOT NULL,
    signer     BYTEA  NOT NULL,
    ceiling    BIGINT NOT NULL
);
CREATE INDEX ceilings_account ON ceilings (account_id, position);

CREATE TABLE delegates (
    position   BIGINT NOT NULL PRIMARY KEY,
    tx         BYTEA  NOT NULL,
    account_id BIGINT NOT NULL,
    delegate   BYTEA
);
CREATE INDEX delegates_account ON delegates (account_id, position);

CREATE TABLE batches (
    position       BIGINT NOT NULL PRIMARY KEY,
    tx             BYTEA  NOT NULL,
    operator_index BIGINT NOT NULL,
    batch_number   BIGINT NOT NULL,
    receipts_root  BYTEA  NOT NULL,
    receipt_count  BIGINT NOT NULL,
    row_count      BIGINT NOT NULL,
    charged        BIGINT NOT NULL
);
CREATE INDEX batches_operator ON batches (operator_index, batch_number);

-- The transaction of a debit is its batch's.
CREATE TABLE debits (
    position      BIGINT NOT NULL PRIMARY KEY,
    account_id    BIGINT NOT NULL,
    batch_number  BIGINT NOT NULL,
    list_amount   BIGINT NOT NULL,
    discount_bps  BIGINT NOT NULL,
    charged       BIGINT NOT NULL,
    total_charged BIGINT NOT NULL,
    remainder     BIGINT NOT NULL
);
CREATE INDEX debits_account ON debits (account_id, position);

-- foreign_to: the operator that posted a row for an account that is not its own (nothing was charged); null otherwise.
CREATE TABLE shortfalls (
    position     BIGINT NOT NULL PRIMARY KEY,
    account_id   BIGINT NOT NULL,
    batch_number BIGINT NOT NULL,
    list_amount  BIGINT NOT NULL,
    uncovered    BIGINT NOT NULL,
    foreign_to   BIGINT
);
CREATE INDEX shortfalls_account ON shortfalls (account_id, position);

CREATE TABLE refund_requests (
    position      BIGINT NOT NULL PRIMARY KEY,
    tx            BYTEA  NOT NULL,
    account_id    BIGINT NOT NULL,
    owner         BYTEA  NOT NULL,
    refundable_at BIGINT NOT NULL
);
CREATE INDEX refund_requests_account ON refund_requests (account_id, position);

CREATE TABLE refunds (
    position    BIGINT NOT NULL PRIMARY KEY,
    tx          BYTEA  NOT NULL,
    account_id  BIGINT NOT NULL,
    owner       BYTEA  NOT NULL,
    amount      BIGINT NOT NULL,
    by_operator BIGINT NOT NULL
);
CREATE INDEX refunds_account ON refunds (account_id, position);

CREATE TABLE withdrawals (
    position       BIGINT NOT NULL PRIMARY KEY,
    tx             BYTEA  NOT NULL,
    operator_index BIGINT NOT NULL,
    recipient      BYTEA  NOT NULL,
    amount         BIGINT NOT NULL
);
CREATE INDEX withdrawals_operator ON withdrawals (operator_index, position);

-- What the chain says and the model does not; never removed but by a rollback of its block.
CREATE TABLE discrepancies (
    position       BIGINT NOT NULL,
    code           TEXT   NOT NULL,
    operator_index BIGINT,
    account_id     BIGINT,
    batch_number   BIGINT,
    detail         TEXT   NOT NULL,
    PRIMARY KEY (position, code)
);

-- The newest solvency check (I-1).
CREATE TABLE solvency (
    position   BIGINT NOT NULL PRIMARY KEY,
    balance    BIGINT NOT NULL,
    unspent    BIGINT NOT NULL,
    earnings   BIGINT NOT NULL,
    checked_at BIGINT NOT NULL
);

-- The published receipts of each batch. position is the batch's. state: 0 waiting, 1 verified, 2 refused (reason says why).
CREATE TABLE documents (
    position       BIGINT NOT NULL PRIMARY KEY,
    operator_index BIGINT NOT NULL,
    batch_number   BIGINT NOT NULL,
    state          BIGINT NOT NULL,
    attempts       BIGINT NOT NULL,
    next_attempt   BIGINT NOT NULL,
    reason         TEXT
);
CREATE INDEX documents_due ON documents (state, next_attempt);

-- Verified receipts. position is their batch's.
CREATE TABLE receipts (
    receipt_hash       BYTEA  NOT NULL PRIMARY KEY,
    position           BIGINT NOT NULL,
    account_id         BIGINT NOT NULL,
    batch_number       BIGINT NOT NULL,
    sequence           BIGINT NOT NULL,
    job_id             BYTEA  NOT NULL,
    authorization_hash BYTEA  NOT NULL,
    request_hash       BYTEA  NOT NULL,
    output_hash        BYTEA  NOT NULL,
    list_amount        BIGINT NOT NULL,
    discount_bps       BIGINT NOT NULL,
    charged            BIGINT NOT NULL,
    issued_at          BIGINT NOT NULL,
    signature          BYTEA  NOT NULL,
    authorized_by      TEXT   NOT NULL
);
CREATE INDEX receipts_account ON receipts (account_id, sequence);
CREATE INDEX receipts_position ON receipts (position, account_id, sequence);
