// What the client refuses to sign and to believe, against a relayer that lies.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { createKeyPairSignerFromPrivateKeyBytes } from '@solana/kit';
import { wrapFetchWithPayment, x402Client } from '@x402/fetch';
import { hexToBytes, keccak256, stringToBytes, type Hex } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';

import { ComputeFuturesScheme, digest, readReceipt, requestHash, sign, verify, type CreditOptions, type Signer } from '../src/index.js';

const EVM = { network: 'eip155:8453', contract: '0x4282f4819be5a6ed7f1c5e5ae128f5093e66fdda' };
const SOLANA = { network: 'solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp', contract: '5jnhrJfXCuMBJvXDa8HKtCY4wMpjVXRXvoVHaPzzQq3g' };
const ACCOUNT = 4294967297n;
const URL_ = 'http://relayer.test/api/v1/compute/embeddings?a=b';
const BODY = '{"input":"a"}';
const owner = privateKeyToAccount(keccak256('0x01'));
const operator = privateKeyToAccount(keccak256('0x02'));
const base64 = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64');

/** How this relayer misbehaves. */
interface Lies {
  offer?: Record<string, unknown>;
  extra?: Record<string, unknown>;
  receipt?: Record<string, string>;
  answer?: string;
  ceilingNeeded?: string;
  by?: Signer;
}

/** A relayer as a function: offers, takes signatures, answers with receipts. `seen` holds the payments it was sent. */
function relayer(deployment: { network: string; contract: string }, honest: Signer, lies: Lies = {}) {
  const seen: Record<string, any>[] = [];
  const fetch = async (input: RequestInfo | URL): Promise<Response> => {
    const request = new Request(input);
    const body = new Uint8Array(await request.arrayBuffer());
    const hash = requestHash(request.method, request.url, body);
    const header = request.headers.get('PAYMENT-SIGNATURE');
    if (!header) {
      const extra = { name: 'ComputeFutures', version: '1', operatorIndex: 1, operator: operator.address, requestHash: hash, ...lies.extra };
      const entry = { scheme: 'compute-futures', network: deployment.network, amount: '30000', asset: 'USDC', payTo: deployment.contract };
      const accepts = [{ ...entry, maxTimeoutSeconds: 300, extra, ...lies.offer }];
      const required = { x402Version: 2, error: 'pay', resource: { url: request.url }, accepts };
      return new Response('{}', { status: 402, headers: { 'PAYMENT-REQUIRED': base64(required) } });
    }
    const payment = JSON.parse(Buffer.from(header, 'base64').toString());
    seen.push(payment.payload);
    if (lies.ceilingNeeded && !(BigInt(payment.payload.spendCeiling?.ceiling ?? 0) >= BigInt(lies.ceilingNeeded))) {
      const refusal = { error: 'too low', code: 'ceiling_too_low', hint: 'sign', extra: { ceilingNeeded: lies.ceilingNeeded } };
      return new Response(JSON.stringify(refusal), { status: 402, headers: { 'PAYMENT-REQUIRED': base64({ x402Version: 2, accepts: [] }) } });
    }
    const { authorization } = payment.payload;
    const message = { ...authorization, accountId: BigInt(authorization.accountId), maxCharge: BigInt(authorization.maxCharge) };
    message.validUntil = BigInt(authorization.validUntil);
    const answer = '{"data":[],"é":1}';
    const fields = {
      accountId: String(ACCOUNT),
      batchNumber: '7',
      sequence: '1',
      jobId: hash,
      authorizationHash: digest(deployment, { primaryType: 'JobAuthorization', message }),
      requestHash: hash,
      outputHash: keccak256(stringToBytes(answer)),
      listAmount: '30000',
      discountBps: '1000',
      charged: '27000',
      issuedAt: '1790000000',
      ...lies.receipt,
    };
    const receipt = { primaryType: 'Receipt', message: readReceipt(fields as never) } as const;
    const receiptHash = digest(deployment, receipt);
    const signature = await sign(lies.by ?? honest, deployment, receipt);
    const report = { success: true, transaction: '', network: deployment.network, payer: '', extra: { receipt: { ...fields, receiptHash, signature } } };
    const headers = { 'content-type': 'application/json', 'PAYMENT-RESPONSE': base64(report) };
    return new Response(lies.answer ?? answer, { headers });
  };
  return { fetch, seen };
}

async function pay(lies: Lies = {}, options: Partial<CreditOptions> = {}) {
  const { fetch, seen } = relayer(EVM, operator, lies);
  const charged: bigint[] = [];
  const credit = new ComputeFuturesScheme({
    ...EVM,
    signer: owner,
    account: ACCOUNT,
    operator: operator.address,
    onReceipt: (receipt) => charged.push(receipt.charged),
    fetch,
    ...options,
  });
  const fetchPay = wrapFetchWithPayment(credit.fetch, new x402Client().register('eip155:*', credit));
  const response = await fetchPay(URL_, { method: 'POST', body: BODY });
  return { response, seen, charged };
}

test('pays with one signature, and checks the receipt', async () => {
  const { response, seen, charged } = await pay();
  assert.equal(response.status, 200);
  assert.deepEqual(charged, [27000n]);
  assert.equal(seen.length, 1);
  const { authorization, signature, spendCeiling } = seen[0] as Record<string, any>;
  assert.equal(spendCeiling, undefined);
  assert.equal(authorization.requestHash, requestHash('POST', URL_, stringToBytes(BODY)));
  assert.equal(authorization.maxCharge, '30000');
  const ahead = Number(authorization.validUntil) - Date.now() / 1000;
  assert.ok(ahead > 600 && ahead < 24 * 3600, `valid for ${ahead} s`);
  const message = { ...authorization, accountId: ACCOUNT, maxCharge: 30000n, validUntil: BigInt(authorization.validUntil) };
  assert.ok(await verify(owner.address, EVM, { primaryType: 'JobAuthorization', message }, signature));
  assert.equal(((await pay({}, { maxCharge: 28000n })).seen[0] as any).authorization.maxCharge, '28000');
  const nonces = new Set([authorization.nonce, ((await pay()).seen[0] as any).authorization.nonce]);
  assert.equal(nonces.size, 2, 'every request has a nonce of its own');
});

test('pays on Solana with an ed25519 key', async () => {
  const seed = (text: Hex): Uint8Array => hexToBytes(keccak256(text));
  const [signer, authority] = await Promise.all([
    createKeyPairSignerFromPrivateKeyBytes(seed('0x03')),
    createKeyPairSignerFromPrivateKeyBytes(seed('0x04')),
  ]);
  const { fetch, seen } = relayer(SOLANA, authority);
  let charged = 0n;
  const onReceipt = (receipt: { charged: bigint }): void => void (charged = receipt.charged);
  const credit = new ComputeFuturesScheme({ ...SOLANA, signer, account: ACCOUNT, operator: authority.address, fetch, onReceipt });
  const fetchPay = wrapFetchWithPayment(credit.fetch, new x402Client().register('solana:*', credit));
  assert.equal((await fetchPay(URL_, { method: 'POST', body: BODY })).status, 200);
  assert.equal(charged, 27000n);
  const { authorization, signature } = seen[0] as Record<string, any>;
  const message = { ...authorization, accountId: ACCOUNT, maxCharge: 30000n, validUntil: BigInt(authorization.validUntil) };
  assert.equal(signature.length, 2 + 128);
  assert.ok(await verify(signer.address, SOLANA, { primaryType: 'JobAuthorization', message }, signature));
});

test('signs nothing that was not asked for or is not trusted', async () => {
  const elsewhere = '0x54f0d3a4156e9d3d05095e5a28e71a439787661e';
  for (const [lies, why] of [
    [{ offer: { payTo: elsewhere } }, /the offer is for contract 0x54f0/],
    [{ extra: { operatorIndex: 2 } }, /works for operator 2/],
    [{ extra: { requestHash: keccak256('0x05') } }, /a request that was not sent/],
    [{ offer: { network: 'eip155:1' } }, /asset|the offer is for eip155:1/i],
    [{ offer: { amount: '1000001' } }, /spendControls|cap/],
  ] as [Lies, RegExp][]) {
    await assert.rejects(pay(lies), why);
  }
});

test('believes no receipt that does not hold', async () => {
  for (const [lies, why] of [
    [{ by: owner }, /not signed by the operator/],
    [{ answer: '{"data":[]}' }, /another output/],
    [{ receipt: { charged: '30001' } }, /above the 30000/],
    [{ receipt: { requestHash: keccak256('0x06') } }, /another request/],
    [{ receipt: { authorizationHash: keccak256('0x06') } }, /another authorisation/],
    [{ receipt: { accountId: '4294967298' } }, /charges account 4294967298/],
  ] as [Lies, RegExp][]) {
    await assert.rejects(pay(lies), why);
  }
});

test('raises the ceiling only as far as it was told to', async () => {
  const needed = { ceilingNeeded: '50000000' };
  for (const raiseCeilingTo of [undefined, 49_999_999n]) {
    const { response, seen } = await pay(needed, raiseCeilingTo === undefined ? {} : { raiseCeilingTo });
    assert.equal(response.status, 402);
    assert.deepEqual(seen.map((payload) => payload['spendCeiling']), [undefined]);
  }
  const { response, seen, charged } = await pay(needed, { raiseCeilingTo: 60_000_000n });
  assert.equal(response.status, 200);
  assert.deepEqual(charged, [27000n]);
  assert.equal(seen.length, 2);
  const [first, second] = seen as [Record<string, any>, Record<string, any>];
  assert.deepEqual(first['authorization'], second['authorization'], 'the same nonce: it can only be paid once');
  const { ceiling, signature } = second['spendCeiling'];
  assert.equal(ceiling, '60000000');
  const message = { accountId: ACCOUNT, ceiling: 60_000_000n };
  assert.ok(await verify(owner.address, EVM, { primaryType: 'SpendCeiling', message }, signature));
});
