-- Streams paid for with `exact`: one at a time for a payment, and again only a few times after a break.
ALTER TABLE payments ADD COLUMN serving_until_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE payments ADD COLUMN served BIGINT NOT NULL DEFAULT 0;
