// Inferences on a session, before a relayer that meters and lies.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { createKeyPairSignerFromPrivateKeyBytes } from '@solana/kit';
import { concat, keccak256, pad, stringToHex, type Hex } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';

import { digest, requestHash, runInference, sign, type SessionOptions, type SessionReceipt, type Signer } from '../src/index.js';
import { canonical } from '../src/receipt.js';

const key = (byte: string): Hex => `0x${byte.repeat(32)}`;
const EVM = { network: 'eip155:8453', contract: `0x${'ce'.repeat(20)}` };

/** The same digests as in Rust (clients/rust/src/session.rs). */
test('typed data of sessions', () => {
  const call = { escrowId: 1, sessionId: 4294967298n, agent: key('03'), requestHash: key('04'), maxCost: 5n, nonce: key('06'), validBefore: 7n };
  assert.equal(digest(EVM, { primaryType: 'SessionCall', message: call }), '0x3102daa135302a14a2f64095a398a04ce26fa83a640aecdd95156425c587720c');
  const receipt: SessionReceipt = {
    sessionId: 4294967298n, sequence: 1, executionId: key('01'), modelHash: key('02'), requestHash: key('03'), outputHash: key('04'),
    inputTokens: 5, outputTokens: 6, cost: 7n, latencyMs: 8, issuedAt: 9n,
  };
  assert.equal(digest(EVM, { primaryType: 'SessionReceipt', message: receipt }), '0x457f3eb7fdb88ee2dfa31a0b58ba76ee166a2228c21c435c7d9fcad9d6000c0d');
});

type Change = (receipt: SessionReceipt, answer: Record<string, any>, entry: Record<string, any>) => void;

/** A relayer that meters as `meter`; `change` comes before the receipt is signed, except for what it does to the answer's text. */
function relayer(options: SessionOptions, meter: Signer, change: Change, seen: Record<string, any>[] = []): typeof fetch {
  return (async (url: string, init: RequestInit) => {
    const { 'payment-signature': payment } = init.headers as Record<string, string>;
    const entry: Record<string, any> = {
      scheme: 'compute-escrow', network: options.network, amount: '400', payTo: options.contract, extra: { meter: options.meter },
    };
    const body = init.body as Uint8Array;
    const asked = JSON.parse(new TextDecoder().decode(body)) as { model: string };
    const answer: Record<string, any> = {
      model: asked.model, choices: [{ index: 0, message: { role: 'assistant', content: 'Yes.' }, finishReason: 'stop' }],
      usage: { promptTokens: 10, completionTokens: 20, totalTokens: 30 },
    };
    const receipt = { sessionId: options.sessionId ?? 4294967299n, sequence: 1, inputTokens: 10, outputTokens: 20, cost: 400n, latencyMs: 1, issuedAt: 2n } as SessionReceipt;
    if (!payment) {
      change(receipt, answer, entry);
      const offer = Buffer.from(JSON.stringify({ x402Version: 2, accepts: [{ scheme: 'exact' }, entry] })).toString('base64');
      return new Response('{}', { status: 402, headers: { 'payment-required': offer } });
    }
    const { authorization } = (JSON.parse(Buffer.from(payment, 'base64').toString()) as { payload: Record<string, any> }).payload;
    seen.push(authorization);
    if (seen.length === 1) return new Response('{}', { status: 503 });
    const agent = options.network.startsWith('eip155') ? pad(authorization.agent as Hex) : AGENT_WORD;
    answer['id'] = keccak256(concat([agent, authorization.nonce]));
    receipt.executionId = answer['id'];
    receipt.modelHash = keccak256(stringToHex(asked.model));
    receipt.requestHash = requestHash('POST', url, body);
    const { id, model, choices, usage } = answer;
    receipt.outputHash = keccak256(stringToHex(canonical({ id, model, choices, usage })));
    change(receipt, answer, entry);
    answer['receiptSignature'] = await sign(meter, options, { primaryType: 'SessionReceipt', message: receipt });
    answer['receipt'] = { ...receipt, sessionId: String(receipt.sessionId), cost: String(receipt.cost), issuedAt: String(receipt.issuedAt) };
    return new Response(JSON.stringify(answer));
  }) as unknown as typeof fetch;
}

let AGENT_WORD: Hex;
const ask = (options: SessionOptions) => runInference(options, 'http://relayer/', { model: 'm', messages: [{ role: 'user', content: 'Hello.' }] });

test('an inference is ordered, carried out once, and its receipt checked, on both chains', async () => {
  const [agent, meter] = [privateKeyToAccount(key('01')), privateKeyToAccount(key('04'))];
  const [solana, solanaMeter] = await Promise.all(
    ['01', '04'].map((byte) => createKeyPairSignerFromPrivateKeyBytes(Buffer.from(byte.repeat(32), 'hex'), true)),
  ) as [Awaited<ReturnType<typeof createKeyPairSignerFromPrivateKeyBytes>>, Awaited<ReturnType<typeof createKeyPairSignerFromPrivateKeyBytes>>];
  AGENT_WORD = `0x${Buffer.from(await crypto.subtle.exportKey('raw', solana.keyPair.publicKey)).toString('hex')}`;
  const network = 'solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp';
  for (const [options, by] of [
    [{ ...EVM, signer: agent, escrowId: 1, sessionId: 4294967298n, meter: meter.address }, meter],
    [{ ...EVM, signer: agent, escrowId: 1, meter: meter.address, maxCost: 500n }, meter],
    [{ network, contract: solana.address, signer: solana, escrowId: 1, sessionId: 4294967298n, meter: solanaMeter.address }, solanaMeter],
  ] as [SessionOptions, Signer][]) {
    const seen: Record<string, any>[] = [];
    const answer = await ask({ ...options, fetch: relayer(options, by, () => {}, seen) });
    assert.equal(answer.choices[0]?.message.content, 'Yes.');
    assert.equal(seen.length, 2);
    assert.deepEqual(seen[0], seen[1], 'the same order goes with every attempt');
    assert.equal(seen[0]?.['maxCost'], String(options.maxCost ?? 400n));
    assert.equal(seen[0]?.['sessionId'], options.sessionId?.toString() ?? null);
  }
});

test('what is not as it should be is not believed, or not signed', async () => {
  const [agent, meter] = [privateKeyToAccount(key('01')), privateKeyToAccount(key('04'))];
  const options: SessionOptions = { ...EVM, signer: agent, escrowId: 1, sessionId: 4294967298n, meter: meter.address };
  const refused = (change: Change, by: Signer = meter) => assert.rejects(ask({ ...options, fetch: relayer(options, by, change) }), { name: 'ReceiptError' });
  await refused((receipt) => (receipt.cost = 401n));
  await refused((receipt) => (receipt.sessionId = 4294967299n));
  await refused((receipt) => (receipt.sessionId = 8589934594n));
  await refused((receipt) => (receipt.executionId = key('00')));
  await refused((receipt) => (receipt.requestHash = key('00')));
  await refused((receipt) => (receipt.modelHash = key('00')));
  await refused((receipt) => (receipt.outputTokens = 21));
  await refused((_, answer) => (answer['choices'] = []));
  await refused(() => {}, agent);
  for (const change of [
    (_: unknown, __: unknown, entry: Record<string, any>) => (entry['payTo'] = agent.address),
    (_: unknown, __: unknown, entry: Record<string, any>) => (entry['extra'] = { meter: agent.address }),
    (_: unknown, __: unknown, entry: Record<string, any>) => (entry['network'] = 'eip155:1'),
  ]) {
    const seen: Record<string, any>[] = [];
    await assert.rejects(ask({ ...options, fetch: relayer(options, meter, change, seen) }), /nothing was signed/);
    assert.equal(seen.length, 0);
  }
});
