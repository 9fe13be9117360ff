// The same vectors as the contract, the program and the Rust side.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { createKeyPairSignerFromPrivateKeyBytes } from '@solana/kit';
import { hexToBytes, stringToBytes, type Hex } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';

import { accountId, digest, domainSeparator, requestHash, sign, verify, type Deployment, type Signable } from '../src/index.js';
import { canonical, outputHash } from '../src/receipt.js';

type File = Record<string, any>;
type Row = Record<string, string> & { chainId?: string; cluster?: string };

/** A vector file. Its numbers go beyond 2^53, so they are read as strings. */
function vectors(name: string): File {
  const text = readFileSync(new URL(`../../../../tests/vectors/${name}.json`, import.meta.url), 'utf8');
  return JSON.parse(text.replaceAll(/: (\d+)(,?)$/gm, ': "$1"$2')) as File;
}

function signables(file: File): [Row, Signable][] {
  const rows = (name: string): Row[] => file[name] as Row[];
  const big = (row: Row, ...names: string[]): Record<string, unknown> => ({
    ...row,
    ...Object.fromEntries(names.map((name) => [name, BigInt(row[name] as string)])),
  });
  const of = (name: string, primaryType: string, ...names: string[]) =>
    rows(name).map((row) => [row, { primaryType, message: big(row, ...names) } as unknown as Signable] as [Row, Signable]);
  return [
    ...of('jobAuthorizations', 'JobAuthorization', 'accountId', 'maxCharge', 'validUntil'),
    ...of('spendCeilings', 'SpendCeiling', 'accountId', 'ceiling'),
    ...of('receipts', 'Receipt', 'accountId', 'batchNumber', 'sequence', 'listAmount', 'discountBps', 'charged', 'issuedAt'),
  ];
}

test('EIP-712 on Base: domains, digests and signatures', async () => {
  const file = vectors('typed_data');
  const at = (row: Row): Deployment => ({ network: `eip155:${row.chainId}`, contract: file['contract'] });
  for (const domain of file['domains'] as Row[]) assert.equal(domainSeparator(at(domain)), domain['separator']);
  const account = privateKeyToAccount(file['signerKey']);
  const all = signables(file);
  assert.ok(all.length > 5);
  for (const [row, signable] of all) {
    assert.equal(digest(at(row), signable), row['digest']);
    assert.equal(await sign(account, at(row), signable), row['signature']);
    assert.equal(await verify(account.address, at(row), signable, row['signature'] as Hex), true);
    assert.equal(await verify(file['contract'], at(row), signable, row['signature'] as Hex), false);
  }
});

test('ed25519 on Solana: domains, digests and signatures', async () => {
  const file = vectors('solana');
  const at = (row: Row): Deployment => ({ network: `solana:${row.cluster}`, contract: file['programId'] });
  for (const domain of file['domains'] as Row[]) {
    if (domain['program'] === file['program']) assert.equal(domainSeparator(at(domain)), domain['separator']);
  }
  const signer = await createKeyPairSignerFromPrivateKeyBytes(hexToBytes(file['signerSeed']));
  assert.equal(signer.address, file['signerBase58']);
  const all = signables(file);
  assert.ok(all.length > 5);
  for (const [row, signable] of all) {
    assert.equal(digest(at(row), signable), row['digest']);
    assert.equal(await sign(signer, at(row), signable), row['signature']);
    assert.equal(await verify(signer.address, at(row), signable, row['signature'] as Hex), true);
    assert.equal(await verify(file['programId'], at(row), signable, row['signature'] as Hex), false);
  }
  await assert.rejects(
    sign(signer, { network: 'eip155:8453', contract: '0x4282f4819be5a6ed7f1c5e5ae128f5093e66fdda' }, (all[0] as [Row, Signable])[1]),
    /a Solana key cannot sign/,
  );
});

test('requests and canonical JSON', () => {
  const file = vectors('request');
  for (const row of file['requests'] as Row[]) {
    assert.equal(requestHash(row['method'] as string, row['path'] as string, stringToBytes(row['body'] as string)), row['hash']);
  }
  for (const row of file['canonical'] as Row[]) {
    assert.equal(canonical(JSON.parse(row['json'] as string)), row['canonical']);
    assert.equal(outputHash(stringToBytes(row['canonical'] as string), undefined), row['hash']);
  }
});

test('futures ids', () => {
  const file = vectors('futures_id');
  for (const row of file['ids'] as Row[]) {
    const operatorIndex = Number(BigInt(row['accountId'] as string) >> 32n);
    assert.equal(accountId(row['futuresId'] as string, row['network'] as string, operatorIndex), BigInt(row['accountId'] as string));
    assert.throws(() => accountId(row['futuresId'] as string, 'eip155:1', operatorIndex), /is an account on/);
  }
  assert.equal(accountId('4294967297', 'eip155:8453'), 4294967297n);
  for (const bad of ['CFE-00000088', 'CFE-0000087', 'CFE-0000008U', '', '-1', '0x1']) {
    assert.throws(() => accountId(bad, 'eip155:8453', 1), /is mistyped|is no account/, bad);
  }
  assert.throws(() => accountId('CFE-00000087', 'eip155:8453'), /say which with operatorIndex/);
});
