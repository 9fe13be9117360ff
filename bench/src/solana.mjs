// Solana, over a local Surfpool: what a job costs in compute units and lamports next to a transfer per job, and how fast the
// indexer follows.
import { join } from 'node:path';
import { record, root, round, run, say, target } from './common.mjs';

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 3);
const EVENTS = Number(process.env.BENCH_SOLANA_EVENTS ?? 5_000);
const example = (name) => join(target, 'release', 'examples', name);

/** Batches through the program on Surfpool, followed over its RPC: indexer and node together, the node being the slower of the two. */
function followed(database, ...more) {
  const args = ['--events', `${EVENTS}`, '--rounds', `${ROUNDS}`, '--database', database, ...more];
  const figures = JSON.parse(run(example('backfill_solana'), args));
  say(`indexer on Solana, ${database}: ${figures.events} events, ${figures.eventsPerSecondMedian} events/s`);
  return figures;
}

/** How many times cheaper a job is than a transfer, at the same price of a compute unit. */
function cheaper(cost) {
  return cost.oneBatch.map((batch, place) => {
    const transfer = cost.exactPerJob[place];
    return {
      priceMicroLamports: batch.priceMicroLamports,
      computeUnits: round(transfer.computeUnits / batch.computeUnitsPerJob, 1),
      lamports: round(transfer.lamports / batch.lamportsPerJob, 1),
    };
  });
}

export async function solana() {
  const cost = JSON.parse(run(example('solana_cost'), []));
  say(`Solana: ${cost.oneBatch[0].computeUnitsPerJob} compute units and ${cost.oneBatch[0].lamportsPerJob} lamports a job`);
  const indexer = { sqlite: followed('sqlite', '--live', '50'), postgres: followed('postgres') };
  record('solana', { cost, timesCheaper: cheaper(cost), indexer });
}
