// What is Solana's own (docs/adr/010-solana.md): the typed-data domain with ed25519 signatures, program addresses, and the mountain
// range of batch roots. Struct hashes are viem's; the rest is written here from the ADR, not from the program.
import { createHash, createPrivateKey, createPublicKey, sign } from "node:crypto";
import { concat, encodeAbiParameters, hashStruct, keccak256, parseAbiParameters, stringToHex } from "viem";

const MAX_U56 = 2n ** 56n - 1n;
export const CLUSTERS = ["5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "EtWTRABZaYq6iMfeYKouRu166VU2xqa1"];
const ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

export const sha256 = (...parts) => createHash("sha256").update(Buffer.concat(parts)).digest();
export const base58 = (bytes) => {
  let number = BigInt(`0x${bytes.toString("hex")}`);
  let text = "";
  for (; number > 0n; number /= 58n) text = ALPHABET[Number(number % 58n)] + text;
  return "1".repeat(bytes.findIndex((byte) => byte !== 0)) + text;
};
export const hex = (bytes) => `0x${bytes.toString("hex")}`;

// ---------------------------------------------------------------- ed25519

/// A key that depends on nothing but its name.
export const keyOf = (name) => {
  const seed = sha256(Buffer.from(name));
  const key = createPrivateKey({ key: Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed]), format: "der", type: "pkcs8" });
  return { key, seed, publicKey: createPublicKey(key).export({ format: "der", type: "spki" }).subarray(-32) };
};
const program = keyOf("compute-futures program id of the test fixtures").publicKey;
const signer = keyOf("signer");

// -------------------------------------------------------------- addresses

const P = 2n ** 255n - 19n;
const power = (base, exponent) => {
  let result = 1n;
  for (let b = base % P, e = exponent; e > 0n; e >>= 1n, b = (b * b) % P) if (e & 1n) result = (result * b) % P;
  return result;
};
const D = ((P - 121665n) * power(121666n, P - 2n)) % P;
/// Whether the bytes are a point of the curve, so that somebody could have the key: x² = (y² − 1) / (d y² + 1) has a root.
const onCurve = (bytes) => {
  const y = (BigInt(`0x${Buffer.from(bytes).reverse().toString("hex")}`) & (2n ** 255n - 1n)) % P;
  const square = ((((y * y - 1n + P) % P) * power((D * y * y + 1n) % P, P - 2n)) % P);
  return square === 0n || power(square, (P - 1n) / 2n) === 1n;
};
export const derive = (seeds, of = program) => {
  for (let bump = 255; ; bump--) {
    const address = sha256(...seeds, Buffer.from([bump]), of, Buffer.from("ProgramDerivedAddress"));
    if (!onCurve(address)) return { address: base58(address), bump };
  }
};
export const u32 = (value) => { const bytes = Buffer.alloc(4); bytes.writeUInt32LE(value); return bytes; };
const u64 = (value) => { const bytes = Buffer.alloc(8); bytes.writeBigUInt64LE(value); return bytes; };
export const text = (value) => Buffer.from(value);

const addresses = [
  ["registry", [text("registry")], {}],
  ["vault", [text("vault")], {}],
  ["eventAuthority", [text("__event_authority")], {}],
  ["operatorOf", [text("operator-of"), signer.publicKey], { authority: hex(signer.publicKey) }],
  ...[1, 2, 2 ** 32 - 1].map((operatorIndex) => ["operator", [text("operator"), u32(operatorIndex)], { operatorIndex }]),
  ...[[1, 1], [1, 2], [2, 1], [2 ** 32 - 1, 2 ** 28 - 1]].map(([operatorIndex, sequence]) =>
    ["account", [text("account"), u32(operatorIndex), u32(sequence)], { operatorIndex, sequence }]),
  ...[[1, MAX_U56, 10_000n], [1, MAX_U56, 0n], [1, 0n, 10_000n], [2 ** 32 - 1, MAX_U56, MAX_U56]].map(([operatorIndex, ceiling, fee]) =>
    ["deposit", [text("deposit"), u32(operatorIndex), signer.publicKey, u64(ceiling), u64(fee)],
      { operatorIndex, owner: hex(signer.publicKey), ceiling, fee }]),
].map(([kind, seeds, of]) => ({ kind, ...of, ...derive(seeds) }));

// -------------------------------------------------------------- typed data

export const separatorOf = (cluster, of = program, name = "ComputeFutures") => keccak256(encodeAbiParameters(
  parseAbiParameters("bytes32, bytes32, bytes32, bytes32, bytes32"),
  ["EIP712Domain(string name,string version,string cluster,bytes32 program)", name, "1", cluster].map((part) => keccak256(stringToHex(part)))
    .concat([hex(of)]),
));

/// `types` and `messages` are those of the EVM vectors: {primaryType: [message, …]}.
export const solana = (types, messages) => {
  const signed = (primaryType) => CLUSTERS.flatMap((cluster) => messages[primaryType].map((message) => {
    const structHash = hashStruct({ data: message, primaryType, types });
    const digest = keccak256(concat(["0x1901", separatorOf(cluster), structHash]));
    return { cluster, ...message, digest, signature: hex(sign(null, Buffer.from(digest.slice(2), "hex"), signer.key)), structHash };
  }));
  return {
    addresses,
    domains: CLUSTERS.flatMap((cluster) => [program, signer.publicKey].map((of) => ({ cluster, program: hex(of), separator: separatorOf(cluster, of) }))),
    histories: [1, 2, 3, 4, 5, 7, 8, 13, 64, 65, 100].map(history),
    jobAuthorizations: signed("JobAuthorization"),
    program: hex(program),
    programId: base58(program),
    receipts: signed("Receipt"),
    signer: hex(signer.publicKey),
    signerBase58: base58(signer.publicKey),
    signerSeed: hex(signer.seed),
    spendCeilings: signed("SpendCeiling"),
  };
};

// ------------------------------------------------------------- batch roots

const parent = (left, right) => keccak256(concat([left, right]));
/// The tree over the roots of one mountain, level by level from the bottom.
const levels = (leaves) => {
  const all = [leaves];
  while (all.at(-1).length > 1) {
    const below = all.at(-1);
    all.push(below.filter((_, i) => i % 2 === 0).map((left, i) => parent(left, below[2 * i + 1])));
  }
  return all;
};
function history(count) {
  const roots = Array.from({ length: count }, (_, i) => keccak256(stringToHex(`batch ${i + 1}`)));
  const peaks = [];
  const proofs = [];
  // Mountains stand in order of height, the highest first, one for each bit of the count.
  let start = 0;
  for (let height = 39; height >= 0; height--) {
    const size = 2 ** height;
    if (Math.floor(count / size) % 2 === 0) continue;
    const tree = levels(roots.slice(start, start + size));
    peaks.push({ height, peak: tree.at(-1)[0] });
    for (const place of new Set([0, 1, size >> 1, size - 1].filter((i) => i < size))) {
      proofs.push({ number: start + place + 1, proof: tree.slice(0, -1).map((level, k) => level[(place >> k) ^ 1]), root: roots[start + place] });
    }
    start += size;
  }
  return { count, peaks, proofs, roots };
}
