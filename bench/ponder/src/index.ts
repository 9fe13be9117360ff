import { ponder } from "ponder:registry";
import { account, batch, debit, deposit, operator } from "ponder:schema";

ponder.on("ComputeFutures:AccountOpened", async ({ event, context }) => {
  await context.db.insert(account).values({
    id: event.args.accountId,
    owner: event.args.owner,
    operator: event.args.operatorIndex,
    credit: 0n,
    charged: 0n,
    ceiling: 0n,
    discountBps: 0,
    remainder: 0,
    jobs: 0,
  });
});

ponder.on("ComputeFutures:Deposited", async ({ event, context }) => {
  await context.db.update(account, { id: event.args.accountId }).set({
    credit: event.args.credit,
    discountBps: event.args.discountBps,
  });
  await context.db.insert(deposit).values({
    id: event.id,
    account: event.args.accountId,
    payer: event.args.payer,
    amount: event.args.amount,
    block: event.block.number,
  });
});

ponder.on("ComputeFutures:CeilingRaised", async ({ event, context }) => {
  await context.db.update(account, { id: event.args.accountId }).set({ ceiling: event.args.ceiling });
});

ponder.on("ComputeFutures:Debited", async ({ event, context }) => {
  await context.db.update(account, { id: event.args.accountId }).set((row) => ({
    charged: event.args.totalCharged,
    remainder: event.args.remainder,
    jobs: row.jobs + 1,
  }));
  await context.db.insert(debit).values({
    id: event.id,
    account: event.args.accountId,
    batch: BigInt(event.args.batchNumber),
    list: event.args.listAmount,
    discountBps: event.args.discountBps,
    charged: event.args.charged,
    block: event.block.number,
  });
});

ponder.on("ComputeFutures:BatchPosted", async ({ event, context }) => {
  await context.db
    .insert(operator)
    .values({ id: event.args.operatorIndex, batches: 1n, earnings: event.args.charged })
    .onConflictDoUpdate((row) => ({ batches: row.batches + 1n, earnings: row.earnings + event.args.charged }));
  await context.db.insert(batch).values({
    id: event.id,
    operator: event.args.operatorIndex,
    number: BigInt(event.args.batchNumber),
    root: event.args.receiptsRoot,
    receipts: event.args.receiptCount,
    charged: event.args.charged,
    block: event.block.number,
  });
});
