-- Verbs of owners that the operator's key paid for: what a day cost, in all and for each of them. Named by what was signed,
-- so that nothing is counted or sent twice. Rows of days gone by are forgotten: their blockhashes ran out long before.
CREATE TABLE sponsored (
    message BYTEA PRIMARY KEY,
    owner BYTEA NOT NULL,
    cost BIGINT NOT NULL CHECK (cost >= 0),
    taken_ms BIGINT NOT NULL
);
CREATE INDEX sponsored_taken ON sponsored (taken_ms);
