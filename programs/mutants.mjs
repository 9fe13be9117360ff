#!/usr/bin/env node
// Takes one check at a time out of the Solana program and expects the tests to fail: a promise whose test does not notice is no promise.
//   node programs/mutants.mjs [word…]      all, or those whose name contains one of the words (about 20 s each)
// Needs the sBPF compiler (scripts/solana/setup.sh). Works in a temporary copy; changes nothing here.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const verb = (name) => `instructions/${name}.rs`;
const ACCOUNT = 'state/account.rs';
const OPENING = verb('shared/opening');
const EXIT = verb('shared/exit');

// Left out, because nothing could notice: checks that the token program makes again (mint, source, authority of a transfer), and overflow
// checks behind which the compiler's own stand; the address of the instructions sysvar, which its reader checks too.
/** [promise and check, file, text as it stands, text of the mutant] */
const mutants = [
  ['I-1 earnings bound withdrawals', verb('withdraw_earnings'), 'operator.earnings.checked_sub(amount)', 'Some(operator.earnings.saturating_sub(amount))'],
  ['I-1 the operator withdraws', verb('withdraw_earnings'), 'require_keys_eq!(operator.authority, accounts.authority.key(), ComputeFuturesError::NotOperator);', ''],
  ['I-1 not into the vault', verb('withdraw_earnings'), 'require!(destination.owner != VAULT_AUTHORITY, ComputeFuturesError::InvalidRecipient);', ''],
  ['I-1 the vault is a constant on deposit', verb('deposit'), '#[account(mut, address = VAULT_TOKEN_ACCOUNT @ ComputeFuturesError::WrongVault)]', '#[account(mut)]'],
  ['I-1 the vault is a constant on top-up', verb('top_up'), '#[account(mut, address = VAULT_TOKEN_ACCOUNT @ ComputeFuturesError::WrongVault)]', '#[account(mut)]'],
  ['I-1 the vault is a constant on sweep', verb('sweep'), '#[account(mut, address = VAULT_TOKEN_ACCOUNT @ ComputeFuturesError::WrongVault)]', '#[account(mut)]'],
  ['I-1 only USDC is credit', verb('deposit'), '#[account(address = USDC @ ComputeFuturesError::WrongMint)]', ''],
  ['I-1 sweep takes the fee out of the credit', verb('sweep'), 'let amount = balance - fee;', 'let amount = balance;'],
  ['I-2 ceiling in the clamp', ACCOUNT, 'self.credit.min(self.ceiling)', 'self.credit'],
  ['I-2 credit in the clamp', ACCOUNT, 'self.credit.min(self.ceiling)', 'self.ceiling'],
  ['I-2 no ceiling by a third-party deposit', verb('deposit'), 'ceiling == 0 || accounts.owner.is_signer', 'true'],
  ['I-2 no ceiling by a third-party top-up', verb('top_up'), 'if account.may_spend(spender.key)', 'if true'],
  ['I-2 raise needs a spender', verb('raise_ceiling'), 'account.may_spend(&signer)', 'true'],
  ['I-2 the signer is a spender', verb('raise_ceiling_with_signature'), 'account.may_spend(&signer)', 'true'],
  ['I-2 the ceiling only rises', ACCOUNT, 'require!(ceiling > self.ceiling, ComputeFuturesError::CeilingNotRaised);', ''],
  ['I-2 only the owner names a delegate', verb('set_delegate'), 'require_keys_eq!(account.owner, accounts.owner.key(), ComputeFuturesError::NotOwner);', ''],
  ['I-2 the signed digest', 'ed25519.rs', 'data[MESSAGE] == digest[..]', 'true'],
  ['I-2 the form of the signature', 'ed25519.rs', 'data.len() == MESSAGE.end && data.starts_with(&HEADER)', 'data.len() >= MESSAGE.end'],
  ['I-2 the length of the signature', 'ed25519.rs', 'data.len() == MESSAGE.end', 'data.len() >= MESSAGE.end'],
  ['I-2 the ed25519 program', 'ed25519.rs', 'require_keys_eq!(instruction.program_id, PROGRAM, ComputeFuturesError::InvalidSignature);', ''],
  ['I-3 the floor', ACCOUNT, 'stated_bps.min(BPS).max(self.floor_bps(batch_number))', 'stated_bps.min(BPS)'],
  ['I-3 the remainder is carried', ACCOUNT, 'self.remainder = rest;', ''],
  ['I-3 grace after a raise', ACCOUNT, 'last_batch + 3', 'last_batch + 2'],
  ['I-3 grace keeps the old floor', ACCOUNT, 'self.floor_bps(last_batch + 1)', 'earned'],
  ['I-3 a clamp drops the fraction', ACCOUNT, 'rest = 0;', ''],
  ['I-3 the account keeps its own tiers', OPENING, 'tiers: operator.tiers,', 'tiers: Default::default(),'],
  ['I-4 only the owner asks', verb('request_refund'), 'require_keys_eq!(account.owner, accounts.owner.key(), ComputeFuturesError::NotOwner);', ''],
  ['I-4 only the owner takes', verb('refund'), 'require_keys_eq!(account.owner, accounts.owner.key(), ComputeFuturesError::NotOwner);', ''],
  ['I-4 the delay', verb('refund'), 'require!(now >= account.refundable_at, ComputeFuturesError::RefundNotDue);', ''],
  ['I-4 the delay is asked for', verb('refund'), 'require!(account.refundable_at != 0, ComputeFuturesError::RefundNotRequested);', ''],
  ['I-4 the delay is not restarted', verb('request_refund'), 'require!(account.refundable_at == 0, ComputeFuturesError::RefundAlreadyRequested);', ''],
  ['I-4 the delay is at most 30 days', verb('set_terms'), 'terms.refund_delay <= MAX_REFUND_DELAY', 'true'],
  ['I-4 refunds go to the owner', EXIT, 'token.owner == *owner && token.mint == USDC', 'token.mint == USDC'],
  ['I-4 closed for good', EXIT, 'loader.close(rent_payer.clone())?;', ''],
  ['I-4 only its own operator closes', verb('close_account'), 'require!(index == operator.index, ComputeFuturesError::NotAccountOperator);', ''],
  ['I-4 the operator closes', verb('close_account'), 'require_keys_eq!(operator.authority, accounts.authority.key(), ComputeFuturesError::NotOperator);', ''],
  ['I-4 only the owner recovers', verb('shared/address'), 'require_keys_eq!(*address, derived, ComputeFuturesError::WrongDepositAddress);', ''],
  ['I-4 recovered to the owner', verb('recover'), 'require_keys_eq!(accounts.destination.owner, owner, ComputeFuturesError::WrongTokenAccount);', ''],
  ['I-4 no deposits in the refund delay', ACCOUNT, 'require!(self.refundable_at == 0, ComputeFuturesError::RefundAlreadyRequested);', ''],
  ['I-4 leftovers of a closed address go to the owner', verb('close_deposit_address'), 'check_owner_token(owner_token, &owner)?;', ''],
  ['rent goes to who paid it', EXIT, 'require_keys_eq!(*rent_payer.key, account.rent_payer, ComputeFuturesError::WrongRentPayer);', ''],
  ['rent of an address goes to who paid it', verb('close_deposit_address'), 'require_keys_eq!(record.rent_payer, accounts.rent_payer.key(), ComputeFuturesError::WrongRentPayer);', ''],
  ['an address in use stays', verb('close_deposit_address'), 'require!(record.account == 0, ComputeFuturesError::DepositAddressInUse);', ''],
  ['an address feeds one account', verb('sweep'), 'require!(account.id == record.account, ComputeFuturesError::WrongDepositAccount);', ''],
  ['an address forgets the account that left', EXIT, 'deposit_address.account = 0;', ''],
  ['the next sequence and no other', OPENING, 'require_keys_eq!(*account.key, address, ComputeFuturesError::WrongAccountAddress);', ''],
  ['I-5 batch numbers', verb('post_debits'), 'require!(batch_number == operator.last_batch + 1, ComputeFuturesError::WrongBatchNumber); // I-5', ''],
  ['I-5 the batch is remembered', 'state/operator.rs', 'self.last_batch += 1;', ''],
  ['I-5 earnings once', verb('post_debits'), 'operator.earnings.checked_add(charged)', 'operator.earnings.checked_add(2 * charged)'],
  ['I-5 the operator posts', verb('post_debits'), 'require_keys_eq!(operator.authority, accounts.authority.key(), ComputeFuturesError::NotOperator);', ''],
  ['I-6 foreign rows', verb('post_debits'), 'if account.id == stated {', 'if true {'],
  ['I-6 rows of other programs', verb('post_debits'), 'if *info.owner == crate::ID\n', 'if true\n'],
  ['I-6 what is no account', verb('post_debits'), '&& data.starts_with(FuturesAccount::DISCRIMINATOR)', ''],
  ['I-7 the root is kept', 'state/operator.rs', 'history::append(&mut self.peaks, self.last_batch, root);', ''],
  ['I-7 the newest roots are kept', 'state/operator.rs', 'self.recent_roots[slot(self.last_batch)] = root;', ''],
  ['I-7 leaves are hashed twice', 'receipts.rs', 'hash(hash(receipt_hash).as_ref()).to_bytes()', 'hash(receipt_hash).to_bytes()'],
  ['I-7 proofs of batches have one length', 'state/history.rs', 'if proof.len() != height {', 'if false {'],
];

const words = process.argv.slice(2);
const chosen = mutants.filter(([name]) => words.length === 0 || words.some((word) => name.includes(word)));
const copy = mkdtempSync(join(tmpdir(), 'mutants-'));
for (const part of ['Cargo.toml', 'Cargo.lock', 'compute-futures', 'idl']) {
  cpSync(join(root, 'programs', part), join(copy, part), { recursive: true, filter: (path) => !/[\\/]target$/.test(path) });
}
const so = join(copy, 'mutant.so');
const run = (command, args, env) => spawnSync(command, args, { cwd: root, encoding: 'utf8', env: { ...process.env, ...env } });
const build = () => run('scripts/solana/build.sh', [join(copy, 'compute-futures'), so], { SBF_TARGET_DIR: join(root, 'programs/target/mutants') });
const tests = () => run('cargo', ['test', '--offline', '--quiet', '--manifest-path', 'programs/compute-futures/tests/Cargo.toml'], {
  CARGO_TARGET_DIR: join(root, 'programs/target'), COMPUTE_FUTURES_PROGRAM: so, PROPTEST_MAX_SHRINK_ITERS: '0', RUST_BACKTRACE: '0',
});

const survivors = [];
try {
  mkdirSync(join(root, 'programs/target'), { recursive: true });
  for (const [name, file, text, changed] of [['nothing changed', 'lib.rs', '', ''], ...chosen]) {
    const path = join(copy, 'compute-futures/src', file);
    const original = readFileSync(path, 'utf8');
    if (text && original.split(text).length < 2) throw new Error(`${name}: ${file} has no ${JSON.stringify(text)}`);
    writeFileSync(path, original.replace(text, changed));
    const built = build();
    if (built.status !== 0) throw new Error(`${name}: the mutant does not compile\n${built.stderr.slice(-2000)}`);
    const passed = tests().status === 0;
    if (passed !== (text === '')) survivors.push(name);
    console.log(`${passed === (text === '') ? 'ok      ' : 'SURVIVED'}  ${name}`);
    writeFileSync(path, original);
  }
} finally {
  rmSync(copy, { recursive: true, force: true });
}
if (survivors.length > 0) {
  console.error(`${survivors.length} of ${chosen.length} mutants survived`);
  process.exit(1);
}
console.log(`all ${chosen.length} mutants were noticed`);
