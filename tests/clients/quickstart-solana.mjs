#!/usr/bin/env node
// The three-call quickstart on Solana with the stock x402 client: deposit, execute, refund. Only base URL, wallet and RPC are ours.
//   RELAYER=http://127.0.0.1:4020 SOLANA_RPC=http://127.0.0.1:8899 KEY=<keypair in base58> node tests/clients/quickstart-solana.mjs
// Prints one JSON object: the three answers and what became of each payment.
import { createKeyPairSignerFromBytes, getBase58Encoder } from '@solana/kit';
import { decodePaymentResponseHeader, wrapFetchWithPaymentFromConfig } from '@x402/fetch';
import { ExactSvmScheme } from '@x402/svm/exact/client';

const BASE = process.env.RELAYER ?? 'http://127.0.0.1:4020';
const amount = process.env.AMOUNT ?? '50';
if (!process.env.KEY) {
  console.error('KEY is not set: give the keypair of a wallet that holds USDC, in base58 (on a devnet: one of solana.fundedKeys in target/devnet.json)');
  process.exit(1);
}
const wallet = await createKeyPairSignerFromBytes(getBase58Encoder().encode(process.env.KEY));
const fetchPay = wrapFetchWithPaymentFromConfig(fetch, {
  schemes: [{ network: 'solana:*', client: new ExactSvmScheme(wallet, { rpcUrl: process.env.SOLANA_RPC }) }],
  // The client's own guard is $1 a payment unless told otherwise; a deposit is more than that.
  spendControls: { maxAmountPerPayment: `$${Number(amount) + 1}` },
});

async function call(path, body) {
  const response = await fetchPay(`${BASE}/api/v1/compute-futures/${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(`${path}: HTTP ${response.status} ${JSON.stringify(answer)}`);
  const header = response.headers.get('PAYMENT-RESPONSE');
  return { answer, payment: header ? decodePaymentResponseHeader(header) : null };
}

const filing =
  'The company prepaid for compute in the second quarter. Prepaid compute costs ten percent less than compute bought call by call. ' +
  'The balance is drawn down job by job, and each job has a signed receipt. At the end of the quarter the unused balance was refunded in full.';

// 1. Open a $50 account: the 10% tier.
const deposit = await call('deposit', { depositor: wallet.address, amount });
const futuresId = deposit.answer.computeFuture.id;
// 2. Run a job against the balance.
const execute = await call('execute', {
  futuresId,
  type: 'text-inference',
  messages: [{ role: 'user', content: `Summarize this filing: ${filing}` }],
});
// 3. Refund what is left.
const refund = await call('refund', { futuresId, caller: wallet.address });

console.log(JSON.stringify({ wallet: wallet.address, futuresId, deposit, execute, refund }, null, 2));
