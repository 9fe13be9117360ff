// Names of accounts: the contract's number, and the short id that people read to each other.

const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
/** Chain numbers inside a futures id. */
const CHAINS = ['eip155:8453', 'solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp', 'eip155:84532', 'solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1'];

/** CRC-8 (x^8 + x^2 + x + 1) of 32 bits, most significant first. */
function crc8(payload: number): number {
  let crc = 0;
  for (const shift of [24, 16, 8, 0]) {
    crc ^= (payload >>> shift) & 0xff;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x80 ? ((crc << 1) ^ 0x07) & 0xff : crc << 1;
  }
  return crc;
}

/**
 * The account that an id names: `4294967297`, or `CFE-00000087` with the operator it is an account of.
 * @throws when it is neither, is mistyped, or names an account on another network.
 */
export function accountId(id: string | bigint, network: string, operatorIndex?: number): bigint {
  const text = String(id).trim().toUpperCase();
  if (/^\d+$/.test(text)) return BigInt(text);
  const code = /^CFE-([0-9A-Z]{8})$/.exec(text)?.[1]?.replaceAll('O', '0').replaceAll(/[IL]/g, '1');
  if (!code || [...code].some((c) => !ALPHABET.includes(c))) throw new Error(`${id} is no account: write 4294967297 or CFE-00000087`);
  const bits = [...code].reduce((sum, c) => (sum << 5n) | BigInt(ALPHABET.indexOf(c)), 0n);
  const payload = Number(bits >> 8n);
  if (crc8(payload) !== Number(bits & 0xffn)) throw new Error(`${id} is mistyped: its checksum does not match`);
  const [chain, sequence] = [CHAINS[payload >>> 28], payload & 0x0fffffff];
  if (chain !== network) throw new Error(`${id} is an account on ${chain ?? 'an unknown chain'}, not on ${network}`);
  if (!operatorIndex || !sequence) throw new Error(`${id} names an account of an operator: say which with operatorIndex`);
  return (BigInt(operatorIndex) << 32n) | BigInt(sequence);
}
