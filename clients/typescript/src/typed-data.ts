// What people and operators sign. The structures and their hashes are EIP-712's on every chain; on Solana the domain names cluster and
// program, and the signature is ed25519 over the digest. tests/vectors has both, and this file must agree with them bit for bit.
import { getAddressEncoder, type Address } from '@solana/kit';
import { concat, encodeAbiParameters, hashDomain, hashStruct, isAddress, keccak256, stringToHex, type Hex } from 'viem';

/** One deployment of the contract: a signature for it means nothing to any other. */
export interface Deployment {
  /** CAIP-2, e.g. `eip155:8453` or `solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp`. */
  network: string;
  /** Address of the ComputeFutures contract, or of ComputeEscrow for sessions (on Solana: the program). */
  contract: string;
}

/** "This job may cost me at most `maxCharge`": pays for one request out of credit. Amounts are micro-USDC. */
export interface JobAuthorization {
  accountId: bigint;
  requestHash: Hex;
  nonce: Hex;
  maxCharge: bigint;
  validUntil: bigint;
}

/** "The operator may charge this account up to `ceiling` in all." */
export interface SpendCeiling {
  accountId: bigint;
  ceiling: bigint;
}

/** What a job cost and what it was; signed by the operator. */
export interface Receipt {
  accountId: bigint;
  batchNumber: number;
  sequence: bigint;
  jobId: Hex;
  authorizationHash: Hex;
  requestHash: Hex;
  outputHash: Hex;
  listAmount: bigint;
  discountBps: number;
  charged: bigint;
  issuedAt: bigint;
}

/** "Run this on my session": an agent's order to its meter. `sessionId` 0: whichever session of the escrow fits best. */
export interface SessionCall {
  escrowId: number;
  sessionId: bigint;
  agent: Hex;
  requestHash: Hex;
  maxCost: bigint;
  nonce: Hex;
  validBefore: bigint;
}

/** What one execution on a session cost and what it was; signed by the session's meter. */
export interface SessionReceipt {
  sessionId: bigint;
  sequence: number;
  executionId: Hex;
  modelHash: Hex;
  requestHash: Hex;
  outputHash: Hex;
  inputTokens: number;
  outputTokens: number;
  cost: bigint;
  latencyMs: number;
  issuedAt: bigint;
}

/** A structure to sign, by its name. */
export type Signable =
  | { primaryType: 'JobAuthorization'; message: JobAuthorization }
  | { primaryType: 'SpendCeiling'; message: SpendCeiling }
  | { primaryType: 'Receipt'; message: Receipt }
  | { primaryType: 'SessionCall'; message: SessionCall }
  | { primaryType: 'SessionReceipt'; message: SessionReceipt };

/** EIP-712 types of the structures. */
export const TYPES = {
  JobAuthorization: [
    { name: 'accountId', type: 'uint64' },
    { name: 'requestHash', type: 'bytes32' },
    { name: 'nonce', type: 'bytes32' },
    { name: 'maxCharge', type: 'uint56' },
    { name: 'validUntil', type: 'uint64' },
  ],
  SpendCeiling: [
    { name: 'accountId', type: 'uint64' },
    { name: 'ceiling', type: 'uint56' },
  ],
  Receipt: [
    { name: 'accountId', type: 'uint64' },
    { name: 'batchNumber', type: 'uint40' },
    { name: 'sequence', type: 'uint64' },
    { name: 'jobId', type: 'bytes32' },
    { name: 'authorizationHash', type: 'bytes32' },
    { name: 'requestHash', type: 'bytes32' },
    { name: 'outputHash', type: 'bytes32' },
    { name: 'listAmount', type: 'uint56' },
    { name: 'discountBps', type: 'uint16' },
    { name: 'charged', type: 'uint56' },
    { name: 'issuedAt', type: 'uint64' },
  ],
  SessionCall: [
    { name: 'escrowId', type: 'uint32' },
    { name: 'sessionId', type: 'uint64' },
    { name: 'agent', type: 'bytes32' },
    { name: 'requestHash', type: 'bytes32' },
    { name: 'maxCost', type: 'uint48' },
    { name: 'nonce', type: 'bytes32' },
    { name: 'validBefore', type: 'uint40' },
  ],
  SessionReceipt: [
    { name: 'sessionId', type: 'uint64' },
    { name: 'sequence', type: 'uint32' },
    { name: 'executionId', type: 'bytes32' },
    { name: 'modelHash', type: 'bytes32' },
    { name: 'requestHash', type: 'bytes32' },
    { name: 'outputHash', type: 'bytes32' },
    { name: 'inputTokens', type: 'uint32' },
    { name: 'outputTokens', type: 'uint32' },
    { name: 'cost', type: 'uint48' },
    { name: 'latencyMs', type: 'uint32' },
    { name: 'issuedAt', type: 'uint64' },
  ],
} as const;

/** Name of the contract in the domain of a structure. */
export const domainName = (primaryType: Signable['primaryType']): string =>
  primaryType.startsWith('Session') ? 'ComputeEscrow' : 'ComputeFutures';

const DOMAIN_FIELDS = [
  { name: 'name', type: 'string' },
  { name: 'version', type: 'string' },
  { name: 'chainId', type: 'uint256' },
  { name: 'verifyingContract', type: 'address' },
];
const SOLANA_DOMAIN = 'EIP712Domain(string name,string version,string cluster,bytes32 program)';

/** The EIP-712 domain of an EVM deployment, as wallets take it. */
export function evmDomain({ network, contract }: Deployment, name = 'ComputeFutures') {
  const chainId = /^eip155:(\d+)$/.exec(network)?.[1];
  if (!chainId || !isAddress(contract, { strict: false })) throw new Error(`${contract} on ${network} is no EVM contract`);
  return { name, version: '1', chainId: Number(chainId), verifyingContract: contract };
}

/** Whether the deployment is on Solana. */
export const isSolana = ({ network }: Deployment): boolean => network.startsWith('solana:');

/** The domain separator of either chain. */
export function domainSeparator(deployment: Deployment, name = 'ComputeFutures'): Hex {
  if (!isSolana(deployment)) {
    return hashDomain<Record<string, unknown>>({ domain: evmDomain(deployment, name), types: { EIP712Domain: DOMAIN_FIELDS } });
  }
  const cluster = deployment.network.slice('solana:'.length);
  const program = new Uint8Array(getAddressEncoder().encode(deployment.contract as Address));
  const hash = (text: string): Hex => keccak256(stringToHex(text));
  return keccak256(
    encodeAbiParameters(
      Array.from({ length: 5 }, () => ({ type: 'bytes32' }) as const),
      [hash(SOLANA_DOMAIN), hash(name), hash('1'), hash(cluster), `0x${Buffer.from(program).toString('hex')}`],
    ),
  );
}

/** The 32 bytes that are signed. */
export function digest(deployment: Deployment, { primaryType, message }: Signable): Hex {
  const struct = hashStruct<Record<string, unknown>, string>({ data: { ...message }, primaryType, types: TYPES });
  return keccak256(concat(['0x1901', domainSeparator(deployment, domainName(primaryType)), struct]));
}

/** keccak256(METHOD ‖ " " ‖ path with query ‖ "\n" ‖ body): what a signature pays for. */
export function requestHash(method: string, url: string, body: Uint8Array): Hex {
  const { pathname, search } = new URL(url, 'http://localhost');
  const head = new TextEncoder().encode(`${method.toUpperCase()} ${pathname}${search}\n`);
  const bytes = new Uint8Array(head.length + body.length);
  bytes.set(head);
  bytes.set(body, head.length);
  return keccak256(bytes);
}
