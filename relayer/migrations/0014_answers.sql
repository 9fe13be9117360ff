-- Answers repeat their receipt, whose fields stand in the columns beside them. It is cut out, here; NULL: the answer is whole.
ALTER TABLE receipts ADD COLUMN receipt_at BIGINT;
