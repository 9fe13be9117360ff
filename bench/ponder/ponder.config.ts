import { readFileSync } from "node:fs";
import { createConfig } from "ponder";

const { abi } = JSON.parse(readFileSync(process.env.BENCH_ABI!, "utf8"));
const database = process.env.PONDER_DATABASE_URL
  ? { kind: "postgres" as const, connectionString: process.env.PONDER_DATABASE_URL }
  : { kind: "pglite" as const, directory: process.env.PONDER_PGLITE_DIR ?? ".ponder/pglite" };

export default createConfig({
  database,
  chains: { base: { id: 8453, rpc: process.env.BENCH_RPC!, pollingInterval: 500 } },
  contracts: {
    ComputeFutures: {
      abi,
      chain: "base",
      address: process.env.BENCH_CONTRACT as `0x${string}`,
      startBlock: Number(process.env.BENCH_START_BLOCK ?? 0),
    },
  },
});
