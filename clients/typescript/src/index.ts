export { accountId } from './account.js';
export { checkReceipt, readReceipt, ReceiptError, type SignedReceipt } from './receipt.js';
export { ComputeFuturesScheme, type CreditOptions, type CreditPayload } from './scheme.js';
export { checkSessionReceipt, runInference, signSessionCall, type Inference, type InferenceAnswer, type SessionOptions } from './session.js';
export { sign, verify, type EvmAccount, type Signer } from './signer.js';
export { digest, domainSeparator, requestHash } from './typed-data.js';
export type { Deployment, JobAuthorization, Receipt, SessionCall, SessionReceipt, Signable, SpendCeiling } from './typed-data.js';
