// Keys of both chains, as their own libraries hold them: a viem account, or a signer of @solana/kit.
import { createSignableMessage, getAddressEncoder, type Address, type MessagePartialSigner } from '@solana/kit';
import { hexToBytes, recoverAddress, type Hex } from 'viem';

import { digest, domainName, evmDomain, isSolana, TYPES, type Deployment, type Signable } from './typed-data.js';

/** A viem account (or anything that signs EIP-712 for an address). */
export interface EvmAccount {
  address: Hex;
  signTypedData(parameters: {
    domain: Record<string, unknown>;
    types: Record<string, unknown>;
    primaryType: string;
    message: Record<string, unknown>;
  }): Promise<Hex>;
}

/** A key of either chain: owner or delegate of the account that pays. */
export type Signer = EvmAccount | MessagePartialSigner;

/** Signs for a deployment; the signature is 0x-hex on both chains. */
export async function sign(signer: Signer, deployment: Deployment, signable: Signable): Promise<Hex> {
  if ('signTypedData' in signer) {
    const { primaryType, message } = signable;
    const domain = evmDomain(deployment, domainName(primaryType));
    return signer.signTypedData({ domain, types: TYPES, primaryType, message: { ...message } });
  }
  if (!isSolana(deployment)) throw new Error(`a Solana key cannot sign for ${deployment.network}; use a viem account`);
  const message = createSignableMessage(hexToBytes(digest(deployment, signable)));
  const signature = (await signer.signMessages([message]))[0]?.[signer.address];
  if (!signature) throw new Error('the signer returned no signature');
  return `0x${Buffer.from(signature).toString('hex')}`;
}

/** Whether `address` signed: by recovery on EVM chains, by verification on Solana. */
export async function verify(address: string, deployment: Deployment, signable: Signable, signature: Hex): Promise<boolean> {
  const hash = digest(deployment, signable);
  if (!isSolana(deployment)) {
    const signer = await recoverAddress({ hash, signature }).catch(() => '');
    return signer.toLowerCase() === address.toLowerCase();
  }
  const bytes = new Uint8Array(getAddressEncoder().encode(address as Address));
  const key = await crypto.subtle.importKey('raw', bytes, 'Ed25519', false, ['verify']);
  return crypto.subtle.verify('Ed25519', key, Buffer.from(signature.slice(2), 'hex'), Buffer.from(hash.slice(2), 'hex'));
}
