// Writes the figures of bench/results into the tables of docs/benchmarks.md, between its markers.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { result, root, round } from './common.mjs';

const number = (value) => (value === undefined || value === null ? '–' : Number(value).toLocaleString('en-US'));
const rows = (head, lines) => [`| ${head.join(' | ')} |`, `|${head.map(() => '---').join('|')}|`, ...lines.map((line) => `| ${line.join(' | ')} |`)].join('\n');
const where = (figures) => `Measured ${figures.measured} on ${figures.machine.cores} cores (${figures.machine.cpu}), ${figures.machine.memoryGiB} GiB.`
  + (figures.commit ? ` Commit ${figures.commit}.` : '')
  + (figures.othersBusyCores?.some((cores) => cores > 0.3) ? ` The machine was shared: others kept ${figures.othersBusyCores.join(' and ')} of its cores busy before and after. Ratios are of the same run.` : '');

/** Milliseconds without noise. */
const rounded = (figures) => Object.fromEntries(Object.entries(figures).map(([name, value]) => [name, round(value, 1)]));

const tables = {
  gas(figures) {
    const names = Object.keys(figures.snapshot).filter((name) => !name.startsWith('peer_'));
    const lines = names.map((name) => [`\`${name}\``, number(figures.snapshot[name]), number(figures.snapshot[`peer_${name}`])]);
    const elsewhere = Object.entries(figures.elsewherePerJob).map(([name, used]) => [`${name}`, number(used), `${figures.timesCheaper[name]} ×`]);
    return [
      where(figures), rows(['call', 'gas', 'plain vault'], lines),
      `1,000 jobs over 50 accounts: **${figures.perJob.gas} gas a job**, everything included.`,
      rows(['per job elsewhere', 'gas', 'ours is cheaper by'], elsewhere),
    ].join('\n\n');
  },
  relayer(figures) {
    const named = { upstream: 'the upstream itself', relayer: '**relayer**', bareProxy: 'bare proxy', litellm1: 'LiteLLM, 1 worker', litellm2: 'LiteLLM, 2 workers' };
    const memory = { relayer: figures.memory.relayerPeakMiB, bareProxy: figures.memory.bareProxyPeakMiB, litellm1: figures.memory.litellm1PeakMiB, litellm2: figures.memory.litellm2PeakMiB };
    const lines = Object.entries(named).flatMap(([key, name]) =>
      figures.connections.map((c) => [name, c, number(figures[key][c].requestsPerSecond), number(figures[key][c].p50Micros), number(figures[key][c].p99Micros), number(memory[key])]));
    const ratio = figures.connections.map((c) => [c, `${figures.ratio.toLitellmOneWorker[c]} ×`, `${figures.ratio.toLitellmTwoWorkers[c]} ×`, `${figures.ratio.toBareProxy[c]} ×`, `${number(figures.overheadP50Micros[c])} µs`, `${number(figures.overheadP99Micros[c])} µs`]);
    return [
      where(figures), rows(['target', 'connections', 'requests/s', 'p50 µs', 'p99 µs', 'peak MiB'], lines),
      rows(['connections', 'to LiteLLM (1)', 'to LiteLLM (2)', 'to bare proxy', 'overhead p50', 'overhead p99'], ratio),
    ].join('\n\n');
  },
  compute({ streams, batch, catalogue, memory, ...figures }) {
    const named = { upstream: 'the upstream itself', relayer: '**relayer**', bareProxy: 'bare proxy', litellm: 'LiteLLM, 1 worker' };
    const each = (byTarget, line) => Object.entries(named).flatMap(([key, name]) => Object.entries(byTarget[key] ?? {}).map(([c, seen]) => [name, number(c), ...line(seen, key, c)]));
    const first = each(streams.first, (seen, key, c) => {
      const added = streams.firstByteAdded[key]?.[c];
      return [number(seen.firstByteP50Micros), number(seen.firstByteP99Micros), number(added?.p50Micros), number(added?.p99Micros)];
    });
    const full = each(streams.full, (seen) => [number(seen.chunksPerSecond), number(seen.requestsPerSecond), number(seen.firstByteP50Micros)]);
    const { chunks, paceMs } = streams.sizes.paced;
    const seconds = (chunks * paceMs) / 1000;
    const late = (micros) => `${number(Math.round(micros / 1000 - seconds * 1000))} ms`;
    const paced = each(streams.paced, (seen, _, c) => [number((c * 1000) / paceMs), number(seen.chunksPerSecond), late(seen.p50Micros), late(seen.p99Micros)]);
    const jobs = (name, all) => Object.entries(all).map(([c, seen]) => [name, c, number(seen.jobsPerSecond), number(seen.p50Micros), number(seen.p99Micros)]);
    const free = Object.entries(catalogue).map(([path, seen]) => [`\`${path}\``, ...[seen.bytes, seen.relayer.requestsPerSecond, seen.relayer.p50Micros, seen.relayer.p99Micros, seen.bareProxy.requestsPerSecond, seen.bareProxy.p50Micros, seen.bareProxy.p99Micros].map(number), `${seen.toBareProxy} ×`]);
    const ratio = Object.keys(streams.chunksPerSecondRatio.toBareProxy).map((c) => [c, `${streams.chunksPerSecondRatio.toBareProxy[c]} ×`, streams.chunksPerSecondRatio.toLitellmOneWorker[c] ? `${streams.chunksPerSecondRatio.toLitellmOneWorker[c]} ×` : '–']);
    return [
      where(figures),
      'Time to the first byte of a stream, and what of it is added to the upstream\'s own:',
      rows(['target', 'connections', 'p50 µs', 'p99 µs', 'added p50', 'added p99'], first),
      `Streams of ${streams.sizes.full.chunks} chunks, as fast as they come:`,
      rows(['target', 'connections', 'chunks/s', 'streams/s', 'first byte p50 µs'], full),
      rows(['connections', 'chunks/s to bare proxy', 'to LiteLLM (1)'], ratio),
      `Streams at once, ${number(1000 / paceMs)} chunks a second each, for ${seconds} seconds; the peak of the relayer's memory was ${number(memory.relayerPeakMiB)} MiB:`,
      rows(['target', 'streams', 'chunks/s sent', 'chunks/s received', 'late at the end p50', 'p99'], paced),
      `A batch of ${batch.jobs} next to as many calls, from credit:`,
      rows(['', 'connections', 'jobs/s', 'p50 µs', 'p99 µs'], [...jobs('single calls', batch.singleCalls), ...jobs(`**batches of ${batch.jobs}**`, batch.batches)]),
      `One batch after the other does **${batch.ratio.oneBatchToCallsInTurn} ×** the jobs of one call after the other, and ${batch.ratio.oneBatchToCallsAtOnce} × those of ${batch.jobs} calls at once.`,
      rows(['free endpoint', 'bytes', 'requests/s', 'p50 µs', 'p99 µs', 'from memory: requests/s', 'p50 µs', 'p99 µs', 'ratio'], free),
    ].join('\n\n');
  },
  indexer(figures) {
    const speed = figures.eventsPerSecond;
    return [
      where(figures),
      rows(['indexer', 'events/s'], [['**ours**, SQLite', number(speed.sqlite)], ['**ours**, PostgreSQL', number(speed.postgres)], ['Ponder, PGlite', number(speed.ponderPglite)], ['Ponder, PostgreSQL', number(speed.ponderPostgres)]]),
      `PostgreSQL to PostgreSQL: **${figures.ratio.postgresToPonderPostgres} ×**.`,
      rows(['events', 'blocks', 'SQLite events/s', 'PostgreSQL events/s'], figures.growth.map((line) => [line.events, line.blocks, line.sqlite, line.postgres].map(number))),
      figures.blockToBalance ? `From block to balance: \`${JSON.stringify(figures.blockToBalance)}\`` : '',
    ].join('\n\n');
  },
  solana({ cost, timesCheaper, indexer, ...figures }) {
    const price = ({ priceMicroLamports }) => number(priceMicroLamports);
    const lines = cost.oneBatch.flatMap((batch, place) => {
      const [parts, transfer, times] = [cost.withoutTable[place], cost.exactPerJob[place], timesCheaper[place]];
      return [
        ['**one batch**, lookup table', price(batch), number(batch.computeUnitsPerJob), number(batch.lamportsPerJob), '–'],
        [`${parts.transactions} batches without a table`, price(parts), number(parts.computeUnitsPerJob), number(parts.lamportsPerJob), '–'],
        ['one `exact` transfer per job', price(transfer), number(transfer.computeUnits), number(transfer.lamports), `${number(times.computeUnits)} × units, ${number(times.lamports)} × lamports`],
      ];
    });
    const table = cost.lookupTable;
    const followed = (name, { events, batches, slots, eventsPerSecondMedian }) => [name, ...[events, batches, slots, eventsPerSecondMedian].map(number)];
    return [
      where(figures),
      rows([`${number(cost.jobs)} jobs over ${cost.accounts} accounts`, 'micro-lamports a unit', 'compute units a job', 'lamports a job', 'against one batch'], lines),
      `The lookup table of ${table.addresses} addresses costs ${number(table.feeLamports)} lamports of fees once: ${number(table.feeLamportsPerJobOver1Batch)} a job if it served a single batch, `
        + `${number(table.feeLamportsPerJobOver100Batches)} over a hundred; and it holds ${number(table.rentLamports)} lamports of rent, which come back when it is closed.`,
      rows(['indexer, backfill', 'events', 'batches', 'slots', 'events/s'], [followed('SQLite', indexer.sqlite), followed('PostgreSQL', indexer.postgres)]),
      `From confirmed batch to balance: \`${JSON.stringify(rounded(indexer.sqlite.blockToBalance))}\``,
    ].join('\n\n');
  },
};

export function table() {
  const file = join(root, 'docs', 'benchmarks.md');
  let text = readFileSync(file, 'utf8');
  for (const [name, draw] of Object.entries(tables)) {
    const figures = result(name);
    if (figures) text = text.replace(new RegExp(`(<!-- ${name} -->)[\\s\\S]*?(<!-- /${name} -->)`), (_, before, after) => `${before}\n${draw(figures)}\n${after}`);
  }
  writeFileSync(file, text);
}
