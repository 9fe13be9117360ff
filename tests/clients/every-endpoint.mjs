#!/usr/bin/env node
// Every paid endpoint of a relayer, called as an agent would with the stock x402 client.
//   RELAYER=http://127.0.0.1:4020 NETWORK=eip155:8453 KEY=0x… node tests/clients/every-endpoint.mjs
// pays call by call (`exact`), from a deposit to a refund; on Solana KEY is a keypair in base58 and SOLANA_RPC is needed.
// With ACCOUNT, CONTRACT and OPERATOR it pays from that account's credit, with the scheme of clients/typescript (built).
// Prints one JSON object: every call with its answer and what became of its payment, and how many receipts were checked.
import { createKeyPairSignerFromBytes, getBase58Encoder } from '@solana/kit';
import { ExactEvmScheme } from '@x402/evm';
import { decodePaymentResponseHeader, wrapFetchWithPayment, x402Client } from '@x402/fetch';
import { ExactSvmScheme } from '@x402/svm/exact/client';
import { privateKeyToAccount } from 'viem/accounts';

const { RELAYER, NETWORK, KEY, SOLANA_RPC, ACCOUNT, CONTRACT, OPERATOR } = process.env;
const solana = NETWORK.startsWith('solana:');
const wallet = solana ? await createKeyPairSignerFromBytes(getBase58Encoder().encode(KEY)) : privateKeyToAccount(KEY);
// The client's own guard is $1 a payment unless told otherwise; a deposit is more than that.
const client = new x402Client().setSpendControls({ maxAmountPerPayment: '$21' });
let checked = 0;
let send = fetch;
if (ACCOUNT) {
  const { ComputeFuturesScheme } = await import('../../clients/typescript/dist/src/index.js');
  const credit = new ComputeFuturesScheme({
    signer: wallet,
    account: ACCOUNT,
    operatorIndex: 1,
    network: NETWORK,
    contract: CONTRACT,
    operator: OPERATOR,
    onReceipt: () => (checked += 1),
  });
  send = credit.fetch;
  client.register(NETWORK, credit);
} else {
  client.register(NETWORK, solana ? new ExactSvmScheme(wallet, { rpcUrl: SOLANA_RPC }) : new ExactEvmScheme(wallet));
}

const calls = [];

/** One call: `endpoint` as the table names it, `path` when it differs. */
async function call(endpoint, body, path) {
  const [method, name] = endpoint.split(' ');
  const entry = { endpoint };
  const pay = wrapFetchWithPayment((input, init) => {
    const request = new Request(input, init);
    const payment = request.headers.get('PAYMENT-SIGNATURE');
    if (payment) entry.amount = JSON.parse(Buffer.from(payment, 'base64')).accepted.amount;
    return send(request);
  }, client);
  const json = body && !(body instanceof FormData);
  const response = await pay(`${RELAYER}${path ?? name}`, {
    method,
    headers: json ? { 'Content-Type': 'application/json' } : {},
    body: json ? JSON.stringify(body) : body,
  });
  const bytes = Buffer.from(await response.arrayBuffer());
  if (!response.ok) throw new Error(`${endpoint}: HTTP ${response.status} ${bytes}`);
  const type = response.headers.get('content-type') ?? '';
  const header = response.headers.get('PAYMENT-RESPONSE');
  Object.assign(entry, { status: response.status, type, payment: header ? decodePaymentResponseHeader(header) : null });
  if (type.startsWith('application/json')) entry.body = JSON.parse(bytes);
  else if (type.startsWith('text/')) entry.text = String(bytes);
  else entry.base64 = bytes.toString('base64');
  calls.push(entry);
  return entry;
}

/** A job; one that outlives its request is asked for until it ends. */
async function job(endpoint, body, status = 'compute') {
  const entry = await call(endpoint, body);
  if (entry.status !== 202) return entry;
  const { jobId } = entry.body;
  do {
    await new Promise((done) => setTimeout(done, 1000));
    const parameter = status === 'gpu' ? 'id' : 'jobId';
    entry.end = (await call(`GET /api/v1/${status}/status/{${parameter}}`, undefined, `/api/v1/${status}/status/${jobId}`)).body;
  } while (['pending', 'processing'].includes(entry.end.status));
  return entry;
}

const messages = [{ role: 'user', content: 'Revenue rose by a tenth. Costs fell. The year was good.' }];
const wav = Buffer.from('UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=', 'base64');
const audio = `data:audio/wav;base64,${wav.toString('base64')}`;
const kinds = {
  'text-inference': { messages, max_tokens: 32 },
  'image-generation': { prompt: 'a mountain lake' },
  'video-generation': { prompt: 'a paper boat on a stream' },
  'text-to-speech': { input: 'Hello.' },
  'speech-to-text': { audio },
  embeddings: { input: ['one', 'two'] },
  'document-parsing': { document: `data:text/plain;base64,${Buffer.from('Hello, document.').toString('base64')}` },
};
const gpu = { model: 'owner/model', input: { prompt: 'at once' } };

const opened = ACCOUNT ? ACCOUNT : (await call('POST /api/v1/compute-futures/deposit', { depositor: wallet.address, amount: '20' })).body.computeFuture.id;
const form = new FormData();
form.set('model', 'auto');
form.set('file', new Blob([wav], { type: 'audio/wav' }), 'talk.wav');
const execute = 'POST /api/v1/compute-futures/execute';
// All at once: payments need no order.
await Promise.all([
  ...Object.entries(kinds).map(([kind, body]) => job(`POST /api/v1/compute/${kind}`, body)),
  job('POST /api/v1/compute/batch', {
    jobs: [
      { type: 'embeddings', input: ['three'] },
      { type: 'text-inference', model: 'cloud/chat', messages: [{ role: 'user', content: 'REFUSE this' }] },
      { type: 'image-generation', prompt: 'a lake' },
    ],
  }),
  job('POST /api/v1/gpu/run', { model: 'owner/film', input: { prompt: 'a film' } }, 'gpu'),
  job('POST /run', { service: 'llm', input: { prompt: 'Analyze this: all is well.' } }),
  call('POST /v1/chat/completions', { model: 'auto', messages, max_tokens: 32 }),
  call('POST /v1/chat/completions', { model: 'auto', messages, max_tokens: 32, stream: true }),
  call('POST /v1/embeddings', { model: 'auto', input: 'one', encoding_format: 'base64' }),
  call('POST /v1/images/generations', { model: 'auto', prompt: 'a lake', response_format: 'b64_json' }),
  call('POST /v1/audio/speech', { model: 'auto', input: 'Hello.', response_format: 'mp3' }),
  call('POST /v1/audio/transcriptions', form),
  ...Object.entries({ ...kinds, gpu }).map(([kind, body]) => job(execute, { futuresId: opened, type: kind, ...body })),
]);
await call('GET /api/v1/compute-futures/balance', undefined, `/api/v1/compute-futures/balance?futuresId=${opened}`);
await call('GET /api/v1/compute-futures/history', undefined, `/api/v1/compute-futures/history?futuresId=${opened}&limit=50`);
await call('GET /api/v1/compute-futures/pricing');
await call('POST /api/v1/compute-futures/refund', { futuresId: opened });

console.log(JSON.stringify({ wallet: wallet.address, futuresId: opened, checked, calls }));
