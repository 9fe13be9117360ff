// The scheme for `@x402/core` V2. Register it, and give its `fetch` to `wrapFetchWithPayment`:
//   const credit = new ComputeFuturesScheme({ signer, account, network, contract, operator });
//   const fetchPay = wrapFetchWithPayment(credit.fetch, new x402Client().register(network, credit));
import type { PaymentPayloadContext, PaymentPayloadResult, PaymentRequirements, SchemeNetworkClient } from '@x402/core/types';
import { bytesToHex, type Hex } from 'viem';

import { accountId } from './account.js';
import { payingFetch, type Fetch } from './fetch.js';
import { sign, type Signer } from './signer.js';
import type { Deployment, JobAuthorization, Receipt } from './typed-data.js';

/** How long an authorisation stays valid: long enough for retries, short enough to forget. */
const VALID_SECONDS = 15n * 60n;
/** How many requests are remembered between their offer and their payment. */
const REMEMBERED = 1_000;

/** Who pays, and what is trusted. Nothing here is ever sent but signatures. */
export interface CreditOptions extends Deployment {
  /** Owner or delegate: a viem account (Base), or a signer of @solana/kit (Solana). */
  signer: Signer;
  /** The account that pays: `4294967297`, or `CFE-…` together with `operatorIndex`. */
  account: string | bigint;
  /** Index of the operator, for a futures id. */
  operatorIndex?: number;
  /** Address of the operator: whose signature a receipt must carry. */
  operator: string;
  /** Most that one request may cost, in micro-USDC; default: the price offered. */
  maxCharge?: bigint;
  /** Highest ceiling (total charges of the account, micro-USDC) to sign when the present one is too low; default: never. */
  raiseCeilingTo?: bigint;
  /** Called with every receipt that was checked. */
  onReceipt?: (receipt: Receipt, signed: Record<string, unknown>) => void;
  /** What sends; default: the global `fetch`. */
  fetch?: Fetch;
}

/** The payload of a payment, as docs/x402-scheme.md has it. */
export interface CreditPayload extends Record<string, unknown> {
  signature: Hex;
  authorization: { accountId: string; requestHash: Hex; nonce: Hex; maxCharge: string; validUntil: string };
  spendCeiling?: { ceiling: string; signature: Hex };
}

/** Pays from one account. Requests need no order: use it for any number at once. */
export class ComputeFuturesScheme implements SchemeNetworkClient {
  readonly scheme = 'compute-futures';
  /** Sends requests, remembers what may be signed for, raises the ceiling when told to, and checks every receipt. */
  readonly fetch: Fetch;
  /** The account that pays. */
  readonly accountId: bigint;
  /** Hashes of requests that really were sent from here: nothing else is ever signed. */
  readonly #asked = new Set<string>();

  constructor(readonly options: CreditOptions) {
    this.accountId = accountId(options.account, options.network, options.operatorIndex);
    this.fetch = payingFetch(this, options.fetch ?? globalThis.fetch.bind(globalThis));
  }

  /** Credit is USDC: the spending controls of `x402Client` hold for it as for any payment. */
  findDefaultAsset(asset: string, network: string) {
    return network === this.options.network ? { asset, decimals: 6, symbol: 'USDC' } : undefined;
  }

  /** A request of ours, whose payment may be signed. */
  remember(hash: Hex): void {
    this.#asked.add(hash);
    // The oldest goes first; whoever asks a thousand times at once signs again.
    if (this.#asked.size > REMEMBERED) this.#asked.delete(this.#asked.values().next().value as string);
  }

  /**
   * The signed payload for an offer.
   * @throws when the offer is for another contract, network, operator or request than those trusted and asked for.
   */
  async createPaymentPayload(
    x402Version: number,
    offer: PaymentRequirements,
    context?: PaymentPayloadContext,
  ): Promise<PaymentPayloadResult> {
    const { network, contract } = this.options;
    const same = (a: string, b: string): boolean => a === b || (a.startsWith('0x') && a.toLowerCase() === b.toLowerCase());
    const refuse = (what: string): never => {
      throw new Error(`nothing was signed: ${what}`);
    };
    if (x402Version !== 2) refuse(`x402 version ${x402Version} is offered, this is for version 2`);
    if (offer.network !== network) refuse(`the offer is for ${offer.network}, the account is on ${network}`);
    if (!same(offer.payTo, contract)) refuse(`the offer is for contract ${offer.payTo}, not for ${contract}`);
    const { operatorIndex, requestHash } = offer.extra as { operatorIndex?: number; requestHash?: Hex };
    if (BigInt(operatorIndex ?? 0) !== this.accountId >> 32n) refuse(`the relayer works for operator ${operatorIndex}`);
    if (!requestHash || !this.#asked.has(requestHash)) {
      refuse('the offer is for a request that was not sent through `scheme.fetch`; give that to wrapFetchWithPayment');
    }
    const bounds = [BigInt(offer.amount), this.options.maxCharge, context?.maxAmountPerPayment].filter((b) => b !== undefined);
    const authorization: JobAuthorization = {
      accountId: this.accountId,
      requestHash: requestHash as Hex,
      nonce: bytesToHex(crypto.getRandomValues(new Uint8Array(32))),
      maxCharge: bounds.map(BigInt).reduce((least, bound) => (bound < least ? bound : least)),
      validUntil: BigInt(Math.floor(Date.now() / 1000)) + VALID_SECONDS,
    };
    const signature = await sign(this.options.signer, this.options, { primaryType: 'JobAuthorization', message: authorization });
    const payload: CreditPayload = {
      signature,
      authorization: {
        accountId: String(authorization.accountId),
        requestHash: authorization.requestHash,
        nonce: authorization.nonce,
        maxCharge: String(authorization.maxCharge),
        validUntil: String(authorization.validUntil),
      },
    };
    return { x402Version, payload };
  }

  /** A signed ceiling for the payload, if `needed` is within what this client may sign: as high as it may be, so that the next request needs none. */
  async signCeiling(needed: bigint): Promise<CreditPayload['spendCeiling']> {
    const most = this.options.raiseCeilingTo;
    if (most === undefined || most < needed) return undefined;
    const message = { accountId: this.accountId, ceiling: most };
    const signature = await sign(this.options.signer, this.options, { primaryType: 'SpendCeiling', message });
    return { ceiling: String(most), signature };
  }
}
