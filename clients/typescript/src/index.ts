export { accountId } from './account.js';
export { checkReceipt, readReceipt, ReceiptError, type SignedReceipt } from './receipt.js';
export { ComputeFuturesScheme, type CreditOptions, type CreditPayload } from './scheme.js';
export { sign, verify, type EvmAccount, type Signer } from './signer.js';
export { digest, domainSeparator, requestHash } from './typed-data.js';
export type { Deployment, JobAuthorization, Receipt, Signable, SpendCeiling } from './typed-data.js';
