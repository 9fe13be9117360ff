#!/usr/bin/env node
// Writes what is generated and committed: ABI + bytecode, source-verification input, deployment constants.
//   node contracts/script/gen.mjs            write
//   node contracts/script/gen.mjs --check    change nothing, fail when a committed file differs
// No network. Same sources, same bytes.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { concat, encodeAbiParameters, getContractAddress, keccak256, toHex } from 'viem';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
process.chdir(root);
// The pinned forge of package-lock.json; elsewhere than on linux-amd64 the one on PATH.
const env = { ...process.env, PATH: `${join(root, 'node_modules/.bin')}${delimiter}${process.env.PATH}` };
const check = process.argv.includes('--check');
const stale = [];

function emit(path, value) {
  const text = JSON.stringify(value, null, 2) + '\n';
  if (existsSync(path) && readFileSync(path, 'utf8') === text) return;
  if (check) return void stale.push(path);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  console.log(`wrote ${path}`);
}

const readJson = (path) => JSON.parse(readFileSync(path, 'utf8'));

execFileSync('forge', ['build', 'contracts/src', '--quiet'], { stdio: 'inherit', env });
const solc = createRequire(import.meta.url)('solc');

/** ABI and bytecode; standard JSON for source verification, and a proof that it gives this very bytecode. */
function contract(contractName) {
  const artifact = readJson(`contracts/out/${contractName}.sol/${contractName}.json`);
  emit(`contracts/abi/${contractName}.json`, {
    contractName,
    abi: artifact.abi,
    bytecode: { object: artifact.bytecode.object },
    deployedBytecode: { object: artifact.deployedBytecode.object },
  });

  const { settings, sources } = artifact.metadata;
  const { compilationTarget, ...compilerSettings } = settings;
  const standard = {
    language: 'Solidity',
    sources: Object.fromEntries(
      Object.keys(sources)
        .sort()
        .map((path) => [path, { content: readFileSync(path, 'utf8') }]),
    ),
    settings: { ...compilerSettings, outputSelection: { '*': { '*': ['abi', 'evm.bytecode.object', 'metadata'] } } },
  };
  const compiled = JSON.parse(solc.compile(JSON.stringify(standard)));
  const [[path, name]] = Object.entries(compilationTarget);
  const verified = compiled.contracts?.[path]?.[name]?.evm.bytecode.object;
  if (`0x${verified}` !== artifact.bytecode.object) {
    throw new Error('the standard JSON does not compile to the bytecode that forge built: ' + JSON.stringify(compiled.errors?.[0]));
  }
  emit(`contracts/verify/${contractName}.standard.json`, standard);
  return artifact.bytecode.object;
}

const bytecode = { futures: contract('ComputeFutures'), registry: contract('ProviderRegistry'), escrow: contract('ComputeEscrow') };

// Where CREATE2 puts them: same factory and salt everywhere, one USDC per chain.
const factory = '0x4e59b44847b379578588920cA78FbF26c0B4956C';
const salt = keccak256(toHex('ComputeFutures v1'));
const tokens = {
  8453: { chain: 'Base', token: '0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913' },
  84532: { chain: 'Base Sepolia', token: '0x036CbD53842c5426634e7929541eC2318f3dCF7e' },
};
const address = { type: 'address' };
const place = (initCode) => getContractAddress({ opcode: 'CREATE2', from: factory, salt, bytecode: initCode });
const providerRegistry = place(bytecode.registry);
emit('contracts/abi/deployment.json', {
  factory,
  salt,
  constructor: 'abi.encode(token)',
  deployments: Object.fromEntries(
    Object.entries(tokens).map(([chainId, { chain, token }]) => {
      const initCode = concat([bytecode.futures, encodeAbiParameters([address], [token])]);
      return [chainId, { chain, token, initCodeHash: keccak256(initCode), computeFutures: place(initCode) }];
    }),
  ),
  market: {
    providerRegistry,
    constructor: 'abi.encode(token, providerRegistry)',
    deployments: Object.fromEntries(
      Object.entries(tokens).map(([chainId, { chain, token }]) => {
        const initCode = concat([bytecode.escrow, encodeAbiParameters([address, address], [token, providerRegistry])]);
        return [chainId, { chain, token, initCodeHash: keccak256(initCode), computeEscrow: place(initCode) }];
      }),
    ),
  },
});

if (stale.length) {
  console.error(`out of date: ${stale.join(', ')}\nrun \`node contracts/script/gen.mjs\` and commit the result`);
  process.exit(1);
}
