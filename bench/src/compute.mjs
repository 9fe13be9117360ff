// The compute surface: streams (chunks a second, streams at once, time to the first byte), a batch of 50 next to 50 calls, and what is free.
// Peers as for the relayer: the upstream itself, a bare proxy, LiteLLM; the same generator, the same run.
import { busyCores, peakMemory, record, round, stop } from './common.mjs';
import { MODEL, chat, load, middle, startBare, startLitellm, startRelayer, startUpstream } from './peers.mjs';

const ROUNDS = 3;
/** Percent of the load, for a look at the harness; nothing is written then. */
const PERCENT = Number(process.env.BENCH_PERCENT ?? 100);
const some = (count, least = 1) => Math.max(least, Math.round((count * PERCENT) / 100));

const TEXT = '/api/v1/compute/text-inference';
const BATCH = '/api/v1/compute/batch';
const JOBS = 50;

// Streams. Chunks are tokens: the upstream sends as many as `max_tokens` says, `seed` milliseconds apart.
// LiteLLM is asked for less, or it would take hours: `litellm` streams in all, and fewer at once.
const FULL = { chunks: 256, connections: [16, 64], streams: 640, litellm: { connections: [16], streams: 32 } };
const FIRST = { chunks: 8, connections: [1, 16], streams: 2000, litellm: { connections: [1, 16], streams: 100 } };
const PACED = { chunks: 60, paceMs: 50, connections: [250, 1000], litellm: { connections: [25] } };
const streamed = (chunks, paceMs) => chat({ max_tokens: chunks, stream: true, ...(paceMs ? { seed: paceMs } : {}) });
const ENDS = ['--expect', 'data: [DONE]'];
const STREAM = ['requestsPerSecond', 'chunksPerSecond', 'firstByteP50Micros', 'firstByteP99Micros', 'p50Micros', 'p99Micros'];

/** How each target is asked for a stream with this body. */
async function targets({ upstream, bare, ours }, body) {
  return {
    upstream: (c, n, more) => load('plain', upstream.port, c, n, { body, more: [...ENDS, ...more], what: 'upstream' }),
    bareProxy: (c, n, more) => load('bare', bare.port, c, n, { body, more: [...ENDS, ...more], what: 'bare proxy' }),
    relayer: await ours.pay(TEXT, body).then((paid) => (c, n, more) => load('relayer', ours.port, c, n, { body, more: [...paid, ...ENDS, ...more], env: ours.env, what: 'relayer' })),
  };
}

/** Rounds of every target in turn; the median of each. A stream that lacks a chunk is a failure. */
async function rounds(kinds, connections, requests, chunks, warmup) {
  const seen = Object.fromEntries(Object.keys(kinds).map((name) => [name, []]));
  for (let index = 0; index < ROUNDS; index++) {
    for (const [name, ask] of Object.entries(kinds)) {
      const figures = ask(connections, requests, ['--warmup', `${warmup}`]);
      if (figures.chunks !== requests * chunks) throw new Error(`${name}: ${figures.chunks} chunks of ${requests * chunks}`);
      seen[name].push(figures);
    }
  }
  return Object.fromEntries(Object.entries(seen).map(([name, all]) => [name, middle(all, STREAM)]));
}

const transposed = (byConnections) => {
  const names = Object.keys(Object.values(byConnections)[0]);
  return Object.fromEntries(names.map((name) => [name, Object.fromEntries(Object.entries(byConnections).map(([c, all]) => [c, all[name]]))]));
};

/** Every case of the streams for these targets. */
async function streams(asked) {
  const measure = async (size, body, warmup) => {
    const kinds = await asked(body);
    const { connections, streams: wanted } = kinds.litellm ? size.litellm : size;
    const seen = {};
    for (const c of connections) {
      // Without a number, all of them at once.
      const at = wanted ? c : some(c, 10);
      seen[c] = await rounds(kinds, at, wanted ? some(wanted, c) : at, size.chunks, warmup(at));
    }
    return transposed(seen);
  };
  return {
    first: await measure(FIRST, streamed(FIRST.chunks), () => 32),
    full: await measure(FULL, streamed(FULL.chunks), (c) => c),
    paced: await measure(PACED, streamed(PACED.chunks, PACED.paceMs), (c) => Math.min(c, 50)),
  };
}

/** One payment for fifty jobs, next to fifty payments. */
async function batches({ ours }) {
  const one = chat({ max_tokens: 32 });
  const job = { type: 'text-inference', ...JSON.parse(one) };
  const batch = JSON.stringify({ jobs: Array(JOBS).fill(job) });
  const single = { body: one, more: await ours.pay(TEXT, one), env: ours.env, what: 'single calls' };
  const whole = { body: batch, more: [...(await ours.pay(BATCH, batch)), '--expect', `"succeeded":${JOBS}`, '--warmup', '8'], env: ours.env, what: 'batches of 50' };
  const cases = { singleCalls: { 1: [single, 1000], 16: [single, 5000], 50: [single, 5000] }, batches: { 1: [whole, 20], 4: [whole, 80] } };
  const seen = {};
  for (const [name, byConnections] of Object.entries(cases)) {
    seen[name] = {};
    for (const [connections, [how, requests]] of Object.entries(byConnections)) {
      const all = Array.from({ length: ROUNDS }, () => load('relayer', ours.port, Number(connections), some(requests, Number(connections)), how));
      const figures = middle(all);
      seen[name][connections] = { jobsPerSecond: round(figures.requestsPerSecond * (name === 'batches' ? JOBS : 1), 0), p50Micros: figures.p50Micros, p99Micros: figures.p99Micros };
    }
  }
  return seen;
}

const CATALOGUE = {
  '/api/v1/compute/models': null,
  '/api/v1/compute/estimate': JSON.stringify({ type: 'text-inference', model: MODEL, max_tokens: 32, messages: [{ role: 'user', content: 'How much is it?' }] }),
  '/openapi.json': null,
  '/.well-known/x402.json': null,
};

/** What the relayer answers to each, for the bare proxy to answer the same. */
async function documents(ours) {
  const answers = Object.entries(CATALOGUE).map(async ([path, body]) => {
    const how = body ? { method: 'POST', headers: { 'content-type': 'application/json' }, body } : {};
    const answer = await fetch(new URL(path, ours.url), how);
    if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
    return [path, await answer.text()];
  });
  return Object.fromEntries(await Promise.all(answers));
}

function catalogue({ ours, bare }, texts) {
  const seen = {};
  for (const [path, body] of Object.entries(CATALOGUE)) {
    const how = { body: body ?? '', more: ['--path', path, '--method', body ? 'POST' : 'GET'] };
    const all = { relayer: [], bareProxy: [] };
    for (let index = 0; index < ROUNDS; index++) {
      all.relayer.push(load('plain', ours.port, 16, some(20_000, 16), { ...how, what: path }));
      all.bareProxy.push(load('plain', bare.port, 16, some(20_000, 16), { ...how, what: `${path} from memory` }));
    }
    const [relayer, bareProxy] = [middle(all.relayer), middle(all.bareProxy)];
    seen[path] = { bytes: Buffer.byteLength(texts[path]), relayer, bareProxy, toBareProxy: round(relayer.requestsPerSecond / bareProxy.requestsPerSecond) };
  }
  return seen;
}

export async function compute() {
  const before = await busyCores();
  const upstream = await startUpstream();
  const ours = await startRelayer(upstream.port, { maxOutputTokens: 1024 });
  const texts = await documents(ours);
  const bare = await startBare(upstream.port, texts);
  const parts = { upstream, bare, ours };
  const free = catalogue(parts, texts);
  const batch = await batches(parts);
  const seen = await streams((body) => targets(parts, body));
  const memory = { relayerPeakMiB: peakMemory(ours.pid), bareProxyPeakMiB: peakMemory(bare.server.pid) };
  await ours.end();
  await stop(bare.server);

  const peer = await startLitellm(1, upstream.port);
  const theirs = await streams(async (body) => ({ litellm: (c, n, more) => load('plain', peer.port, c, n, { body, more: [...ENDS, ...more], what: 'LiteLLM, 1 worker' }) }));
  for (const kind of Object.keys(seen)) Object.assign(seen[kind], theirs[kind]);
  await stop(peer.server);
  await stop(upstream.server);

  const added = (name) => Object.fromEntries(FIRST.connections.map((c) => [c, {
    p50Micros: seen.first[name][c].firstByteP50Micros - seen.first.upstream[c].firstByteP50Micros,
    p99Micros: seen.first[name][c].firstByteP99Micros - seen.first.upstream[c].firstByteP99Micros,
  }]));
  const ratio = (to, connections = FULL.connections) => Object.fromEntries(connections.map((c) => [c, round(seen.full.relayer[c].chunksPerSecond / seen.full[to][c].chunksPerSecond)]));
  if (PERCENT !== 100) return;
  record('compute', {
    rounds: ROUNDS,
    othersBusyCores: [before, await busyCores()],
    streams: {
      ...seen,
      sizes: { full: FULL, first: FIRST, paced: PACED },
      firstByteAdded: { relayer: added('relayer'), bareProxy: added('bareProxy'), litellm: added('litellm') },
      chunksPerSecondRatio: { toBareProxy: ratio('bareProxy'), toLitellmOneWorker: ratio('litellm', FULL.litellm.connections) },
    },
    batch: { jobs: JOBS, ...batch, ratio: {
      oneBatchToCallsInTurn: round(batch.batches[1].jobsPerSecond / batch.singleCalls[1].jobsPerSecond),
      oneBatchToCallsAtOnce: round(batch.batches[1].jobsPerSecond / batch.singleCalls[50].jobsPerSecond),
    } },
    catalogue: free,
    memory,
  });
}
