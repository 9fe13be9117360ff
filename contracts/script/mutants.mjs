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
const CE = 'contracts/src/ComputeEscrow.sol';
const BUDGET = 'contracts/src/libraries/Budget.sol';
const SESSION = 'contracts/src/libraries/SessionWord.sol';
const HASHES = 'contracts/src/libraries/MarketHashes.sol';
const CUSTODY = 'contracts/src/base/UsdcCustody.sol';
const PR = 'contracts/src/ProviderRegistry.sol';
const CONTENT = 'contracts/src/libraries/ProviderContent.sol';

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
  // The market.
  ['market I-1 what arrived is measured', CUSTODY, 'if (received != expected)', 'if (false && received != expected)'],
  ['market I-1 earnings bound withdrawals', CE, 'if (amount > available)', 'if (false && amount > available)'],
  ['market I-1 a session needs what it reserves', CE, 'if (limit > budget.unreserved())', 'if (false)'],
  ['market I-1 budgets fit', CE, 'if (total > type(uint56).max)', 'if (false)'],
  ['market I-1 reservations count in that', BUDGET, 'uint256(budget.unreserved()) + budget.reserved() + amount', 'uint256(budget.unreserved()) + amount'],
  ['market I-1 guard on create', CE, 'uint56 amount) external nonReentrant returns (uint32 escrowId)', 'uint56 amount) external returns (uint32 escrowId)'],
  ['market I-1 guard on refund', CE, 'external nonReentrant returns (uint56 paid) {\n        EscrowRecord storage record = _requireCreator', 'external returns (uint56 paid) {\n        EscrowRecord storage record = _requireCreator'],
  ['market I-1 guard on withdraw', CE, 'address to, uint64 amount) external nonReentrant', 'address to, uint64 amount) external'],
  ['market I-4 only the creator refunds', CE, 'EscrowRecord storage record = _requireCreator(escrowId);\n        Budget budget', 'EscrowRecord storage record = _escrows[escrowId];\n        Budget budget'],
  ['market I-4 expiry', CE, 'if (block.timestamp <= budget.expiry()) revert ComputeEscrow_NotExpired', 'if (false) revert ComputeEscrow_NotExpired'],
  ['market I-4 emptied once', CE, 'if (budget.closed()) revert', 'if (false) revert'],
  ['market I-4 nothing lapses into an emptied escrow', CE, 'if (!word.isOpen() || budget.closed())', 'if (!word.isOpen())'],
  ['market I-4 emptied means empty', BUDGET, '& ~U112 | CLOSED', '| CLOSED'],
  ['market I-4 no deadline after the expiry', CE, 'if (latest > budget.expiry()) latest = budget.expiry();', ''],
  ['market I-4 no session beyond 30 days', CE, 'MAX_SESSION = 30 days', 'MAX_SESSION = 31 days'],
  ['market I-4 a lapse waits for the deadline', CE, 'if (block.timestamp <= word.deadline())', 'if (block.timestamp < word.deadline())'],
  ['market I-4 only the creator recovers', CE, 'if (msg.sender != terms.creator && block.timestamp <= terms.expiry)', 'if (false)'],
  ['market I-4 open to all needs a meter', CE, 'if (openToAll && meter == address(0))', 'if (false)'],
  ['market I-5 a session closes once', CE, 'if (!word.isOpen()) return Rejection.NotOpen; // I-5', ''],
  ['market I-5 a closed session keeps its state', SESSION, 'uint256(receiptsRoot_) & ~STATE | uint256(IComputeEscrow.SessionState.Closed)', 'uint256(receiptsRoot_)'],
  ['market I-5 a signed opening is used', CE, 'record.nonce = nonce + 1; // I-5', ''],
  ['market I-5 a nonce survives removal', CE, 'record.allowed = false;', 'delete _agents[escrowId][agent];'],
  ['market I-6 a bad row is skipped', CE, 'else emit SessionRejected(closes[i].sessionId, msg.sender, rejection); // I-6', 'else revert ComputeEscrow_SessionNotOpen(closes[i].sessionId);'],
  ['market I-6 a lapse that is not due is skipped', CE, 'else emit SessionRejected(sessionIds[i], msg.sender, rejection); // I-6', 'else revert ComputeEscrow_SessionNotOpen(sessionIds[i]);'],
  ['market I-7 the root is kept', SESSION, 'uint256(word.receiptsRoot()) == uint256(root) & ~STATE', 'uint256(root) != 0'],
  ['market I-7 leaves are hashed twice', CE, 'keccak256(bytes.concat(keccak256(abi.encode(receiptHash))))', 'keccak256(abi.encode(receiptHash))'],
  ['market I-10 only agents open', CE, 'if (!record.openToAll && !_agents[escrowId][agent].allowed)', 'if (false)'],
  ['market I-10 the agent signed', CE, 'if (!SignatureChecker.isValidSignatureNowCalldata(agent, digest, signature))', 'if (false)'],
  ['market I-10 the nonce is signed', HASHES, '                nonce,\n', '                uint256(0),\n'],
  ['market I-10 the escrow\'s session limit', CE, 'if (limit == 0 || limit > budget.sessionLimit())', 'if (limit == 0)'],
  ['market I-10 the escrow\'s meter', CE, 'if (record.meterIndex != 0 && record.meterIndex != meterIndex)', 'if (false)'],
  ['market I-10 the meter signed', CE, 'if (signer != _meters[word.meterIndex()])', 'if (false)'],
  ['market I-10 the provider is signed', HASHES, 'mstore(add(at, 0x40), providerId)', 'mstore(add(at, 0x40), 1)'],
  ['market I-10 cut at the limit', CE, 'if (cost > limit) (uncovered, cost)', 'if (false) (uncovered, cost)'],
  ['market I-10 not after the deadline', CE, 'if (block.timestamp > word.deadline()) return', 'if (false) return'],
  ['market I-10 only its owner withdraws', CE, 'if (msg.sender != REGISTRY.providerOwner(providerId))', 'if (false)'],
  ['market I-11 the price agreed to', CE, 'if (contentHash == bytes32(0) || contentHash != request.contentHash)', 'if (contentHash == bytes32(0))'],
  ['market I-11 retired is retired', CE, 'if (contentHash == bytes32(0) || contentHash != request.contentHash)', 'if (contentHash != request.contentHash)'],
  ['market I-11 only the owner publishes', PR, 'if (record.owner != msg.sender)', 'if (false)'],
  ['market I-11 retired is for good', PR, 'if (record.retired)', 'if (false)'],
  ['market I-11 one price a model', CONTENT, 'if (names[j] == name)', 'if (false)'],
];

const words = process.argv.slice(2);
const chosen = mutants.filter(([name]) => !words.length || words.some((word) => name.includes(word)));
const copy = mkdtempSync(join(tmpdir(), 'mutants-'));
for (const path of ['contracts', 'foundry.toml', 'tests/vectors']) cpSync(join(root, path), join(copy, path), { recursive: true, verbatimSymlinks: true });
symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
const PATH = `${join(root, 'node_modules/.bin')}${delimiter}${process.env.PATH}`;
const env = { ...process.env, PATH, FOUNDRY_FUZZ_RUNS: '64', FOUNDRY_INVARIANT_RUNS: '16', FOUNDRY_INVARIANT_SHRINK_RUN_LIMIT: '0' };
const forge = (...args) => spawnSync('forge', args, { cwd: copy, encoding: 'utf8', env, maxBuffer: 2 ** 28 });
/** Those of the market need no other tests; a filtered run builds nothing that it does not import. */
const test = (name = '') => {
  if (!name.startsWith('market')) return forge('test');
  const built = forge('build');
  return built.status === 0 ? forge('test', '--match-path', 'contracts/test/market/**') : built;
};

const survivors = [];
try {
  const clean = test(chosen.every(([name]) => name.startsWith('market')) ? 'market' : '');
  if (clean.status !== 0) throw new Error(`the tests fail without any mutant:\n${clean.stdout.slice(-2000)}${clean.stderr.slice(-2000)}`);
  for (const [name, file, from, to] of chosen) {
    const path = join(copy, file);
    const original = readFileSync(path, 'utf8');
    if (original.split(from).length !== 2) throw new Error(`${name}: its text stands ${original.split(from).length - 1} times in ${file}`);
    writeFileSync(path, original.replace(from, () => to));
    const { status, stdout, stderr } = test(name);
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
