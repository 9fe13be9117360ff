// Jobs a second and overhead of the relayer (scheme `compute-futures`, durable ledger), next to LiteLLM and to a bare proxy,
// all in front of the same instant upstream, loaded by the same generator, in the same run.
import { family, peakMemory, record, round, stop } from './common.mjs';
import { chat, load, middle, startBare, startLitellm, startRelayer, startUpstream } from './peers.mjs';

const CONNECTIONS = [16, 64];
const ROUNDS = 3;
const BODY = chat({ max_tokens: 32 });

export async function relayer() {
  const upstream = await startUpstream();
  const bare = await startBare(upstream.port);
  const ours = await startRelayer(upstream.port);
  const paid = { body: BODY, more: await ours.pay('/api/v1/compute/text-inference', BODY), env: ours.env };

  const seen = { upstream: {}, bareProxy: {}, relayer: {} };
  for (const connections of CONNECTIONS) {
    const rounds = { upstream: [], bareProxy: [], relayer: [] };
    for (let index = 0; index < ROUNDS; index++) {
      rounds.upstream.push(load('plain', upstream.port, connections, 20_000, { body: BODY }));
      rounds.bareProxy.push(load('bare', bare.port, connections, 20_000, { body: BODY }));
      rounds.relayer.push(load('relayer', ours.port, connections, 20_000, paid));
    }
    for (const name of Object.keys(seen)) seen[name][connections] = middle(rounds[name]);
  }
  const memory = { relayerPeakMiB: peakMemory(ours.pid), bareProxyPeakMiB: peakMemory(bare.server.pid) };
  await ours.end();
  await stop(bare.server);

  for (const workers of [1, 2]) {
    const peer = await startLitellm(workers, upstream.port);
    const name = `litellm${workers}`;
    seen[name] = {};
    for (const connections of CONNECTIONS) {
      seen[name][connections] = middle(Array.from({ length: ROUNDS }, () => load('plain', peer.port, connections, 1000, { body: BODY, what: name })));
    }
    memory[`${name}PeakMiB`] = family(peer.server.pid).map(peakMemory).reduce((sum, one) => sum + one, 0);
    await stop(peer.server);
  }
  await stop(upstream.server);

  const ratio = (peer) => Object.fromEntries(CONNECTIONS.map((c) => [c, round(seen.relayer[c].requestsPerSecond / seen[peer][c].requestsPerSecond)]));
  record('relayer', {
    connections: CONNECTIONS, rounds: ROUNDS, ...seen, memory,
    overheadP50Micros: Object.fromEntries(CONNECTIONS.map((c) => [c, seen.relayer[c].p50Micros - seen.upstream[c].p50Micros])),
    overheadP99Micros: Object.fromEntries(CONNECTIONS.map((c) => [c, seen.relayer[c].p99Micros - seen.upstream[c].p99Micros])),
    ratio: { toLitellmOneWorker: ratio('litellm1'), toLitellmTwoWorkers: ratio('litellm2'), toBareProxy: ratio('bareProxy') },
    aims: { toLitellmOneWorker: '>= 25', toBareProxy: '>= 0.5', overheadP50Micros: '<= 2000', relayerPeakMiB: '<= 150' },
  });
}
