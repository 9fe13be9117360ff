// Jobs a second and overhead of the relayer (scheme `compute-futures`, durable ledger), next to LiteLLM and to a bare proxy,
// all in front of the same instant upstream, loaded by the same generator, in the same run.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  binary, family, freePort, listening, median, peakMemory, record, root, round, run, say, sleep, start, stop, target, tool, work,
} from './common.mjs';

const CONNECTIONS = [16, 64];
const ROUNDS = 3;
const MODEL = 'bench';
const BODY = JSON.stringify({ model: MODEL, max_tokens: 32, messages: [{ role: 'user', content: 'Summarise: the quick brown fox jumps over the lazy dog.' }] });
const ACCOUNTS = 8;

function load(kind, port, connections, requests, more = [], env = {}) {
  const args = ['--target', kind, '--address', `127.0.0.1:${port}`, '--connections', `${connections}`, '--requests', `${requests}`, '--body', BODY, ...more];
  const figures = JSON.parse(run(tool('load'), args, { env }));
  if (figures.failed) throw new Error(`${kind}: ${figures.failed} of ${figures.requests} requests failed; see ${work}`);
  say(`${kind}, ${connections} connections: ${figures.requestsPerSecond} req/s, p50 ${figures.p50Micros} µs, p99 ${figures.p99Micros} µs`);
  return figures;
}

const middle = (rounds) =>
  Object.fromEntries(['requestsPerSecond', 'p50Micros', 'p99Micros'].map((name) => [name, median(rounds.map((figures) => figures[name]))]));

function litellm() {
  const venv = join(target, 'bench-venv');
  const program = join(venv, 'bin', 'litellm');
  if (!existsSync(program)) {
    say('installing LiteLLM from PyPI into target/bench-venv');
    run('python3', ['-m', 'venv', venv]);
    run(join(venv, 'bin', 'pip'), ['install', '--quiet', 'litellm[proxy]==1.106.2']);
  }
  return program;
}

async function startLitellm(workers, upstream) {
  const port = await freePort();
  const config = join(work, 'litellm.yaml');
  writeFileSync(config, `model_list:
  - model_name: ${MODEL}
    litellm_params: { model: openai/${MODEL}, api_base: "http://127.0.0.1:${upstream}/v1", api_key: none }
litellm_settings: { telemetry: false, num_retries: 0 }
`);
  const env = { LITELLM_LOCAL_MODEL_COST_MAP: 'True', LITELLM_LOG: 'ERROR', LITELLM_MODE: 'PRODUCTION', LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY: 'true', PYTHONWARNINGS: 'ignore' };
  const server = start(`litellm-${workers}`, litellm(), ['--config', config, '--host', '127.0.0.1', '--port', `${port}`, '--num_workers', `${workers}`], { env });
  await listening(port, 180);
  await sleep(5000);
  return { server, port };
}

async function startRelayer(upstream) {
  const dir = join(work, 'devnet');
  const file = join(work, 'devnet.json');
  rmSync(dir, { recursive: true, force: true });
  rmSync(file, { force: true });
  const env = {
    COMPUTE_FUTURES_RELAYER__PROVIDERS: `[{name="bench",kind="openai",base_url="http://127.0.0.1:${upstream}/v1",allow_insecure=true}]`,
    COMPUTE_FUTURES_RELAYER__MODELS: `[{id="${MODEL}",name="Bench",kind="text-inference",routes=[{provider="bench",model="bench"}],per_call="0.0001",context_length=8192,max_output_tokens=64,auto=true}]`,
  };
  const args = ['devnet', '--devnet', file, '--dir', dir, '--rpc-port', '0', '--relayer-port', '0', '--indexer-port', '0', '--log', 'warn'];
  const server = start('devnet', binary, args, { env });
  for (let left = 600; !existsSync(file); left--) {
    if (!left || server.exitCode !== null) throw new Error(`the devnet did not start; see ${work}/devnet.log`);
    await sleep(100);
  }
  const net = JSON.parse(readFileSync(file, 'utf8'));
  const cli = (...rest) => JSON.parse(execFileSync(binary, [...rest, '--json', '--devnet', file, '--key', 'devnet:0'], { encoding: 'utf8', cwd: root }));
  const accounts = [];
  for (let index = 0; index < ACCOUNTS; index++) accounts.push(cli('deposit', '50').accountId);
  // The last deposit's block is seen.
  await sleep(2000);
  const url = new URL(net.relayer);
  const path = '/api/v1/compute/text-inference';
  const answer = await fetch(new URL(path, url), { method: 'POST', headers: { 'content-type': 'application/json' }, body: BODY });
  const offers = JSON.parse(Buffer.from(answer.headers.get('payment-required'), 'base64').toString()).accepts;
  const accepted = offers.find((offer) => offer.scheme === 'compute-futures');
  const part = (name) => family(server.pid).find((id) => readFileSync(`/proc/${id}/cmdline`, 'utf8').split('\0').includes(name));
  const pid = part('relayer');
  // It follows every job too, which nothing does beside the peers.
  const indexer = part('indexer');
  process.kill(indexer, 'SIGSTOP');
  const more = ['--path', path, '--accounts', accounts.join(','), '--contract', net.evm.computeFutures, '--chain-id', `${net.evm.chainId}`, '--accepted', JSON.stringify(accepted)];
  return { server, port: url.port, more, env: { BENCH_KEY: net.evm.fundedKeys[0] }, pid, indexer };
}

export async function relayer() {
  const upstream = await freePort();
  const instant = start('upstream', tool('upstream'), ['--listen', `127.0.0.1:${upstream}`]);
  await listening(upstream);
  const barePort = await freePort();
  const database = join(work, 'bare.db');
  for (const suffix of ['', '-wal', '-shm']) rmSync(database + suffix, { force: true });
  const bare = start('bare', tool('bare_proxy'), ['--listen', `127.0.0.1:${barePort}`, '--upstream', `127.0.0.1:${upstream}`, '--database', database]);
  await listening(barePort);
  const ours = await startRelayer(upstream);

  const seen = { upstream: {}, bareProxy: {}, relayer: {} };
  for (const connections of CONNECTIONS) {
    const rounds = { upstream: [], bareProxy: [], relayer: [] };
    for (let index = 0; index < ROUNDS; index++) {
      rounds.upstream.push(load('plain', upstream, connections, 20_000));
      rounds.bareProxy.push(load('bare', barePort, connections, 20_000));
      rounds.relayer.push(load('relayer', ours.port, connections, 20_000, ours.more, ours.env));
    }
    for (const name of Object.keys(seen)) seen[name][connections] = middle(rounds[name]);
  }
  const memory = { relayerPeakMiB: peakMemory(ours.pid), bareProxyPeakMiB: peakMemory(bare.pid) };
  process.kill(ours.indexer, 'SIGCONT');
  await stop(ours.server);
  await stop(bare);

  for (const workers of [1, 2]) {
    const peer = await startLitellm(workers, upstream);
    const name = `litellm${workers}`;
    seen[name] = {};
    for (const connections of CONNECTIONS) {
      seen[name][connections] = middle(Array.from({ length: ROUNDS }, () => load('plain', peer.port, connections, 1000)));
    }
    memory[`${name}PeakMiB`] = family(peer.server.pid).map(peakMemory).reduce((sum, one) => sum + one, 0);
    await stop(peer.server);
  }
  await stop(instant);

  const ratio = (peer) => Object.fromEntries(CONNECTIONS.map((c) => [c, round(seen.relayer[c].requestsPerSecond / seen[peer][c].requestsPerSecond)]));
  record('relayer', {
    connections: CONNECTIONS, rounds: ROUNDS, ...seen, memory,
    overheadP50Micros: Object.fromEntries(CONNECTIONS.map((c) => [c, seen.relayer[c].p50Micros - seen.upstream[c].p50Micros])),
    overheadP99Micros: Object.fromEntries(CONNECTIONS.map((c) => [c, seen.relayer[c].p99Micros - seen.upstream[c].p99Micros])),
    ratio: { toLitellmOneWorker: ratio('litellm1'), toLitellmTwoWorkers: ratio('litellm2'), toBareProxy: ratio('bareProxy') },
    aims: { toLitellmOneWorker: '>= 25', toBareProxy: '>= 0.5', overheadP50Micros: '<= 2000', relayerPeakMiB: '<= 150' },
  });
}
