// Against a running relayer: RELAYER, KEY (owner or delegate), ACCOUNT, CONTRACT, OPERATOR, and NETWORK where it is not Base.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { createKeyPairSignerFromBytes, getBase58Encoder } from '@solana/kit';
import { wrapFetchWithPayment, x402Client } from '@x402/fetch';
import type { Hex } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';

import { ComputeFuturesScheme, type Signer } from '../src/index.js';

function env(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: this test needs RELAYER, KEY, ACCOUNT, CONTRACT and OPERATOR of a running relayer`);
  return value;
}

const relayer = env('RELAYER');
const network = (process.env['NETWORK'] ?? 'eip155:8453') as `${string}:${string}`;
const signer: Signer = network.startsWith('solana:')
  ? await createKeyPairSignerFromBytes(getBase58Encoder().encode(env('KEY')))
  : privateKeyToAccount(env('KEY') as Hex);
const charged: bigint[] = [];
const credit = new ComputeFuturesScheme({
  signer,
  account: env('ACCOUNT'),
  operatorIndex: 1,
  network,
  contract: env('CONTRACT'),
  operator: env('OPERATOR'),
  onReceipt: (receipt) => charged.push(receipt.charged),
});
const fetchPay = wrapFetchWithPayment(credit.fetch, new x402Client().register(network, credit));
const messages = [{ role: 'user', content: 'Revenue rose by a tenth. Costs fell. The year was good.' }];

async function post(path: string, body: unknown): Promise<Response> {
  const response = await fetchPay(`${relayer}${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${path}: HTTP ${response.status} ${await response.text()}`);
  return response;
}

test('jobs, reads and streams are paid from credit, each with a receipt that holds', async () => {
  const job = (await (await post('/api/v1/compute/text-inference', { messages })).json()) as any;
  assert.equal(typeof job.choices[0].message.content, 'string');
  const named = (await (await post('/api/v1/compute-futures/execute', { futuresId: env('ACCOUNT'), type: 'embeddings', input: ['a'] })).json()) as any;
  assert.ok(named.compute.data[0].embedding.length > 10);
  const balance = (await (await fetchPay(`${relayer}/api/v1/compute-futures/balance?futuresId=${env('ACCOUNT')}`)).json()) as any;
  assert.ok(JSON.stringify(balance).includes('MicroUsdc'));
  assert.equal(charged.length, 3);
  const stream = await post('/v1/chat/completions', { model: 'auto', messages, stream: true });
  assert.match(stream.headers.get('content-type') ?? '', /^text\/event-stream/);
  const text = await stream.text();
  assert.match(text, /data: \[DONE\]\n\n$/);
  assert.equal(charged.length, 4);
  assert.ok(charged.every((amount) => amount > 0n));
});

test('many at once need no order', async () => {
  const before = charged.length;
  const answers = await Promise.all(Array.from({ length: 8 }, (_, i) => post('/api/v1/compute/embeddings', { input: [`text ${i}`] })));
  assert.ok(answers.every((answer) => answer.ok));
  assert.equal(charged.length, before + 8);
});
