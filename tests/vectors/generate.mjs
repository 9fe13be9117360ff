// Writes the vectors that other implementations decide: OpenZeppelin's Merkle tree, viem's EIP-712, ABI encoding and
// CREATE2, and JavaScript's own JSON, which is what RFC 8785 canonicalises to. Deterministic; needs `npm ci`.
//
//   node tests/vectors/generate.mjs          writes
//   node tests/vectors/generate.mjs --check  fails when a file differs from what would be written
import { readFileSync, writeFileSync } from "node:fs";
import { StandardMerkleTree } from "@openzeppelin/merkle-tree";
import {
  concat, encodeAbiParameters, getContractAddress, hashDomain, hashStruct, hashTypedData, keccak256, parseAbiParameters, stringToHex, toHex,
} from "viem";
import { privateKeyToAccount } from "viem/accounts";

import { market } from "./market.mjs";
import { solana } from "./solana.mjs";

const MAX_U56 = 2n ** 56n - 1n;
const MAX_U64 = 2n ** 64n - 1n;
const MAX_U40 = 2n ** 40n - 1n;

/// A hash that depends on nothing but its name.
const named = (name) => keccak256(stringToHex(name));
const addressOf = (name) => `0x${named(name).slice(26)}`;

// ------------------------------------------------------------------ Merkle

const receiptHashes = (count) => Array.from({ length: count }, (_, i) => named(`receipt ${i}`));
const merkle = {
  trees: [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100].map((count) => {
    const hashes = receiptHashes(count);
    const tree = StandardMerkleTree.of(hashes.map((hash) => [hash]), ["bytes32"]);
    return { count, receiptHashes: hashes, root: tree.root };
  }),
  proofs: [1, 2, 3, 5, 8, 33, 100].flatMap((count) => {
    const hashes = receiptHashes(count);
    const tree = StandardMerkleTree.of(hashes.map((hash) => [hash]), ["bytes32"]);
    const places = [...new Set([0, 1, Math.floor(count / 2), count - 1])].filter((i) => i < count);
    return places.map((i) => ({
      count, leaf: tree.leafHash([hashes[i]]), proof: tree.getProof(i), receiptHash: hashes[i], root: tree.root,
    }));
  }),
};

// -------------------------------------------------------------- typed data

const contract = addressOf("ComputeFutures");
const domainOf = (chainId, verifyingContract = contract) => ({ name: "ComputeFutures", version: "1", chainId, verifyingContract });
const types = {
  SpendCeiling: [
    { name: "accountId", type: "uint64" }, { name: "ceiling", type: "uint56" },
  ],
  JobAuthorization: [
    { name: "accountId", type: "uint64" }, { name: "requestHash", type: "bytes32" }, { name: "nonce", type: "bytes32" },
    { name: "maxCharge", type: "uint56" }, { name: "validUntil", type: "uint64" },
  ],
  Receipt: [
    { name: "accountId", type: "uint64" }, { name: "batchNumber", type: "uint40" }, { name: "sequence", type: "uint64" },
    { name: "jobId", type: "bytes32" }, { name: "authorizationHash", type: "bytes32" }, { name: "requestHash", type: "bytes32" },
    { name: "outputHash", type: "bytes32" }, { name: "listAmount", type: "uint56" }, { name: "discountBps", type: "uint16" },
    { name: "charged", type: "uint56" }, { name: "issuedAt", type: "uint64" },
  ],
};
const eip3009Fields = [
  { name: "from", type: "address" }, { name: "to", type: "address" }, { name: "value", type: "uint256" },
  { name: "validAfter", type: "uint256" }, { name: "validBefore", type: "uint256" }, { name: "nonce", type: "bytes32" },
];
const signer = privateKeyToAccount(named("signer"));
const domainTypes = { EIP712Domain: [
  { name: "name", type: "string" }, { name: "version", type: "string" }, { name: "chainId", type: "uint256" }, { name: "verifyingContract", type: "address" },
] };

const digestOf = async (primaryType, message, domain, ofTypes = types) => ({
  digest: hashTypedData({ domain, types: ofTypes, primaryType, message }),
  signature: await signer.signTypedData({ domain, types: ofTypes, primaryType, message }),
  structHash: hashStruct({ data: message, primaryType, types: ofTypes }),
});
const messageOf = {
  SpendCeiling: (accountId, ceiling) => ({ accountId, ceiling }),
  JobAuthorization: (accountId, maxCharge, validUntil) => ({
    accountId, maxCharge, nonce: named(`nonce ${accountId}`), requestHash: named(`request ${maxCharge}`), validUntil,
  }),
  Receipt: (accountId, batchNumber, sequence, listAmount, discountBps, charged, issuedAt) => ({
    accountId, authorizationHash: named("authorization"), batchNumber, charged, discountBps, issuedAt, jobId: named(`job ${sequence}`),
    listAmount, outputHash: named("output"), requestHash: named("request"), sequence,
  }),
};
const lowAccount = (1n << 32n) | 1n;
const highAccount = ((2n ** 32n - 1n) << 32n) | (2n ** 28n - 1n);

const each = async (primaryType, rows) => Promise.all(rows.map(async ([chainId, ...fields]) => {
  const message = messageOf[primaryType](...fields);
  return { chainId, ...(await digestOf(primaryType, message, domainOf(chainId))), ...message };
}));
const usdc = "0x833589fcd6edb6e08f4c7c32d4f71b54bda02913";
const tokenDomain = { name: "USD Coin", version: "2", chainId: 8453n, verifyingContract: usdc };
const transfers = async (primaryType) => Promise.all([[1n, 0n, 1_790_000_000n], [50_010_000n, 1_789_999_000n, 2n ** 256n - 1n], [MAX_U56, 0n, 1n]].map(
  async ([value, validAfter, validBefore]) => {
    const message = { from: signer.address, to: addressOf("payee"), value, validAfter, validBefore, nonce: named(`transfer ${value}`) };
    const signed = await digestOf(primaryType, message, tokenDomain, { [primaryType]: eip3009Fields });
    return {
      ...signed, from: message.from, nonce: message.nonce, to: message.to, token: usdc, validAfter: toHex(validAfter, { size: 32 }),
      validBefore: toHex(validBefore, { size: 32 }), value,
    };
  }));

const typedData = {
  contract,
  domains: [8453n, 84532n, 31337n].map((chainId) => ({
    chainId, separator: hashDomain({ domain: domainOf(chainId), types: domainTypes }),
  })),
  jobAuthorizations: await each("JobAuthorization", [
    [8453n, lowAccount, 30_000n, 1_790_000_000n], [8453n, highAccount, MAX_U56, MAX_U64], [84532n, lowAccount, 0n, 0n],
  ]),
  receipts: await each("Receipt", [
    [8453n, lowAccount, 1n, 1n, 30_000n, 1000n, 27_000n, 1_790_000_000n],
    [8453n, highAccount, MAX_U40, MAX_U64, MAX_U56, 10_000n, 0n, MAX_U64],
    [31337n, lowAccount + 1n, 2n, 7n, 1n, 0n, 1n, 1n],
  ]),
  receiveWithAuthorizations: await transfers("ReceiveWithAuthorization"),
  signer: signer.address,
  signerKey: named("signer"),
  spendCeilings: await each("SpendCeiling", [
    [8453n, lowAccount, 50_000_000n], [8453n, highAccount, MAX_U56], [84532n, lowAccount, 0n],
  ]),
  transferWithAuthorizations: await transfers("TransferWithAuthorization"),
};

// ----------------------------------------------------------------- deposit

const vaultImplementation = addressOf("DepositVault");
const owner = addressOf("owner");
const cloneCode = concat(["0x3d602d80600a3d3981f3363d3d373d3d3d363d73", vaultImplementation, "0x5af43d82803e903d91602b57fd5bf3"]);
const deposit = {
  addresses: [[1n, owner, MAX_U56, 10_000n], [1n, owner, MAX_U56, 0n], [1n, owner, 0n, 10_000n], [2n, owner, MAX_U56, 10_000n],
    [1n, signer.address, MAX_U56, 10_000n], [2n ** 32n - 1n, owner, MAX_U56, MAX_U56]].map(([operatorIndex, owner, ceiling, fee]) => {
    const salt = keccak256(encodeAbiParameters(parseAbiParameters("uint32, address, uint56, uint56"), [Number(operatorIndex), owner, ceiling, fee]));
    return {
      ceiling, contract, depositAddress: getContractAddress({ opcode: "CREATE2", from: contract, salt, bytecode: cloneCode }), fee, operatorIndex,
      owner, salt, vaultImplementation,
    };
  }),
  nonces: [[1n, 0n, 0n, "a"], [1n, lowAccount, 0n, "a"], [1n, lowAccount, MAX_U56, "a"], [1n, lowAccount, MAX_U56, "b"], [2n ** 32n - 1n, highAccount, 1n, "a"]]
    .map(([operatorIndex, accountId, ceiling, name]) => {
      const salt = named(`salt ${name}`);
      const nonce = keccak256(encodeAbiParameters(parseAbiParameters("uint32, address, uint64, uint56, bytes32"),
        [Number(operatorIndex), owner, accountId, ceiling, salt]));
      return { accountId, ceiling, nonce, operatorIndex, owner, salt };
    }),
};

// ----------------------------------------------------------------- request

/// RFC 8785: keys sorted by UTF-16 code units, everything else as JSON.stringify writes it.
const canonical = (value) => {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  return `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(",")}}`;
};
const bodies = ["", "{}", '{"model":"local/extract","prompt":"Grüße, 世界"}', "\n", `${"x".repeat(1000)}`];
const requests = [["POST", "/api/v1/compute-futures/execute"], ["GET", "/api/v1/compute-futures/balance?id=CFE-00000000"], ["POST", "/v1/embeddings"]];
const exactPayment = {
  asset: usdc, from: signer.address.toLowerCase(), network: "eip155:8453", nonce: named("exact"), signature: `0x${"11".repeat(65)}`,
  to: addressOf("payee"), validAfter: "0", validBefore: "1790000000", value: "1000",
};
const values = [
  "{}", "[]", "null", '"a"', '{"b":1,"a":[true,false,null]}', '{"z":{"y":1,"x":{"w":[]}},"\\u00e9":"\\u000f\\n","e":1e21,"f":0.1,"g":1.0,"h":-0}',
  '{"\\u20ac":"Euro","\\r":"CR","\\ud83d\\ude00":"Smile","1":"One","\\ufb33":"Dalet"}', "[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001]",
  JSON.stringify(exactPayment),
];
const request = {
  canonical: values.map((json) => {
    const text = canonical(JSON.parse(json));
    return { canonical: text, hash: keccak256(stringToHex(text)), json };
  }),
  exactPayment: { hash: keccak256(stringToHex(canonical(exactPayment))), json: JSON.stringify(exactPayment) },
  requests: requests.flatMap(([method, path]) => bodies.map((body) => ({
    body, hash: keccak256(concat([stringToHex(`${method} ${path}\n`), stringToHex(body)])), method, path,
  }))),
};

// ------------------------------------------------------------------ Solana

/// The same messages as above, without what is of the EVM.
const messagesOf = (rows, primaryType) => rows.map((row) => Object.fromEntries(types[primaryType].map(({ name }) => [name, row[name]])));
const onSolana = solana(types, {
  JobAuthorization: messagesOf(typedData.jobAuthorizations, "JobAuthorization"),
  Receipt: messagesOf(typedData.receipts, "Receipt"),
  SpendCeiling: messagesOf(typedData.spendCeilings, "SpendCeiling"),
});

// ------------------------------------------------------------------ output

/// Keys sorted (forge decodes structs in that order), integers bare however large, hex in lower case.
const tidy = (value) => {
  if (typeof value === "bigint") return `#${value}#`;
  if (typeof value === "string") return /^0x[0-9a-fA-F]*$/.test(value) ? value.toLowerCase() : value;
  if (Array.isArray(value)) return value.map(tidy);
  if (value !== null && typeof value === "object") return Object.fromEntries(Object.keys(value).sort().map((key) => [key, tidy(value[key])]));
  return value;
};
let stale = false;
for (const [name, content] of Object.entries({ merkle, typed_data: typedData, deposit, request, solana: onSolana, market: await market() })) {
  const file = new URL(`${name}.json`, import.meta.url);
  const text = `${JSON.stringify(tidy(content), null, 2).replace(/"#(\d+)#"/g, "$1")}\n`;
  if (!process.argv.includes("--check")) {
    writeFileSync(file, text);
  } else if (readFileSync(file, "utf8") !== text) {
    stale = true;
    console.error(`tests/vectors/${name}.json differs from what generate.mjs writes; run it without --check`);
  }
}
process.exitCode = stale ? 1 : 0;
