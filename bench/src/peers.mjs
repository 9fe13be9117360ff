// What the relayer is measured next to, and the relayer itself: all in front of the same upstream, loaded by the same generator.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { binary, family, freePort, listening, median, root, run, say, sleep, start, stop, target, tool, work } from './common.mjs';

export const MODEL = 'bench';
const MESSAGES = [{ role: 'user', content: 'Summarise: the quick brown fox jumps over the lazy dog.' }];
/** A chat request, with these fields beside model and messages. */
export const chat = (fields) => JSON.stringify({ model: MODEL, ...fields, messages: MESSAGES });
const ACCOUNTS = 8;

/** Runs the load generator; every request must be answered as expected. */
export function load(kind, port, connections, requests, { body = '', more = [], env = {}, what = '' } = {}) {
  const args = ['--target', kind, '--address', `127.0.0.1:${port}`, '--connections', `${connections}`, '--requests', `${requests}`, '--body', body, ...more];
  const figures = JSON.parse(run(tool('load'), args, { env }));
  if (figures.failed) throw new Error(`${kind}: ${figures.failed} of ${figures.requests} requests failed; see ${work}`);
  const streamed = figures.chunks ? `, first byte p50 ${figures.firstByteP50Micros} µs, ${figures.chunksPerSecond} chunks/s` : '';
  say(`${what || kind}, ${connections} connections: ${figures.requestsPerSecond} req/s, p50 ${figures.p50Micros} µs, p99 ${figures.p99Micros} µs${streamed}`);
  return figures;
}

/** On a connection of its own: the generator runs while this process stands still, and a kept one is closed meanwhile. */
function post(url, body) {
  return new Promise((done, failed) => {
    const sent = request(url, { method: 'POST', headers: { 'content-type': 'application/json' }, agent: false }, (answer) => {
      answer.resume();
      answer.on('end', () => done(answer));
    });
    sent.on('error', failed);
    sent.end(body);
  });
}

/** The median of each of these figures over some rounds. */
export const middle = (rounds, names = ['requestsPerSecond', 'p50Micros', 'p99Micros']) =>
  Object.fromEntries(names.map((name) => [name, median(rounds.map((figures) => figures[name]))]));

export async function startUpstream() {
  const port = await freePort();
  const server = start('upstream', tool('upstream'), ['--listen', `127.0.0.1:${port}`]);
  await listening(port);
  return { server, port };
}

/** `documents`: what it answers from memory, by path. */
export async function startBare(upstream, documents = {}) {
  const port = await freePort();
  const database = join(work, 'bare.db');
  for (const suffix of ['', '-wal', '-shm']) rmSync(database + suffix, { force: true });
  const more = Object.entries(documents).flatMap(([path, content], index) => {
    const file = join(work, `document${index}`);
    writeFileSync(file, content);
    return ['--document', `${path}=${file}`];
  });
  const server = start('bare', tool('bare_proxy'), ['--listen', `127.0.0.1:${port}`, '--upstream', `127.0.0.1:${upstream}`, '--database', database, ...more]);
  await listening(port);
  return { server, port };
}

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

export async function startLitellm(workers, upstream) {
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

/**
 * A devnet whose relayer has the upstream as its only provider, and accounts with credit. `pay(path, body)` are the arguments of the load
 * generator that pay for this very request; the indexer, which no peer has beside it, is paused.
 */
export async function startRelayer(upstream, { maxOutputTokens = 64, deposit = 50 } = {}) {
  const dir = join(work, 'devnet');
  const file = join(work, 'devnet.json');
  rmSync(dir, { recursive: true, force: true });
  rmSync(file, { force: true });
  const env = {
    COMPUTE_FUTURES_RELAYER__PROVIDERS: `[{name="bench",kind="openai",base_url="http://127.0.0.1:${upstream}/v1",allow_insecure=true}]`,
    COMPUTE_FUTURES_RELAYER__MODELS: `[{id="${MODEL}",name="Bench",kind="text-inference",routes=[{provider="bench",model="bench"}],per_call="0.0001",context_length=8192,max_output_tokens=${maxOutputTokens},auto=true}]`,
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
  for (let index = 0; index < ACCOUNTS; index++) accounts.push(cli('deposit', `${deposit}`).accountId);
  // The last deposit's block is seen.
  await sleep(2000);
  const url = new URL(net.relayer);
  const part = (name) => family(server.pid).find((id) => readFileSync(`/proc/${id}/cmdline`, 'utf8').split('\0').includes(name));
  const pid = part('relayer');
  // It follows every job too, which nothing does beside the peers.
  const indexer = part('indexer');
  process.kill(indexer, 'SIGSTOP');
  const signing = ['--accounts', accounts.join(','), '--contract', net.evm.computeFutures, '--chain-id', `${net.evm.chainId}`];
  const pay = async (path, body) => {
    const header = (await post(new URL(path, url), body)).headers['payment-required'];
    if (!header) throw new Error(`${path} asks for no payment`);
    const offers = JSON.parse(Buffer.from(header, 'base64').toString()).accepts;
    const accepted = offers.find((offer) => offer.scheme === 'compute-futures');
    return ['--path', path, ...signing, '--accepted', JSON.stringify(accepted)];
  };
  const end = async () => {
    process.kill(indexer, 'SIGCONT');
    await stop(server);
  };
  return { port: url.port, url, pay, env: { BENCH_KEY: net.evm.fundedKeys[0] }, pid, end };
}
