#!/usr/bin/env node
// Takes one check at a time out of the Solana programs and expects the tests to fail: a promise whose test does not notice is no promise.
//   node programs/mutants.mjs [word…]      all, or those whose name contains one of the words (20 to 60 s each)
// Needs the sBPF compiler (scripts/solana/setup.sh). Works in a temporary copy; changes nothing here.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { computeEscrow, providerRegistry } from './mutants/market.mjs';
import { computeFutures } from './mutants/compute_futures.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
/** Program, the package of its tests, its mutants: [promise and check, file, text as it stands, text of the mutant] */
const programs = [
  ['compute-futures', 'compute-futures', computeFutures],
  ['provider-registry', 'compute-escrow', providerRegistry],
  ['compute-escrow', 'compute-escrow', computeEscrow],
];

const words = process.argv.slice(2);
const copy = mkdtempSync(join(tmpdir(), 'mutants-'));
const fixtures = join(copy, 'fixtures');
for (const part of ['Cargo.toml', 'Cargo.lock', 'build.rs', 'common', 'fixtures', 'idl', ...programs.map(([program]) => program)]) {
  cpSync(join(root, 'programs', part), join(copy, part), { recursive: true, filter: (path) => !/[\\/]target$/.test(path) });
}
const run = (command, args, env) => spawnSync(command, args, { cwd: root, encoding: 'utf8', env: { ...process.env, ...env } });
const build = (program) =>
  run('scripts/solana/build.sh', [join(copy, program), join(fixtures, `${program.replaceAll('-', '_')}.so`)], { SBF_TARGET_DIR: join(root, 'programs/target/mutants') });
const tests = (of) => run('cargo', ['test', '--offline', '--quiet', '--manifest-path', `programs/${of}/tests/Cargo.toml`], {
  CARGO_TARGET_DIR: join(root, 'programs/target/tests'), COMPUTE_FUTURES_FIXTURES: fixtures, PROPTEST_MAX_SHRINK_ITERS: '0', RUST_BACKTRACE: '0',
});

const survivors = [];
let tried = 0;
try {
  mkdirSync(join(root, 'programs/target'), { recursive: true });
  for (const [program, of, mutants] of programs) {
    const chosen = mutants.filter(([name]) => words.length === 0 || words.some((word) => `${program} ${name}`.includes(word)));
    if (chosen.length === 0) continue;
    for (const [name, file, text, changed] of [['nothing changed', 'lib.rs', '', ''], ...chosen, ['nothing changed any more', 'lib.rs', '', '']]) {
      const path = join(copy, program, 'src', file);
      const original = readFileSync(path, 'utf8');
      if (text && original.split(text).length < 2) throw new Error(`${name}: ${file} has no ${JSON.stringify(text)}`);
      writeFileSync(path, original.replace(text, changed));
      const built = build(program);
      if (built.status !== 0) throw new Error(`${name}: the mutant does not compile\n${built.stderr.slice(-2000)}`);
      const passed = tests(of).status === 0;
      if (passed !== (text === '')) survivors.push(name);
      if (text) tried += 1;
      console.log(`${passed === (text === '') ? 'ok      ' : 'SURVIVED'}  ${program}: ${name}`);
      writeFileSync(path, original);
    }
  }
} finally {
  rmSync(copy, { recursive: true, force: true });
}
if (survivors.length > 0) {
  console.error(`${survivors.length} of ${tried} mutants survived`);
  process.exit(1);
}
console.log(`all ${tried} mutants were noticed`);
