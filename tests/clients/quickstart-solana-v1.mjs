#!/usr/bin/env node
// The three-call quickstart on Solana as a client of x402 V1 makes it: offers in the body, X-PAYMENT, X-PAYMENT-RESPONSE.
//   RELAYER=http://127.0.0.1:4020 SOLANA_RPC=http://127.0.0.1:8899 KEY=<keypair in base58> node tests/clients/quickstart-solana-v1.mjs
// Prints one JSON object: the three answers and what became of each payment.
import { createKeyPairSignerFromBytes, getBase58Encoder } from '@solana/kit';
import { decodePaymentResponseHeader, wrapFetchWithPaymentFromConfig } from '@x402/fetch';
import { ExactSvmSchemeV1 } from '@x402/svm/v1';

const { RELAYER, SOLANA_RPC, KEY } = process.env;
if (!RELAYER || !KEY) {
  console.error('RELAYER and KEY are not set: give the relayer’s URL and the keypair of a wallet that holds USDC, in base58');
  process.exit(1);
}
const wallet = await createKeyPairSignerFromBytes(getBase58Encoder().encode(KEY));

// A V1 client does not know V2's headers: it sees the body alone, and sends X-PAYMENT alone.
async function fetchV1(request) {
  if (request.headers.has('PAYMENT-SIGNATURE')) throw new Error('this client is to speak V1');
  const response = await fetch(request);
  const headers = new Headers(response.headers);
  for (const name of ['PAYMENT-REQUIRED', 'PAYMENT-RESPONSE']) headers.delete(name);
  return new Response(response.body, { status: response.status, headers });
}

const fetchPay = wrapFetchWithPaymentFromConfig(fetchV1, {
  schemes: [{ network: 'solana', client: new ExactSvmSchemeV1(wallet, { rpcUrl: SOLANA_RPC }), x402Version: 1 }],
  spendControls: { maxAmountPerPayment: '$51' },
});

async function call(path, body) {
  const response = await fetchPay(`${RELAYER}/api/v1/compute-futures/${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(`${path}: HTTP ${response.status} ${JSON.stringify(answer)}`);
  const header = response.headers.get('X-PAYMENT-RESPONSE');
  return { answer, payment: header ? decodePaymentResponseHeader(header) : null };
}

const deposit = await call('deposit', { depositor: wallet.address, amount: '50' });
const futuresId = deposit.answer.computeFuture.id;
const execute = await call('execute', {
  futuresId,
  type: 'text-inference',
  messages: [{ role: 'user', content: 'Summarize this filing: Revenue rose. Costs fell. The board is pleased.' }],
});
const refund = await call('refund', { futuresId, caller: wallet.address });

console.log(JSON.stringify({ wallet: wallet.address, futuresId, deposit, execute, refund }, null, 2));
