import { onchainTable } from "ponder";

export const account = onchainTable("account", (t) => ({
  id: t.bigint().primaryKey(),
  owner: t.hex().notNull(),
  operator: t.integer().notNull(),
  credit: t.bigint().notNull(),
  charged: t.bigint().notNull(),
  ceiling: t.bigint().notNull(),
  discountBps: t.integer().notNull(),
  remainder: t.integer().notNull(),
  jobs: t.integer().notNull(),
}));

export const debit = onchainTable("debit", (t) => ({
  id: t.text().primaryKey(),
  account: t.bigint().notNull(),
  batch: t.bigint().notNull(),
  list: t.bigint().notNull(),
  discountBps: t.integer().notNull(),
  charged: t.bigint().notNull(),
  block: t.bigint().notNull(),
}));

export const deposit = onchainTable("deposit", (t) => ({
  id: t.text().primaryKey(),
  account: t.bigint().notNull(),
  payer: t.hex().notNull(),
  amount: t.bigint().notNull(),
  block: t.bigint().notNull(),
}));

export const batch = onchainTable("batch", (t) => ({
  id: t.text().primaryKey(),
  operator: t.integer().notNull(),
  number: t.bigint().notNull(),
  root: t.hex().notNull(),
  receipts: t.integer().notNull(),
  charged: t.bigint().notNull(),
  block: t.bigint().notNull(),
}));

export const operator = onchainTable("operator", (t) => ({
  id: t.integer().primaryKey(),
  batches: t.bigint().notNull(),
  earnings: t.bigint().notNull(),
}));
