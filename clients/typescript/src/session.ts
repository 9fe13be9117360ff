// The scheme `compute-escrow`: an inference on a session of the marketplace, paid with an agent's order (docs/marketplace.md).
import { getAddressEncoder, type Address } from '@solana/kit';
import { bytesToHex, concat, isAddress, keccak256, pad, stringToHex, type Hex } from 'viem';

import type { Fetch } from './fetch.js';
import { canonical, ReceiptError } from './receipt.js';
import { sign, verify, type Signer } from './signer.js';
import { requestHash, type Deployment, type SessionCall, type SessionReceipt } from './typed-data.js';

/** How long an order stays valid: long enough for retries, short enough to forget. */
const VALID_SECONDS = 15n * 60n;
/** How often an order is sent whose answer was lost. It is carried out, and paid, once. */
const ATTEMPTS = 5;

/** The budget that pays, and who is trusted; `contract` is ComputeEscrow. Nothing here is ever sent but signatures. */
export interface SessionOptions extends Deployment {
  /** The agent: a viem account (Base), or a signer of @solana/kit (Solana). */
  signer: Signer;
  /** The escrow that pays. */
  escrowId: number;
  /** The session that pays; default: whichever of the agent's in this escrow fits best. */
  sessionId?: bigint;
  /** The session's meter, as it is on chain: whose signature a receipt must carry. */
  meter: string;
  /** Most that one inference may cost, in micro-USDC; default: the price offered. */
  maxCost?: bigint;
  /** What sends; default: the global `fetch`. */
  fetch?: Fetch;
}

/** What is asked. */
export interface Inference {
  model: string;
  messages: { role: string; content: string }[];
  providerId?: number;
  maxTokens?: number;
  temperature?: number;
}

/** An answer whose receipt was checked. */
export interface InferenceAnswer extends Record<string, unknown> {
  id: Hex;
  model: string;
  choices: { index: number; message: { role: string; content: string }; finishReason: string }[];
  usage: { promptTokens: number; completionTokens: number; totalTokens: number };
  cost: { amount: string; usdc: string; transaction: string | null; sessionId: string };
}

/** An address as typed data has it: 32 bytes on either chain. */
function word(address: string): Hex {
  if (isAddress(address, { strict: false })) return pad(address);
  return bytesToHex(new Uint8Array(getAddressEncoder().encode(address as Address)));
}

const same = (a: unknown, b: string): boolean => typeof a === 'string' && (a === b || (a.startsWith('0x') && a.toLowerCase() === b.toLowerCase()));

/** Signs an order for one request; sent again it is answered again, and paid once. */
export async function signSessionCall(options: SessionOptions, request: Hex, maxCost: bigint) {
  const call: SessionCall = {
    escrowId: options.escrowId,
    sessionId: options.sessionId ?? 0n,
    agent: word(options.signer.address),
    requestHash: request,
    maxCost,
    nonce: bytesToHex(crypto.getRandomValues(new Uint8Array(32))),
    validBefore: BigInt(Math.floor(Date.now() / 1000)) + VALID_SECONDS,
  };
  const signature = await sign(options.signer, options, { primaryType: 'SessionCall', message: call });
  const authorization = {
    ...call,
    sessionId: options.sessionId?.toString() ?? null,
    agent: options.signer.address,
    maxCost: maxCost.toString(),
    validBefore: call.validBefore.toString(),
  };
  return { call, payload: { authorization, signature } };
}

/**
 * Checks that the session's meter signed exactly this: our order, this answer, no more than allowed.
 * @throws ReceiptError with the first thing that does not hold.
 */
export async function checkSessionReceipt(answer: InferenceAnswer, options: SessionOptions, call: SessionCall): Promise<SessionReceipt> {
  const must = (holds: boolean, what: string): void => {
    if (!holds) throw new ReceiptError(`the receipt does not hold: ${what}`);
  };
  const signed = answer['receipt'] as Record<string, string | number> | undefined;
  if (!signed) throw new ReceiptError('the answer holds no receipt');
  const big = (name: string): bigint => BigInt(signed[name] as string);
  const receipt = { ...signed, sessionId: big('sessionId'), cost: big('cost'), issuedAt: big('issuedAt') } as unknown as SessionReceipt;
  const { id, model, choices, usage } = answer;
  const signable = { primaryType: 'SessionReceipt', message: receipt } as const;
  must(await verify(options.meter, options, signable, answer['receiptSignature'] as Hex), `it is not signed by the meter ${options.meter}`);
  must(receipt.sessionId >> 32n === BigInt(call.escrowId), 'it is of another escrow');
  must(!call.sessionId || receipt.sessionId === call.sessionId, 'it is of a session that was not to pay');
  must(receipt.executionId === keccak256(concat([call.agent, call.nonce])) && receipt.requestHash === call.requestHash, 'it is of another order');
  must(receipt.cost <= call.maxCost, `it costs ${receipt.cost}, above the ${call.maxCost} that were signed`);
  must(receipt.outputHash === keccak256(stringToHex(canonical({ id, model, choices, usage }))), 'it is of another answer');
  must(receipt.modelHash === keccak256(stringToHex(model)), 'it is of another model');
  must(receipt.inputTokens === usage.promptTokens && receipt.outputTokens === usage.completionTokens, 'it counts other tokens');
  return receipt;
}

/**
 * Has an inference answered by a relayer, and checks its receipt.
 * @throws ReceiptError when it does not hold; Error with the relayer's own words when it refuses, or when its offer is not what is trusted.
 */
export async function runInference(options: SessionOptions, relayer: string, inference: Inference): Promise<InferenceAnswer> {
  const send = options.fetch ?? globalThis.fetch.bind(globalThis);
  const url = `${relayer.replace(/\/$/, '')}/api/v1/market/inference`;
  const asked = { ...inference, network: options.network, ...(options.sessionId ? { sessionId: options.sessionId.toString() } : {}) };
  const body = new TextEncoder().encode(JSON.stringify(asked));
  const post = (headers: Record<string, string>) => send(url, { method: 'POST', body, headers: { 'content-type': 'application/json', ...headers } });
  const refusal = async (response: Response): Promise<Error> => new Error(`HTTP ${response.status}: ${await response.text()}`);

  const offered = await post({});
  const required = offered.headers.get('payment-required');
  if (offered.status !== 402 || !required) throw await refusal(offered);
  const offer = JSON.parse(Buffer.from(required, 'base64').toString()) as { accepts?: Record<string, any>[] };
  const entry = offer.accepts?.find(({ scheme, network }) => scheme === 'compute-escrow' && network === options.network);
  if (!entry || !same(entry['payTo'], options.contract) || !same(entry['extra']?.meter, options.meter)) {
    throw new Error(`nothing was signed: the offer is not for ${options.contract} on ${options.network}, metered by ${options.meter}`);
  }
  const hash = requestHash('POST', url, body);
  const { call, payload } = await signSessionCall(options, hash, options.maxCost ?? BigInt(entry['amount'] as string));
  const payment = Buffer.from(JSON.stringify({ x402Version: 2, accepted: entry, payload })).toString('base64');
  for (let attempt = 1; ; attempt++) {
    const response = await post({ 'payment-signature': payment }).catch((error: unknown) => error as Error);
    const lost = response instanceof Error || response.status === 503;
    if (lost && attempt < ATTEMPTS) {
      await new Promise((wake) => setTimeout(wake, 150 * 2 ** attempt));
      continue;
    }
    if (response instanceof Error) throw response;
    if (!response.ok) throw await refusal(response);
    const answer = (await response.json()) as InferenceAnswer;
    await checkSessionReceipt(answer, options, call);
    return answer;
  }
}
