-- Jobs that outlive the request that asked for them: the same statements on SQLite and PostgreSQL.

-- One row per job. open: items are being worked on, or what they cost is being taken. done, failed: final.
-- While a job is open its hold and its payment are its own: no restart releases them.
CREATE TABLE queue (
    job_id BYTEA PRIMARY KEY,
    -- What the identical request finds it by: the nonce of an authorisation with its account, or an x402 payment (account 0).
    idempotency_key BYTEA NOT NULL,
    account BIGINT NOT NULL,
    request_hash BYTEA NOT NULL,
    -- Who may ask about it: the wallet that paid or signed. The account's owner and delegate may too.
    payer BYTEA NOT NULL,
    -- The account charged, and the x402 payment that settles when it is done.
    charges BIGINT,
    payment BYTEA,
    -- JSON of what decides the form of the answer.
    spec_json TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'done', 'failed')),
    created_ms BIGINT NOT NULL,
    deadline_ms BIGINT NOT NULL,
    -- When to try again to take what it cost; whoever tries pushes it ahead.
    finish_ms BIGINT NOT NULL,
    finished_ms BIGINT,
    -- The final answer as sent, or why there is none.
    answer BYTEA,
    error_json TEXT
);
CREATE UNIQUE INDEX queue_key ON queue (idempotency_key, account) WHERE state <> 'failed';
CREATE INDEX queue_open ON queue (finish_ms) WHERE state = 'open';
CREATE INDEX queue_payment ON queue (payment) WHERE payment IS NOT NULL;
CREATE INDEX queue_finished ON queue (finished_ms) WHERE finished_ms IS NOT NULL;

-- What a job consists of: one item, or those of a batch. open: not started, or running at a provider (handle_json).
CREATE TABLE queue_items (
    job_id BYTEA NOT NULL REFERENCES queue (job_id),
    position BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'done', 'failed')),
    input_json TEXT NOT NULL,
    handle_json TEXT,
    -- Looks at a running prediction, and starts that failed.
    looks BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    due_ms BIGINT NOT NULL,
    -- Whoever works on it, until when. What a worker writes counts only under its own token.
    lease BIGINT NOT NULL,
    leased_until_ms BIGINT NOT NULL,
    output_json TEXT,
    list_amount BIGINT NOT NULL CHECK (list_amount >= 0),
    error_json TEXT,
    PRIMARY KEY (job_id, position)
);
CREATE INDEX queue_items_due ON queue_items (due_ms) WHERE state = 'open';

-- Webhooks still to be delivered.
CREATE TABLE webhooks (
    job_id BYTEA PRIMARY KEY,
    url TEXT NOT NULL,
    body BYTEA NOT NULL,
    attempts BIGINT NOT NULL,
    due_ms BIGINT NOT NULL
);
CREATE INDEX webhooks_due ON webhooks (due_ms);

-- What jobs produced, by keccak256 of its bytes. Without bytes: they lie in the directory that the settings name.
CREATE TABLE artifacts (
    hash BYTEA PRIMARY KEY,
    media_type TEXT NOT NULL,
    size BIGINT NOT NULL CHECK (size >= 0),
    bytes BYTEA,
    expires_ms BIGINT NOT NULL
);
CREATE INDEX artifacts_expiry ON artifacts (expires_ms);
