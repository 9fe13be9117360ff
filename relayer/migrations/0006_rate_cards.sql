-- Every rate card that this operator has offered, by its hash: an account never pays more than the card it was opened under.
CREATE TABLE rate_cards (
    hash BYTEA PRIMARY KEY,
    version BIGINT NOT NULL,
    -- Canonical JSON (RFC 8785): its keccak256 is the hash, and the rateCardHash of the terms on chain.
    card BYTEA NOT NULL,
    kept_at_ms BIGINT NOT NULL
);
