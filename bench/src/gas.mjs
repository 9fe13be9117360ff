// Gas: from the snapshots that `forge test --isolate` keeps, next to the peers measured in the same run.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { record, root, round, run } from './common.mjs';

// Measured on the same machine with the same tools: a transaction per job in the product's first design, and one x402 `exact` payment.
const PER_JOB_ELSEWHERE = { transactionPerJob: 62_890, x402ExactPlainToken: 65_579, x402ExactUsdc: 102_852 };

export async function gas() {
  run('forge', ['test', '--isolate', '--match-path', 'contracts/test/gas/*'], {
    env: { PATH: `${join(root, 'node_modules/.bin')}:${process.env.PATH}`, FORGE_SNAPSHOT_CHECK: 'true' }, quiet: true,
  });
  const snapshot = Object.fromEntries(
    Object.entries(JSON.parse(readFileSync(join(root, 'contracts/snapshots/ComputeFutures.json'), 'utf8'))).map(([name, used]) => [name, Number(used)]),
  );
  const perJob = snapshot.postDebits_50_rows / 1000;
  const oneSlot = 22_100;
  record('gas', {
    snapshot,
    perRow: snapshot.postDebits_50_rows / 50,
    perJob: { jobs: 1000, accounts: 50, gas: round(perJob, 1) },
    timesCheaper: Object.fromEntries(Object.entries(PER_JOB_ELSEWHERE).map(([name, used]) => [name, round(used / perJob, 1)])),
    elsewherePerJob: PER_JOB_ELSEWHERE,
    overPeer: Object.fromEntries(
      Object.keys(snapshot)
        .filter((name) => `peer_${name}` in snapshot)
        .map((name) => [name, { gas: snapshot[name] - snapshot[`peer_${name}`], bound: oneSlot }]),
    ),
  });
}
