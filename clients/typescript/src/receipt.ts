// Checking a receipt at once, with nothing but the answer and what was signed for it.
import { keccak256, stringToHex, type Hex } from 'viem';

import { verify } from './signer.js';
import { digest, type Deployment, type JobAuthorization, type Receipt } from './typed-data.js';

/** A receipt as the relayer sends it: amounts are decimal strings of micro-USDC. */
export type SignedReceipt = Record<string, unknown> & { receiptHash: Hex; signature: Hex };

/** The receipt does not prove what it should. The job ran and was charged: keep the answer as evidence. */
export class ReceiptError extends Error {
  override name = 'ReceiptError';
}

/** RFC 8785, for what `JSON.parse` made: JavaScript's own numbers and strings, keys sorted by code unit. */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${fields.map(([key, field]) => `${JSON.stringify(key)}:${canonical(field)}`).join(',')}}`;
}

/** What a receipt attests of a JSON answer that carries it: `compute`; of any other answer: all of its bytes. */
export function outputHash(bytes: Uint8Array, body: Record<string, unknown> | undefined): Hex {
  return body && 'receipt' in body && 'compute' in body ? keccak256(stringToHex(canonical(body['compute']))) : keccak256(bytes);
}

/** Reads the fields that are hashed. */
export function readReceipt(signed: SignedReceipt): Receipt {
  const big = (name: string): bigint => BigInt(signed[name] as string);
  const hex = (name: string): Hex => signed[name] as Hex;
  return {
    accountId: big('accountId'),
    batchNumber: Number(signed['batchNumber']),
    sequence: big('sequence'),
    jobId: hex('jobId'),
    authorizationHash: hex('authorizationHash'),
    requestHash: hex('requestHash'),
    outputHash: hex('outputHash'),
    listAmount: big('listAmount'),
    discountBps: Number(signed['discountBps']),
    charged: big('charged'),
    issuedAt: big('issuedAt'),
  };
}

/**
 * Checks that the operator signed exactly this: our account, our authorisation, our request, this output, no more than allowed.
 * @throws ReceiptError with the first thing that does not hold.
 */
export async function checkReceipt(
  signed: SignedReceipt,
  deployment: Deployment,
  operator: string,
  authorization: JobAuthorization,
  output: Hex,
): Promise<Receipt> {
  const receipt = readReceipt(signed);
  const signable = { primaryType: 'Receipt', message: receipt } as const;
  const authorized = digest(deployment, { primaryType: 'JobAuthorization', message: authorization });
  const must = (holds: boolean, what: string): void => {
    if (!holds) throw new ReceiptError(`the receipt does not hold: ${what}`);
  };
  must(digest(deployment, signable) === signed.receiptHash, 'its hash is not its own');
  must(await verify(operator, deployment, signable, signed.signature), `it is not signed by the operator ${operator}`);
  must(receipt.accountId === authorization.accountId, `it charges account ${receipt.accountId}`);
  must(receipt.authorizationHash === authorized, 'it names another authorisation than the one signed');
  must(receipt.requestHash === authorization.requestHash, 'it is for another request');
  must(receipt.charged <= authorization.maxCharge, `it charges ${receipt.charged}, above the ${authorization.maxCharge} that were signed`);
  must(receipt.outputHash === output, 'it attests another output than the one received');
  return receipt;
}
