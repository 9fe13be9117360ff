-- The marketplace (docs/marketplace.md): providers, escrows, sessions. The cursor and the blocks are those of 0001; amounts are
-- micro-USDC, positions as there. Session ids are escrow id * 2^32 + sequence.

-- One row: which deployment of the marketplace is followed beside the contract, and up to which block its events are projected.
-- Behind progress.block_number it catches up first: then the marketplace was configured later than the contract.
CREATE TABLE market (
    id               BIGINT NOT NULL PRIMARY KEY,
    registry         BYTEA  NOT NULL,
    escrow           BYTEA  NOT NULL,
    deployment_block BIGINT NOT NULL,
    projected_to     BIGINT NOT NULL
);

-- As undo. kind: 1 provider, 2 escrow, 3 session, 4 agent (id: its escrow); agent is empty for all but the last.
CREATE TABLE market_undo (
    block_number BIGINT NOT NULL,
    kind         BIGINT NOT NULL,
    id           BIGINT NOT NULL,
    agent        BYTEA  NOT NULL,
    prior        TEXT,
    PRIMARY KEY (block_number, kind, id, agent)
);

-- Current state, one row each; restored from market_undo when blocks are replaced.
CREATE TABLE market_providers (
    id            BIGINT NOT NULL PRIMARY KEY,
    owner         BYTEA  NOT NULL,
    version       BIGINT NOT NULL,
    content_hash  BYTEA,
    earned        BIGINT NOT NULL,
    withdrawn     BIGINT NOT NULL,
    uncovered     BIGINT NOT NULL,
    sessions      BIGINT NOT NULL,
    open_sessions BIGINT NOT NULL,
    closed        BIGINT NOT NULL,
    receipts      BIGINT NOT NULL,
    registered_at BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL
);
CREATE INDEX market_providers_owner ON market_providers (owner, id);

CREATE TABLE market_escrows (
    id            BIGINT NOT NULL PRIMARY KEY,
    creator       BYTEA  NOT NULL,
    meter         BYTEA,
    open_to_all   BIGINT NOT NULL,
    expiry        BIGINT NOT NULL,
    session_limit BIGINT NOT NULL,
    unreserved    BIGINT NOT NULL,
    reserved      BIGINT NOT NULL,
    session_count BIGINT NOT NULL,
    emptied       BIGINT NOT NULL,
    funded        BIGINT NOT NULL,
    spent         BIGINT NOT NULL,
    refunded      BIGINT NOT NULL,
    open_sessions BIGINT NOT NULL,
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL
);
CREATE INDEX market_escrows_creator ON market_escrows (creator, id);

CREATE TABLE market_agents (
    escrow_id  BIGINT NOT NULL,
    agent      BYTEA  NOT NULL,
    allowed    BIGINT NOT NULL,
    nonce      BIGINT NOT NULL,
    sessions   BIGINT NOT NULL,
    spent      BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (escrow_id, agent)
);

-- status: 0 open, 1 closed, 2 lapsed (also when its escrow was emptied).
CREATE TABLE market_sessions (
    id               BIGINT NOT NULL PRIMARY KEY,
    escrow_id        BIGINT NOT NULL,
    agent            BYTEA  NOT NULL,
    provider_id      BIGINT NOT NULL,
    provider_version BIGINT NOT NULL,
    content_hash     BYTEA  NOT NULL,
    meter            BYTEA  NOT NULL,
    session_limit    BIGINT NOT NULL,
    deadline         BIGINT NOT NULL,
    by_signature     BIGINT NOT NULL,
    status           BIGINT NOT NULL,
    cost             BIGINT NOT NULL,
    uncovered        BIGINT NOT NULL,
    receipt_count    BIGINT NOT NULL,
    receipts_root    BYTEA,
    closing_number   BIGINT,
    opened_at        BIGINT NOT NULL,
    opened_tx        BYTEA  NOT NULL,
    ended_at         BIGINT,
    ended_tx         BYTEA,
    ended_time       BIGINT,
    updated_at       BIGINT NOT NULL
);
CREATE INDEX market_sessions_escrow ON market_sessions (escrow_id, opened_at);
CREATE INDEX market_sessions_provider ON market_sessions (provider_id, opened_at);
CREATE INDEX market_sessions_agent ON market_sessions (agent, opened_at);
CREATE INDEX market_sessions_opened ON market_sessions (opened_at);
CREATE INDEX market_sessions_ended ON market_sessions (provider_id, ended_time);

-- Ledgers: one row an event, never changed.
-- What a provider published, version by version; content is null when it is no text.
CREATE TABLE market_contents (
    position     BIGINT NOT NULL PRIMARY KEY,
    tx           BYTEA  NOT NULL,
    provider_id  BIGINT NOT NULL,
    version      BIGINT NOT NULL,
    content_hash BYTEA  NOT NULL,
    content      TEXT
);
CREATE INDEX market_contents_provider ON market_contents (provider_id, version);

-- Every event in one shape: what does not apply is null. kind is the event's name. Of a rejected row escrow_id is null: anyone may
-- bring a bad row about any session. detail: why it was rejected; how much was recovered (any token, up to 256 bits).
CREATE TABLE market_events (
    position    BIGINT NOT NULL PRIMARY KEY,
    tx          BYTEA  NOT NULL,
    kind        TEXT   NOT NULL,
    escrow_id   BIGINT,
    session_id  BIGINT,
    provider_id BIGINT,
    party       BYTEA,
    amount      BIGINT,
    total       BIGINT,
    detail      TEXT
);
CREATE INDEX market_events_escrow ON market_events (escrow_id, position);
CREATE INDEX market_events_session ON market_events (session_id, position);
CREATE INDEX market_events_provider ON market_events (provider_id, position);

-- As discrepancies.
CREATE TABLE market_discrepancies (
    position    BIGINT NOT NULL,
    code        TEXT   NOT NULL,
    escrow_id   BIGINT,
    session_id  BIGINT,
    provider_id BIGINT,
    detail      TEXT   NOT NULL,
    PRIMARY KEY (position, code)
);

-- The newest solvency check of the vault (I-1).
CREATE TABLE market_solvency (
    position   BIGINT NOT NULL PRIMARY KEY,
    balance    BIGINT NOT NULL,
    unreserved BIGINT NOT NULL,
    reserved   BIGINT NOT NULL,
    earnings   BIGINT NOT NULL,
    checked_at BIGINT NOT NULL
);

-- The receipts of each closed session that has some, published by its meter. position is the closing's. state as in documents.
CREATE TABLE market_documents (
    position     BIGINT NOT NULL PRIMARY KEY,
    session_id   BIGINT NOT NULL,
    meter        BYTEA  NOT NULL,
    state        BIGINT NOT NULL,
    attempts     BIGINT NOT NULL,
    next_attempt BIGINT NOT NULL,
    reason       TEXT
);
CREATE INDEX market_documents_due ON market_documents (meter, state, next_attempt);
CREATE INDEX market_documents_session ON market_documents (session_id);

-- Verified receipts of sessions. position is their session's closing.
CREATE TABLE market_receipts (
    digest        BYTEA  NOT NULL PRIMARY KEY,
    position      BIGINT NOT NULL,
    session_id    BIGINT NOT NULL,
    sequence      BIGINT NOT NULL,
    provider_id   BIGINT NOT NULL,
    execution_id  BYTEA  NOT NULL,
    model         TEXT   NOT NULL,
    request_hash  BYTEA  NOT NULL,
    output_hash   BYTEA  NOT NULL,
    input_tokens  BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    cost          BIGINT NOT NULL,
    latency_ms    BIGINT NOT NULL,
    issued_at     BIGINT NOT NULL,
    signature     BYTEA  NOT NULL
);
CREATE INDEX market_receipts_session ON market_receipts (session_id, sequence);
CREATE INDEX market_receipts_position ON market_receipts (position);
CREATE INDEX market_receipts_provider ON market_receipts (provider_id, issued_at);

-- What meters say of each hour of a provider. Not from the chain: whose word it is stands next to it.
CREATE TABLE market_outcomes (
    operator_index BIGINT NOT NULL,
    provider_id    BIGINT NOT NULL,
    hour           BIGINT NOT NULL,
    requests       BIGINT NOT NULL,
    failures       BIGINT NOT NULL,
    probes         BIGINT NOT NULL,
    probe_failures BIGINT NOT NULL,
    PRIMARY KEY (provider_id, hour, operator_index)
);

-- When each operator was last asked about a provider, and from which hour on to ask again.
CREATE TABLE market_polls (
    operator_index BIGINT NOT NULL,
    provider_id    BIGINT NOT NULL,
    polled_at      BIGINT NOT NULL,
    from_hour      BIGINT NOT NULL,
    PRIMARY KEY (operator_index, provider_id)
);
