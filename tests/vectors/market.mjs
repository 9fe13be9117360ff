// The marketplace (docs/adr/014-marketplace.md): what agents, meters and creators sign on both chains, content hashes, addresses, what
// an execution costs, and lives of escrows. Hashes are viem's and Node's; the rest is written here from the ADR, a third time beside
// the contract and the crate.
import { sign } from "node:crypto";
import { concat, encodeAbiParameters, getContractAddress, hashDomain, hashStruct, keccak256, pad, parseAbiParameters, stringToHex, toHex } from "viem";
import { privateKeyToAccount } from "viem/accounts";

import { lives } from "./market_lives.mjs";
import { CLUSTERS, base58, derive, hex, keyOf, separatorOf, text, u32 } from "./solana.mjs";

const MAX_U32 = 2n ** 32n - 1n;
const MAX_U40 = 2n ** 40n - 1n;
const MAX_U48 = 2n ** 48n - 1n;
const MAX_U64 = 2n ** 64n - 1n;
const named = (name) => keccak256(stringToHex(name));
const addressOf = (name) => `0x${named(name).slice(26)}`;

const fields = (list) => list.split(",").map((field) => { const [type, name] = field.split(" "); return { name, type }; });
const types = {
  OpenSession: fields("uint32 escrowId,bytes32 agent,uint32 nonce,uint32 providerId,bytes32 contentHash,bytes32 meter,uint48 limit,uint40 deadline"),
  SessionCost: fields("uint64 sessionId,uint32 providerId,uint48 cost,uint32 receiptCount,bytes32 receiptsRoot"),
  SessionReceipt: fields("uint64 sessionId,uint32 sequence,bytes32 executionId,bytes32 modelHash,bytes32 requestHash,bytes32 outputHash,uint32 inputTokens,uint32 outputTokens,uint48 cost,uint32 latencyMs,uint64 issuedAt"),
  EscrowTerms: fields("bytes32 creator,uint40 expiry,uint48 sessionLimit,bytes32 meter,bool openToAll,bytes32[] agents"),
  ProviderContent: fields("string endpoint,uint8 providerType,uint32 rateLimit,uint48 minimumCharge,string[] features,Model[] models"),
  Model: fields("string name,uint48 inputPrice,uint48 outputPrice,uint32 maxContext"),
};
const structHash = (primaryType, message) => hashStruct({ data: message, primaryType, types });

// ----------------------------------------------------------------- people

const signer = privateKeyToAccount(named("signer"));
const key = keyOf("signer");
const contract = addressOf("ComputeEscrow");
const program = keyOf("compute-escrow program id of the test fixtures").publicKey;
const registryProgram = keyOf("provider-registry program id of the test fixtures").publicKey;
const domainTypes = { EIP712Domain: fields("string name,string version,uint256 chainId,address verifyingContract") };
const evmSeparator = (chainId, verifyingContract = contract) =>
  hashDomain({ domain: { name: "ComputeEscrow", version: "1", chainId, verifyingContract }, types: domainTypes });
const solanaSeparator = (cluster, of = program) => separatorOf(cluster, of, "ComputeEscrow");

// Addresses as the words they are in a hash; all are the signer's or derived from a name.
const onEvm = { me: pad(signer.address.toLowerCase()), of: (name) => pad(addressOf(name)) };
const onSolana = { me: hex(key.publicKey), of: (name) => hex(keyOf(name).publicKey) };

// --------------------------------------------------------------- messages

const session = (1n << 32n) | 1n;
const lastSession = (MAX_U32 << 32n) | MAX_U32;
const messages = (chain) => ({
  OpenSession: [
    { escrowId: 1n, agent: chain.me, nonce: 0n, providerId: 1n, contentHash: named("content"), meter: chain.of("meter"), limit: 5_000_000n, deadline: 1_800_003_600n },
    { escrowId: MAX_U32, agent: chain.me, nonce: MAX_U32, providerId: MAX_U32, contentHash: named("other content"), meter: chain.me, limit: MAX_U48, deadline: MAX_U40 },
  ],
  SessionCost: [
    { sessionId: session, providerId: 1n, cost: 4_321_000n, receiptCount: 12n, receiptsRoot: named("root") },
    { sessionId: lastSession, providerId: MAX_U32, cost: MAX_U48, receiptCount: MAX_U32, receiptsRoot: named("other root") },
    { sessionId: session, providerId: 1n, cost: 0n, receiptCount: 0n, receiptsRoot: pad("0x00") },
  ],
  SessionReceipt: [
    { sessionId: session, sequence: 1n, executionId: named("execution"), modelHash: named("llama-3.3-70b"), requestHash: named("request"), outputHash: named("output"),
      inputTokens: 1_200n, outputTokens: 345n, cost: 360n, latencyMs: 812n, issuedAt: 1_800_000_100n },
    { sessionId: lastSession, sequence: MAX_U32, executionId: named("execution 2"), modelHash: named("model"), requestHash: named("request 2"), outputHash: named("output 2"),
      inputTokens: MAX_U32, outputTokens: MAX_U32, cost: MAX_U48, latencyMs: MAX_U32, issuedAt: MAX_U64 },
  ],
});
const compact = (signature) => {
  const s = BigInt(`0x${signature.slice(66, 130)}`) | (BigInt(`0x${signature.slice(130)}`) - 27n) << 255n;
  return { r: signature.slice(0, 66), vs: toHex(s, { size: 32 }) };
};
const evmSigned = async (primaryType) => Promise.all([8453n, 31337n].flatMap((chainId) => messages(onEvm)[primaryType].map(async (message) => {
  const hash = structHash(primaryType, message);
  const digest = keccak256(concat(["0x1901", evmSeparator(chainId), hash]));
  const signature = await signer.sign({ hash: digest });
  return { chainId, ...message, digest, signature, ...(primaryType === "SessionCost" ? compact(signature) : {}), structHash: hash };
})));
const solanaSigned = (primaryType) => CLUSTERS.flatMap((cluster) => messages(onSolana)[primaryType].map((message) => {
  const hash = structHash(primaryType, message);
  const digest = keccak256(concat(["0x1901", solanaSeparator(cluster), hash]));
  return { cluster, ...message, digest, signature: hex(sign(null, Buffer.from(digest.slice(2), "hex"), key.key)), structHash: hash };
}));

// ------------------------------------------------------------------ terms

const vaultImplementation = addressOf("DepositVault");
const cloneCode = concat(["0x3d602d80600a3d3981f3363d3d373d3d3d363d73", vaultImplementation, "0x5af43d82803e903d91602b57fd5bf3"]);
const NOBODY = pad("0x00");
const terms = (chain) => [
  { creator: chain.me, expiry: 1_801_728_000n, sessionLimit: 10_000_000n, meter: NOBODY, openToAll: false, agents: [chain.of("agent")] },
  { creator: chain.me, expiry: 1_801_728_000n, sessionLimit: 10_000_000n, meter: chain.of("meter"), openToAll: true, agents: [] },
  { creator: chain.of("creator"), expiry: MAX_U40, sessionLimit: MAX_U48, meter: chain.of("meter"), openToAll: false, agents: ["a", "b", "c"].map(chain.of) },
  { creator: chain.of("creator"), expiry: 0n, sessionLimit: 1n, meter: NOBODY, openToAll: false, agents: [] },
];
const words = (kinds, values) => keccak256(encodeAbiParameters(parseAbiParameters(kinds), values));
const evmTerms = terms(onEvm).map((message) => {
  const hash = structHash("EscrowTerms", message);
  return {
    ...message, structHash: hash, salt: named("salt"), createNonce: words("bytes32, bytes32", [hash, named("salt")]),
    depositAddress: getContractAddress({ opcode: "CREATE2", from: contract, salt: hash, bytecode: cloneCode }),
  };
});
const bytesOf = (word) => Buffer.from(word.slice(2), "hex");
const solanaTerms = terms(onSolana).map((message) => {
  const hash = structHash("EscrowTerms", message);
  return { ...message, structHash: hash, depositAddress: derive([text("deposit"), bytesOf(hash)], program).address };
});
const agent = keyOf("agent").publicKey;
const addresses = [
  ["registry", registryProgram, [text("registry")], {}],
  ...[1, 2 ** 32 - 1].map((id) => ["provider", registryProgram, [text("provider"), u32(id)], { id }]),
  ["escrows", program, [text("escrows")], {}],
  ["vault", program, [text("vault")], {}],
  ...[1, 2 ** 32 - 1].flatMap((id) => [
    ["escrow", program, [text("escrow"), u32(id)], { id }],
    ["agent", program, [text("agent"), u32(id), agent], { id, agent: hex(agent) }],
    ["earnings", program, [text("earnings"), u32(id)], { id }],
    ["session", program, [text("session"), u32(id), u32(7)], { id, sequence: 7 }],
  ]),
].map(([kind, of, seeds, rest]) => ({ kind, ...rest, ...derive(seeds, of) }));

// ---------------------------------------------------------------- content

const contents = [
  { endpoint: "https://provider.example/v1", providerType: 1n, rateLimit: 60n, minimumCharge: 10n, features: ["streaming", "json"],
    models: [{ name: "llama-3.3-70b", inputPrice: 100n, outputPrice: 300n, maxContext: 131_072n }, { name: "qwen-2.5-7b", inputPrice: 50n, outputPrice: 100n, maxContext: 32_768n }] },
  { endpoint: "https://münchen.example/ü", providerType: 0n, rateLimit: 1n, minimumCharge: 0n, features: [], models: [{ name: "m", inputPrice: 0n, outputPrice: 0n, maxContext: 1n }] },
  { endpoint: `https://${"x".repeat(248)}`, providerType: 2n, rateLimit: MAX_U32, minimumCharge: MAX_U48, features: Array.from({ length: 16 }, (_, i) => `feature ${i}`),
    models: Array.from({ length: 32 }, (_, i) => ({ name: `model ${i}`, inputPrice: MAX_U48, outputPrice: MAX_U48 - BigInt(i), maxContext: MAX_U32 })) },
].map((content) => ({ ...content, hash: structHash("ProviderContent", content), modelCount: BigInt(content.models.length) }));

/// max(minimum, ceil(input price × tokens / 1000) + ceil(output price × tokens / 1000)).
const up = (price, tokens) => (price * tokens + 999n) / 1000n;
const costs = [
  [100n, 300n, 10n, 1_200n, 345n], [100n, 300n, 10n, 0n, 0n], [100n, 300n, 10n, 1n, 1n], [100n, 300n, 0n, 1n, 1n], [0n, 0n, 0n, 5_000n, 5_000n], [1n, 1n, 0n, 999n, 1_001n],
  [1n, 1n, 0n, 1_000n, 1_000n], [2_500_000n, 10_000_000n, 1_000n, 131_072n, 8_192n], [1n, 0n, 3n, 2_000n, 0n], [1n, 0n, 3n, 3_001n, 0n], [0n, 0n, MAX_U48, 1n, 1n],
  [MAX_U48 / 8n, 1n, 0n, 7_999n, 1n],
].map(([inputPrice, outputPrice, minimumCharge, inputTokens, outputTokens]) => {
  const metered = up(inputPrice, inputTokens) + up(outputPrice, outputTokens);
  return { inputPrice, outputPrice, minimumCharge, inputTokens, outputTokens, cost: metered > minimumCharge ? metered : minimumCharge };
});

export const market = async () => ({
  contents,
  costs,
  evm: {
    contract,
    domains: [8453n, 31337n].flatMap((chainId) => [contract, addressOf("another")].map((of) => ({ chainId, contract: of, separator: evmSeparator(chainId, of) }))),
    fundNonces: [[1n, "creator", "a"], [1n, "creator", "b"], [1n, "another", "a"], [MAX_U32, "creator", "a"]].map(([escrowId, who, name]) => ({
      creator: addressOf(who), escrowId, nonce: words("uint32, address, bytes32", [Number(escrowId), addressOf(who), named(name)]), salt: named(name),
    })),
    openSessions: await evmSigned("OpenSession"),
    sessionCosts: await evmSigned("SessionCost"),
    sessionReceipts: await evmSigned("SessionReceipt"),
    signer: signer.address,
    signerKey: named("signer"),
    terms: evmTerms,
    vaultImplementation,
  },
  lives: lives(),
  solana: {
    addresses,
    domains: CLUSTERS.flatMap((cluster) => [program, key.publicKey].map((of) => ({ cluster, program: hex(of), separator: solanaSeparator(cluster, of) }))),
    openSessions: solanaSigned("OpenSession"),
    program: hex(program),
    programId: base58(program),
    registryProgram: hex(registryProgram),
    registryProgramId: base58(registryProgram),
    sessionCosts: solanaSigned("SessionCost"),
    sessionReceipts: solanaSigned("SessionReceipt"),
    signerBase58: base58(key.publicKey),
    signerSeed: hex(key.seed),
    terms: solanaTerms,
  },
});
