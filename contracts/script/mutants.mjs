#!/usr/bin/env node
// Takes one check at a time out of the contract and expects the tests to fail: a promise whose test does not notice is no promise.
//   node contracts/script/mutants.mjs [name…]      all, or those whose name contains one of the words (about 30 s each)
// Works in a temporary copy; changes nothing here.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const CF = 'contracts/src/ComputeFutures.sol';
const METER = 'contracts/src/libraries/Meter.sol';
const TERMS = 'contracts/src/libraries/PackedTerms.sol';
const VAULT = 'contracts/src/DepositVault.sol';

// Left out, because nothing could notice: the zero check of the delegate (OpenZeppelin's checker never takes zero for a signer), and
// "a tier only rises" (totals only rise, and the terms of an account never change), the zero check of the root (no proof hashes to zero).
/** [promise and check, file, text as it stands, text of the mutant] */
const mutants = [
  ['I-1 what arrived is measured', CF, 'if (received != expected)', 'if (false && received != expected)'],
  ['I-1 earnings bound withdrawals', CF, 'if (amount > earnings)', 'if (false && amount > earnings)'],
  ['I-1 guard on deposit', CF, 'external\n        nonReentrant\n        returns (uint64 accountId)\n    {\n        if (ceiling', 'external\n        returns (uint64 accountId)\n    {\n        if (ceiling'],
  ['I-1 guard on withdrawEarnings', CF, 'withdrawEarnings(address to, uint64 amount) external nonReentrant', 'withdrawEarnings(address to, uint64 amount) external'],
  ['I-1 sweep takes the fee out of the credit', CF, 'uint256 amount = balance - fee;', 'uint256 amount = balance;'],
  ['I-2 ceiling in the clamp', METER, 'if (meter.ceiling() < limit) limit = meter.ceiling();', ''],
  ['I-2 no ceiling by a third-party deposit', CF, 'if (ceiling != 0 && msg.sender != owner)', 'if (false)'],
  ['I-2 no ceiling by a third-party top-up', CF, 'if (ceiling != 0) _requireSpender(accountId, holder);', ''],
  ['I-2 raise needs a spender', CF, '_requireSpender(accountId, _openAccount(accountId));', '_openAccount(accountId);'],
  ['I-2 signature is checked', CF, 'revert ComputeFutures_InvalidSignature(accountId); // I-2', 'signer = owner;'],
  ['I-2 the ceiling only rises', CF, 'if (ceiling <= present)', 'if (false)'],
  ['I-2 the deposit nonce commits to the ceiling', CF, 'abi.encode(operatorIndex, owner, accountId, ceiling, salt)', 'abi.encode(operatorIndex, owner, accountId, salt)'],
  ['I-2 only the owner names a delegate', CF, '_requireOwner(accountId, _openAccount(accountId));\n        _delegates', '_openAccount(accountId);\n        _delegates'],
  ['I-3 the floor', METER, 'if (statedBps > bps) bps = statedBps > BPS ? BPS : statedBps;', 'bps = statedBps > BPS ? BPS : statedBps;'],
  ['I-3 the remainder is carried', METER, ' + meter.remainder();', ';'],
  ['I-3 grace after a raise', METER, 'lastBatch + 3', 'lastBatch + 2'],
  ['I-3 grace keeps the old floor', METER, 'uint256 previous = meter.floorBps(lastBatch + 1);', 'uint256 previous = discountBps_;'],
  ['I-3 a clamp drops the fraction', METER, '                rest = 0;\n', ''],
  ['I-4 only the owner asks', CF, 'Holder storage holder = _openAccount(accountId);\n        _requireOwner(accountId, holder);\n        if (holder.refundableAt', 'Holder storage holder = _openAccount(accountId);\n        if (holder.refundableAt'],
  ['I-4 only the owner takes', CF, '_requireOwner(accountId, holder);\n        uint40 refundableAt', 'uint40 refundableAt'],
  ['I-4 the delay', CF, 'if (block.timestamp < refundableAt)', 'if (false)'],
  ['I-4 the delay is not restarted', CF, 'if (holder.refundableAt != 0) revert ComputeFutures_RefundAlreadyRequested(accountId, holder.refundableAt);\n        // The delay', '// The delay'],
  ['I-4 the delay of the account\'s own terms', CF, '_terms[_operatorOf(accountId)][holder.termsVersion].packed.refundDelay()', '_terms[_operatorOf(accountId)][_operators[_operatorOf(accountId)].termsVersion].packed.refundDelay()'],
  ['I-4 the delay is at most 30 days', TERMS, 'if (terms.refundDelay > MAX_REFUND_DELAY)', 'if (false)'],
  ['I-4 closed for good', CF, 'holder.closed = true;', ''],
  ['I-4 credit is gone after closing', CF, '_meters[accountId] = meter.withCredit(meter.charged());', ''],
  ['I-4 only its own operator closes', CF, 'if (operatorIndexOf[msg.sender] != _operatorOf(accountId))', 'if (false)'],
  ['I-4 only the owner recovers', CF, 'if (msg.sender != terms.owner)', 'if (false)'],
  ['I-4 only ComputeFutures empties a vault', VAULT, 'if (msg.sender != CONTROLLER)', 'if (false)'],
  ['I-4 no deposits in the refund delay', CF, 'if (holder.refundableAt != 0) revert ComputeFutures_RefundAlreadyRequested(accountId, holder.refundableAt);\n        if (amount', 'if (amount'],
  ['I-5 batch numbers', CF, 'if (batchNumber != expected)', 'if (false)'],
  ['I-5 the batch is remembered', CF, 'state.lastBatch = batchNumber;', ''],
  ['I-5 earnings once', CF, 'state.earnings += SafeCast.toUint64(total);', 'state.earnings += 2 * SafeCast.toUint64(total);'],
  ['I-6 the clamp', METER, 'if (net > allowed)', 'if (false)'],
  ['I-6 foreign rows', CF, 'if (_operatorOf(accountId) != operatorIndex)', 'if (false)'],
  ['I-6 unopened rows leave no trace', CF, 'if (meter.credit() == 0)', 'if (false)'],
  ['I-7 the root is kept', CF, '_roots[operatorIndex][batchNumber] = receiptsRoot;', ''],
  ['I-7 leaves are hashed twice', CF, 'keccak256(bytes.concat(keccak256(abi.encode(receiptHash))))', 'keccak256(abi.encode(receiptHash))'],
];

const words = process.argv.slice(2);
const chosen = mutants.filter(([name]) => !words.length || words.some((word) => name.includes(word)));
const copy = mkdtempSync(join(tmpdir(), 'mutants-'));
for (const path of ['contracts', 'foundry.toml', 'tests/vectors']) cpSync(join(root, path), join(copy, path), { recursive: true, verbatimSymlinks: true });
symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
const PATH = `${join(root, 'node_modules/.bin')}${delimiter}${process.env.PATH}`;
const env = { ...process.env, PATH, FOUNDRY_FUZZ_RUNS: '64', FOUNDRY_INVARIANT_RUNS: '16', FOUNDRY_INVARIANT_SHRINK_RUN_LIMIT: '0' };
const test = () => spawnSync('forge', ['test'], { cwd: copy, encoding: 'utf8', env, maxBuffer: 2 ** 28 });

const survivors = [];
try {
  const clean = test();
  if (clean.status !== 0) throw new Error(`the tests fail without any mutant:\n${clean.stdout.slice(-2000)}${clean.stderr.slice(-2000)}`);
  for (const [name, file, from, to] of chosen) {
    const path = join(copy, file);
    const original = readFileSync(path, 'utf8');
    if (original.split(from).length !== 2) throw new Error(`${name}: its text stands ${original.split(from).length - 1} times in ${file}`);
    writeFileSync(path, original.replace(from, () => to));
    const { status, stdout, stderr } = test();
    const failing = [...new Set([...stdout.matchAll(/^\[FAIL.*\] (\w+)\(/gm), ...stdout.matchAll(/^ (invariant_\w+)\(/gm)].map((m) => m[1]))];
    if (status !== 0 && !failing.length) throw new Error(`${name}: does not compile\n${(stdout + stderr).slice(-1500)}`);
    if (status === 0) survivors.push(name);
    console.log(status === 0 ? `SURVIVED  ${name}` : `noticed   ${name}: ${failing.length} tests, e.g. ${failing.slice(0, 3).join(', ')}`);
    writeFileSync(path, original);
  }
} finally {
  rmSync(copy, { recursive: true, force: true });
}
if (survivors.length) process.exit(1);
console.log(`${chosen.length} mutants, all noticed`);
