// What all benchmarks share: where things are, how to start and stop a process, how to write a result.
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { cpus, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
export const target = join(root, 'target');
export const work = join(target, 'bench-work');
export const binary = join(target, 'release', 'compute-futures');
export const tool = (name) => join(target, 'bench', 'release', name);
mkdirSync(work, { recursive: true });

export const say = (text) => console.error(`bench: ${text}`);
export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

const running = new Set();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130));

/** Starts a process whose output goes to a log file; it dies with us. */
export function start(name, command, args, { env = {}, cwd = root } = {}) {
  const log = openSync(join(work, `${name}.log`), 'w');
  const child = spawn(command, args, { env: { ...process.env, ...env }, cwd, stdio: ['pipe', log, log] });
  closeSync(log);
  running.add(child);
  child.on('exit', () => running.delete(child));
  return child;
}

export async function stop(child, signal = 'SIGTERM') {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((done) => child.once('exit', done));
  child.kill(signal);
  const late = setTimeout(() => child.kill('SIGKILL'), 20_000);
  await ended;
  clearTimeout(late);
}

/** Runs a command to its end and returns what it printed. */
export function run(command, args, options = {}) {
  const { env = {}, cwd = root, quiet = false } = options;
  const result = spawnSync(command, args, {
    env: { ...process.env, ...env }, cwd, encoding: 'utf8', maxBuffer: 1 << 28, stdio: ['ignore', 'pipe', quiet ? 'pipe' : 'inherit'],
  });
  if (result.status !== 0) throw new Error(`${command} ${args.slice(0, 3).join(' ')} … failed (${result.status ?? result.error}): ${result.stderr ?? ''}`);
  return result.stdout;
}

export function freePort() {
  return new Promise((done, failed) => {
    const server = createServer();
    server.once('error', failed);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });
}

export async function listening(port, seconds = 60) {
  for (let left = seconds * 10; left > 0; left--) {
    const up = await new Promise((done) => {
      const socket = connect(port, '127.0.0.1', () => done(true)).on('error', () => done(false));
      socket.on('close', () => {});
      setTimeout(() => socket.destroy(), 50);
    });
    if (up) return;
    await sleep(100);
  }
  throw new Error(`nothing listens on port ${port} after ${seconds} s; see the logs in ${work}`);
}

/** Largest resident memory of a process so far, in MiB. */
export function peakMemory(pid) {
  const kib = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Math.round(Number(kib[1]) / 1024);
}

/** Process ids of a process and all below it. */
export function family(pid) {
  const children = existsSync(`/proc/${pid}/task/${pid}/children`) ? readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8') : '';
  return [pid, ...children.split(' ').filter(Boolean).flatMap((child) => family(Number(child)))];
}

export const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];
export const round = (number, digits = 2) => Number(number.toFixed(digits));

/** Cores that are busy, on average over some seconds: with nothing of ours running, what the others do. */
export async function busyCores(seconds = 3) {
  const idle = () => cpus().reduce((sum, { times }) => sum + times.idle, 0);
  const [before, started] = [idle(), performance.now()];
  await sleep(seconds * 1000);
  return round(Math.max(0, cpus().length - (idle() - before) / (performance.now() - started)));
}

/** What is measured: the commit, with a plus when files differ from it. */
function commit() {
  const git = (...args) => spawnSync('git', args, { cwd: root, encoding: 'utf8' }).stdout?.trim() ?? '';
  const changed = git('status', '--porcelain', '--untracked-files=no', '--', '.', ':!bench/results', ':!docs');
  return git('rev-parse', '--short', 'HEAD') + (changed ? '+' : '');
}

/** Writes bench/results/<name>.json. */
export function record(name, result) {
  const folder = join(root, 'bench', 'results');
  mkdirSync(folder, { recursive: true });
  const machine = { cpu: cpus()[0].model, cores: cpus().length, memoryGiB: Math.round(totalmem() / 2 ** 30) };
  const head = { measured: new Date().toISOString().slice(0, 10), commit: commit(), machine };
  writeFileSync(join(folder, `${name}.json`), JSON.stringify({ ...head, ...result }, null, 2) + '\n');
  say(`wrote bench/results/${name}.json`);
}

export const result = (name) => {
  const file = join(root, 'bench', 'results', `${name}.json`);
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : null;
};
