-- What the payment gate keeps beside the ledger's books: the same statements on SQLite and PostgreSQL.

-- x402 extension payment-identifier: which payment a payer named so. One name, one request, one answer.
CREATE TABLE payment_identifiers (
    payer BYTEA NOT NULL,
    identifier TEXT NOT NULL,
    payment BYTEA NOT NULL,
    request_hash BYTEA NOT NULL,
    PRIMARY KEY (payer, identifier)
);

-- Deposit addresses that somebody asked for: looked at now and then, and swept when money lands. Forgetting one loses
-- nothing: asking again brings it back, and the owner can always take the money back on chain.
CREATE TABLE deposit_addresses (
    address BYTEA PRIMARY KEY,
    owner BYTEA NOT NULL,
    ceiling BIGINT NOT NULL CHECK (ceiling >= 0),
    fee BIGINT NOT NULL CHECK (fee >= 0),
    asked_ms BIGINT NOT NULL,
    -- When to look next, and how often nothing was found: pauses double.
    look_ms BIGINT NOT NULL,
    looks BIGINT NOT NULL
);
CREATE INDEX deposit_addresses_look ON deposit_addresses (look_ms);
CREATE INDEX deposit_addresses_asked ON deposit_addresses (asked_ms);
