#!/usr/bin/env node
// Runs the benchmarks and writes bench/results/*.json. What is measured and why: docs/benchmarks.md.
//   node bench/run.mjs [gas] [relayer] [compute] [indexer] [solana]      all of them when none is named
// Needs the release binaries (`make bench` builds them) and, for the peers, python3 with venv and npm.
import { gas } from './src/gas.mjs';
import { relayer } from './src/relayer.mjs';
import { compute } from './src/compute.mjs';
import { indexer } from './src/indexer.mjs';
import { solana } from './src/solana.mjs';
import { table } from './src/table.mjs';

const parts = { gas, relayer, compute, indexer, solana };
const asked = process.argv.slice(2);
for (const name of asked) {
  if (!(name in parts)) {
    console.error(`there is no benchmark called ${name}; there are: ${Object.keys(parts).join(', ')}`);
    process.exit(2);
  }
}
for (const name of asked.length ? asked : Object.keys(parts)) await parts[name]();
table();
