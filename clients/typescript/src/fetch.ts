// What stands between `wrapFetchWithPayment` and the network: it sees each request before it is offered and each answer after it is paid.
import { keccak256, stringToHex, type Hex } from 'viem';

import { canonical, checkReceipt, outputHash, ReceiptError, type SignedReceipt } from './receipt.js';
import type { ComputeFuturesScheme, CreditPayload } from './scheme.js';
import { passing } from './stream.js';
import { requestHash, type JobAuthorization } from './typed-data.js';

/** As the global `fetch`. */
export type Fetch = (input: RequestInfo | URL, init?: RequestInit) => Promise<Response>;

const PAYMENT = 'PAYMENT-SIGNATURE';
const REPORT = 'PAYMENT-RESPONSE';
/** The one call whose receipt covers an order, not its answer. */
const REFUND = '/api/v1/compute-futures/refund';

const decode = <T>(header: string): T => JSON.parse(Buffer.from(header, 'base64').toString()) as T;
const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64');

interface Payment {
  payload: CreditPayload;
  accepted: { scheme: string };
}

/** Sends with `fetch` what `scheme` pays for. Other schemes' payments pass through. */
export function payingFetch(scheme: ComputeFuturesScheme, fetch: Fetch): Fetch {
  return async (input, init) => {
    const request = new Request(input, init);
    const body = new Uint8Array(await request.clone().arrayBuffer());
    const hash = requestHash(request.method, request.url, body);
    scheme.remember(hash);
    const header = request.headers.get(PAYMENT);
    const payment = header ? decode<Payment>(header) : undefined;
    if (payment?.accepted?.scheme !== scheme.scheme) return fetch(request);
    const again = request.clone();
    let response = await fetch(request);
    const ceiling = await ceilingFor(scheme, response);
    if (ceiling) {
      // Same nonce: whatever became of the first attempt, this is paid once.
      payment.payload.spendCeiling = ceiling;
      again.headers.set(PAYMENT, encode(payment));
      response = await fetch(again);
    }
    return response.ok ? checked(scheme, request.url, payment.payload, response) : response;
  };
}

async function ceilingFor(scheme: ComputeFuturesScheme, response: Response): Promise<CreditPayload['spendCeiling']> {
  if (response.status !== 402) return undefined;
  const refusal = (await response.clone().json().catch(() => ({}))) as { code?: string; error?: { code?: string }; extra?: { ceilingNeeded?: string } };
  // The relayer's own form, or OpenAI's.
  if ((refusal.code ?? refusal.error?.code) !== 'ceiling_too_low' || !refusal.extra?.ceilingNeeded) return undefined;
  return scheme.signCeiling(BigInt(refusal.extra.ceilingNeeded));
}

/** The authorisation as it was signed. */
function authorizationOf({ authorization }: CreditPayload): JobAuthorization {
  const { accountId, maxCharge, validUntil, ...hashes } = authorization;
  return { ...hashes, accountId: BigInt(accountId), maxCharge: BigInt(maxCharge), validUntil: BigInt(validUntil) };
}

/** The answer, once its receipt holds; of a stream, while it passes. */
async function checked(scheme: ComputeFuturesScheme, url: string, payload: CreditPayload, response: Response): Promise<Response> {
  const { options } = scheme;
  const believe = async (signed: SignedReceipt, output: Hex): Promise<void> => {
    const receipt = await checkReceipt(signed, options, options.operator, authorizationOf(payload), output);
    options.onReceipt?.(receipt, signed);
  };
  const type = response.headers.get('content-type') ?? '';
  if (type.startsWith('text/event-stream')) return passing(response, believe);
  const bytes = new Uint8Array(await response.clone().arrayBuffer());
  const body = type.includes('json') ? (JSON.parse(Buffer.from(bytes).toString()) as Record<string, unknown>) : undefined;
  const report = response.headers.get(REPORT);
  const extra = report ? decode<{ extra?: { receipt?: SignedReceipt; answer?: string } }>(report).extra : undefined;
  // A job that is looked up later has its own receipt in the body, and the one of the look-up in the header.
  const inBody = body && 'compute' in body ? (body['receipt'] as SignedReceipt | undefined) : undefined;
  const signed = inBody ?? extra?.receipt;
  // A job that is still on its way is charged when it ends.
  if (!signed && response.status === 202) return response;
  if (!signed) throw new ReceiptError('the answer holds no receipt');
  const output = new URL(url).pathname === REFUND ? refundOrder(scheme.accountId, body) : attested(bytes, body, extra?.answer);
  await believe(signed, output);
  return response;
}

/** The body, or an answer in the header that names the body by its hash: audio, or plain text. */
function attested(bytes: Uint8Array, body: Record<string, unknown> | undefined, answer: string | undefined): Hex {
  if (answer === undefined) return outputHash(bytes, body);
  const { audio, text } = JSON.parse(answer) as { audio?: { hash?: string }; text?: { hash?: string } };
  if (![audio?.hash, text?.hash].includes(keccak256(bytes))) {
    throw new ReceiptError('the receipt covers another output than the one received');
  }
  return keccak256(stringToHex(answer));
}

/** A refund is charged before the account can close: its receipt covers the order to refund this account. */
function refundOrder(account: bigint, body: Record<string, unknown> | undefined): Hex {
  const { accountId, futuresId } = (body?.['refund'] ?? {}) as Record<string, string>;
  if (accountId !== String(account)) throw new ReceiptError(`the answer refunds account ${accountId}, not ${account}`);
  return keccak256(new TextEncoder().encode(canonical({ refund: { accountId, futuresId, status: 'pending' } })));
}
