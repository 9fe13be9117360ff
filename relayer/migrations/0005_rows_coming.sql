-- Few accounts hold credit at any moment; where a batch has few rows they are counted with every hold.
CREATE INDEX accounts_held ON accounts (id) WHERE held > 0;
