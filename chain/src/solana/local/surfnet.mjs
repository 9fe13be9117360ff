// A local Solana RPC in one process: prints where it listens, ends with whoever started it.
// Arguments: the folder of Surfpool's native module, milliseconds between two slots.
import { createRequire } from 'node:module';

const [module, slotTimeMs] = process.argv.slice(-2);
const { Surfnet } = createRequire('/')(module);
const net = Surfnet.startWithConfig({ offline: true, blockProductionMode: 'clock', slotTimeMs: Number(slotTimeMs) });
// The channel of events has no bound.
setInterval(() => net.drainEvents(), 1000);
process.stdin.on('end', () => process.exit(0)).resume();
console.log(JSON.stringify({ rpc: net.rpcUrl, ws: net.wsUrl }));
