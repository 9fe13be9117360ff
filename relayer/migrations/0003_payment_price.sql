-- What of a payment is the price of the call: all of it, but for a deposit, whose amount becomes the depositor's own credit.
ALTER TABLE payments ADD COLUMN price BIGINT NOT NULL DEFAULT 0 CHECK (price >= 0);
-- Nothing tells deposits of before apart; they stay counted as they were.
UPDATE payments SET price = amount;
