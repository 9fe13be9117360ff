-- Calls and what was seen of providers: the same statements on SQLite and PostgreSQL.

-- Who served, the order that named the call (its digest), and how often it was tried: an attempt ends only its own hold.
ALTER TABLE market_calls ADD COLUMN provider BIGINT NOT NULL DEFAULT 0;
ALTER TABLE market_calls ADD COLUMN order_hash BYTEA;
ALTER TABLE market_calls ADD COLUMN attempt BIGINT NOT NULL DEFAULT 0;
CREATE INDEX market_calls_of_session ON market_calls (session) WHERE state = 'open';
CREATE INDEX market_calls_done ON market_calls (created_ms) WHERE state = 'done';

-- Calls and probes of a provider by the hour (hours since 1970). answers: calls that the latencies are of.
CREATE TABLE market_outcomes (
    provider BIGINT NOT NULL,
    hour BIGINT NOT NULL,
    requests BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    probes BIGINT NOT NULL,
    probe_failures BIGINT NOT NULL,
    answers BIGINT NOT NULL,
    latency_sum_ms BIGINT NOT NULL,
    PRIMARY KEY (provider, hour)
);
CREATE INDEX market_outcomes_hour ON market_outcomes (hour);

-- How a provider is doing now. probe_due_ms: whoever looks next pushes it ahead first, so that one relayer looks.
CREATE TABLE market_health (
    provider BIGINT PRIMARY KEY,
    probe_due_ms BIGINT NOT NULL,
    failures_in_a_row BIGINT NOT NULL,
    last_seen_ms BIGINT,
    last_failure_ms BIGINT
);

-- Claims of providers that could not be true, with what was paid instead. NULL: the claim could not be read.
CREATE TABLE market_cases (
    execution_id BYTEA PRIMARY KEY,
    provider BIGINT NOT NULL,
    claimed_input TEXT,
    claimed_output TEXT,
    counted_input BIGINT NOT NULL,
    counted_output BIGINT NOT NULL,
    paid BIGINT NOT NULL CHECK (paid >= 0),
    created_ms BIGINT NOT NULL
);
CREATE INDEX market_cases_provider ON market_cases (provider, created_ms);
