-- Transactions on Solana are valid until a block height; they have no nonce.
ALTER TABLE outbox ADD COLUMN valid_until BIGINT;

-- A transaction has one or the other.
CREATE TABLE outbox_attempts_2 (
    hash BYTEA PRIMARY KEY,
    purpose TEXT NOT NULL REFERENCES outbox (purpose),
    nonce BIGINT,
    valid_until BIGINT,
    raw BYTEA NOT NULL,
    max_fee TEXT NOT NULL,
    max_priority_fee TEXT NOT NULL,
    signed_ms BIGINT NOT NULL,
    broadcast_ms BIGINT,
    CHECK ((nonce IS NULL) <> (valid_until IS NULL))
);
INSERT INTO outbox_attempts_2 (hash, purpose, nonce, raw, max_fee, max_priority_fee, signed_ms, broadcast_ms)
    SELECT hash, purpose, nonce, raw, max_fee, max_priority_fee, signed_ms, broadcast_ms FROM outbox_attempts;
DROP TABLE outbox_attempts;
ALTER TABLE outbox_attempts_2 RENAME TO outbox_attempts;
CREATE INDEX outbox_attempts_purpose ON outbox_attempts (purpose);
