// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title ComputeFutures: prepaid compute credit, drawn down job by job
/// @notice An owner prepays USDC with an operator at a volume discount. The operator posts debits in numbered batches,
/// never beyond the ceiling the owner signed. What is left goes back to the owner: at once with the operator's consent,
/// after the refund delay without it. There is no admin, no pause and no upgrade (I-9).
/// The promises I-1 to I-9 are in docs/INVARIANTS.md, what is assumed of the token and what can stand in the way in
/// docs/contracts.md, a page per verb in docs/operations.
/// @dev All amounts are micro-USDC (6 decimals), times are seconds, discounts are basis points.
/// `accountId` = operatorIndex (high 32 bits) | sequence (low 32 bits), both starting at 1. Sequences stop at 2^28 - 1 so that
/// every account has a futures id.
interface IComputeFutures {
    // ------------------------------------------------------------------ types

    /// @notice One step of a volume discount: from `minimumDeposit` in total deposits, `discountBps` off every job.
    struct Tier {
        uint56 minimumDeposit;
        uint16 discountBps;
    }

    /// @notice What an operator offers to accounts opened from now on.
    struct Terms {
        /// Seconds between `requestRefund` and `refund`; at most 30 days (I-4).
        uint32 refundDelay;
        /// Smallest amount that opens an account; above zero, below 2^48 (281 million USDC).
        uint56 minimumDeposit;
        /// keccak256 of the operator's rate card in canonical JSON.
        bytes32 rateCardHash;
        /// Up to three tiers, strictly rising in both fields; thresholds below 2^48, discounts from 1 to 9,999.
        Tier[] tiers;
    }

    /// @notice An account as a reader sees it. On chain: what a debit touches is one slot, the rest two more.
    struct Account {
        address owner;
        /// May sign spending (ceilings, jobs), never refunds. Zero when unset.
        address delegate;
        /// Deposited, less refunded.
        uint56 credit;
        /// Net of discount; only ever rises.
        uint56 charged;
        /// Cumulative cap on `charged`, signed by owner or delegate.
        uint56 ceiling;
        /// What the discount division left over, in 1/10,000 micro-USDC; below 10,000.
        uint16 remainder;
        /// The discount the total deposit has earned; binding from batch `discountFromBatch`.
        uint16 discountBps;
        /// The least discount for batches before `discountFromBatch`.
        uint16 previousDiscountBps;
        uint40 discountFromBatch;
        /// Zero: no refund requested. Otherwise the time (seconds) from which `refund` pays.
        uint40 refundableAt;
        uint32 termsVersion;
        bool closed;
    }

    /// @notice An operator as a reader sees it.
    struct Operator {
        address operator;
        uint32 termsVersion;
        /// Sequence of the newest account.
        uint32 lastSequence;
        /// Number of the newest batch; the next one posted must be this plus one.
        uint40 lastBatch;
        /// Not yet withdrawn.
        uint64 earnings;
    }

    /// @notice One row of a batch: `listAmount` is before discount. `discountBps` is what the receipts state; the contract
    /// never applies less than the account's floor for this batch.
    struct Debit {
        uint64 accountId;
        uint56 listAmount;
        uint16 discountBps;
    }

    /// @notice Gasless deposit: the owner signs EIP-3009 `ReceiveWithAuthorization` whose nonce is `depositNonce(...)`.
    struct DepositAuthorization {
        uint32 operatorIndex;
        address owner;
        /// Zero opens an account; otherwise the open account (of this owner and operator) to top up.
        uint64 accountId;
        uint56 amount;
        /// New ceiling, or zero to leave it.
        uint56 ceiling;
        uint256 validAfter;
        uint256 validBefore;
        bytes32 salt;
    }

    /// @notice What a deposit address commits to.
    struct DepositTerms {
        uint32 operatorIndex;
        address owner;
        /// Ceiling of the account that the first sweep opens; `type(uint56).max` lets it spend all it ever receives.
        uint56 ceiling;
        /// Goes to the operator's earnings at each sweep.
        uint56 fee;
    }

    // ----------------------------------------------------------------- events

    /// @notice Emitted by `setTerms`; the first one registers the operator.
    event TermsSet(
        uint32 indexed operatorIndex,
        address indexed operator,
        uint32 termsVersion,
        uint32 refundDelay,
        uint56 minimumDeposit,
        bytes32 rateCardHash,
        Tier[] tiers
    );
    /// @notice An account came to be, under the operator's terms of this version; `Deposited` follows.
    event AccountOpened(
        uint64 indexed accountId, address indexed owner, uint32 indexed operatorIndex, uint32 termsVersion
    );
    /// @notice Credit came in: `amount` more, `credit` in total, from `payer` (for a sweep, the deposit address).
    /// `discountBps` binds from `discountFromBatch`; before it, `previousDiscountBps` is the floor.
    event Deposited(
        uint64 indexed accountId,
        address indexed payer,
        uint56 amount,
        uint56 credit,
        uint16 discountBps,
        uint16 previousDiscountBps,
        uint40 discountFromBatch
    );
    /// @notice A deposit address was emptied: `amount` became credit (the same as in `Deposited`), `fee` came on top and became
    /// operator earnings.
    event Swept(uint64 indexed accountId, address indexed depositAddress, uint56 amount, uint56 fee);
    /// @notice The owner took tokens back from a deposit address without opening credit.
    event Recovered(address indexed depositAddress, address indexed owner, address indexed token, uint256 amount);
    /// @notice `charged` may now rise to `ceiling`; `signer` is the owner or delegate who said so (I-2).
    event CeilingRaised(uint64 indexed accountId, address indexed signer, uint56 ceiling);
    /// @notice The session key of the account is now `delegate`; zero is none.
    event DelegateSet(uint64 indexed accountId, address indexed delegate);
    /// @notice A batch was posted, once (I-5), after the events of its rows: `charged` in total became operator earnings.
    /// @param receiptsRoot Merkle root of the batch's receipts (I-7); `receiptCount` is the operator's statement.
    event BatchPosted(
        uint32 indexed operatorIndex,
        uint40 indexed batchNumber,
        bytes32 receiptsRoot,
        uint32 receiptCount,
        uint32 rowCount,
        uint64 charged
    );
    /// @notice `listAmount` at `discountBps` became `charged`; `totalCharged` and `remainder` are the account's after it.
    event Debited(
        uint64 indexed accountId,
        uint40 indexed batchNumber,
        uint56 listAmount,
        uint16 discountBps,
        uint56 charged,
        uint56 totalCharged,
        uint16 remainder
    );
    /// @notice A row could not be covered in full (I-6): `uncovered` is what was not charged, net of discount. Follows the row's
    /// `Debited`; alone, nothing was charged. The remainder is zero after it, except on an account without any credit (never
    /// opened, or closed unspent), which is left as it is.
    event DebitShortfall(uint64 indexed accountId, uint40 indexed batchNumber, uint56 listAmount, uint56 uncovered);
    /// @notice A row named an account of another operator: nothing was charged and nothing about that account changed.
    /// @dev Not a `DebitShortfall`, whose batch number would be read as the other operator's: nobody may write into the
    /// history of an account that is not theirs.
    event ForeignDebit(
        uint32 indexed operatorIndex, uint40 indexed batchNumber, uint64 indexed accountId, uint56 listAmount
    );
    /// @notice The owner is leaving: from `refundableAt` (seconds) `refund` pays. New jobs and deposits stop, debits may land.
    event RefundRequested(uint64 indexed accountId, address indexed owner, uint40 refundableAt);
    /// @notice The account is closed and everything unspent went to the owner. `byOperator`: the consent path.
    event Refunded(uint64 indexed accountId, address indexed owner, uint56 amount, bool byOperator);
    /// @notice The operator took `amount` of its earnings to `to`.
    event EarningsWithdrawn(uint32 indexed operatorIndex, address indexed to, uint64 amount);

    // ----------------------------------------------------------------- errors

    /// @notice The caller never registered with `setTerms`.
    error ComputeFutures_NotOperator(address caller);
    /// @notice No operator has this index.
    error ComputeFutures_UnknownOperator(uint32 operatorIndex);
    /// @notice No such account; or, in an authorisation, not an account of the operator named there.
    error ComputeFutures_UnknownAccount(uint64 accountId);
    /// @notice Only the owner may do this (`accountId` is zero where there is no account yet).
    error ComputeFutures_NotOwner(uint64 accountId, address caller);
    /// @notice Only the operator of the account may do this.
    error ComputeFutures_NotAccountOperator(uint64 accountId, address caller);
    /// @notice Only owner or delegate may raise the ceiling (I-2).
    error ComputeFutures_NotSpender(uint64 accountId, address caller);
    /// @notice Neither owner nor delegate signed this ceiling for this account, chain and contract (I-2).
    error ComputeFutures_InvalidSignature(uint64 accountId);
    /// @notice Closed accounts stay closed.
    error ComputeFutures_AccountClosed(uint64 accountId);
    /// @notice `reason` is the field at fault: refundDelay, minimumDeposit, tiers.length, tiers.minimumDeposit or tiers.discountBps.
    error ComputeFutures_InvalidTerms(string reason);
    /// @notice The owner is zero or this contract: nobody could ever take the money back.
    error ComputeFutures_InvalidOwner(address owner);
    /// @notice The recipient is zero or this contract.
    error ComputeFutures_InvalidRecipient(address to);
    /// @notice Below the minimum of the terms, or a top-up of zero.
    error ComputeFutures_DepositTooSmall(uint256 amount, uint256 minimum);
    /// @notice `credit` would not fit 56 bits (72 billion USDC).
    error ComputeFutures_CreditOverflow(uint256 credit);
    /// @notice A ceiling only rises.
    error ComputeFutures_CeilingNotRaised(uint56 present, uint56 requested);
    /// @notice Batches are numbered one by one per operator (I-5).
    error ComputeFutures_WrongBatchNumber(uint40 expected, uint40 given);
    /// @notice The token has no code or not six decimals.
    error ComputeFutures_InvalidToken(address token);
    /// @notice Another amount arrived than was asked for (I-1).
    error ComputeFutures_TokenAmountMismatch(uint256 expected, uint256 received);
    /// @notice The address holds no more than the fee, or nothing to recover.
    error ComputeFutures_NothingToSweep(address depositAddress, uint256 balance, uint256 fee);
    /// @notice The account is in its refund delay: no second request, no deposits.
    error ComputeFutures_RefundAlreadyRequested(uint64 accountId, uint40 refundableAt);
    /// @notice `requestRefund` comes first.
    error ComputeFutures_RefundNotRequested(uint64 accountId);
    /// @notice The delay runs until `refundableAt`.
    error ComputeFutures_RefundNotDue(uint64 accountId, uint40 refundableAt);
    /// @notice More than is there (I-1).
    error ComputeFutures_InsufficientEarnings(uint64 available, uint64 requested);
    /// @notice The operator has opened 2^28 - 1 accounts.
    error ComputeFutures_SequenceExhausted(uint32 operatorIndex);

    // --------------------------------------------------------------- operator

    /// @notice Publishes the caller's terms for accounts opened from now on; the first call registers the operator.
    /// @dev Open accounts keep the version they were opened under. Emits `TermsSet`. Reverts: `InvalidTerms`.
    function setTerms(Terms calldata terms) external returns (uint32 operatorIndex, uint32 termsVersion);

    /// @notice Charges accounts for a batch of jobs and stores the Merkle root of their receipts.
    /// @dev Reverts whole on a batch number out of order (I-5). Never reverts because of a row: an uncoverable, closed,
    /// unknown or foreign account is clamped (to zero if need be) and reported by `DebitShortfall` (I-6). On a clamp the
    /// remainder becomes zero: the fraction belongs to the shortfall. net = (list * (10000 - bps) + remainder) / 10000 with
    /// bps = max(floor, min(stated, 10000)), clamped to min(credit, ceiling) - charged (I-2, I-3; ADR 002).
    /// Emits `Debited`, `DebitShortfall` or `ForeignDebit` a row, then `BatchPosted`. Reverts: `NotOperator`, `WrongBatchNumber`.
    /// @param receiptsRoot Root over `keccak256(bytes.concat(keccak256(abi.encode(receiptHash))))`, sorted pairs.
    function postDebits(uint40 batchNumber, bytes32 receiptsRoot, uint32 receiptCount, Debit[] calldata rows) external;

    /// @notice Closes an account of the calling operator and pays everything unspent to its owner, now (I-4).
    /// @dev Emits `Refunded`. Reverts: `UnknownAccount`, `AccountClosed`, `NotAccountOperator`; when USDC refuses the owner.
    function closeAccount(uint64 accountId) external returns (uint56 amount);

    /// @notice Pays the calling operator's earnings to an address of its choice.
    /// @dev Emits `EarningsWithdrawn`. Reverts: `NotOperator`, `InvalidRecipient`, `InsufficientEarnings`; when USDC refuses `to`.
    function withdrawEarnings(address to, uint64 amount) external;

    // --------------------------------------------------------------- deposits

    /// @notice Opens an account for `owner` with the caller's USDC (allowance needed).
    /// @dev Emits `AccountOpened`, `Deposited`, and `CeilingRaised` if there is a ceiling. Reverts: `NotOwner`, `InvalidOwner`,
    /// `UnknownOperator`, `DepositTooSmall`, `SequenceExhausted`, `TokenAmountMismatch`.
    /// @param ceiling Must be zero unless the caller is the owner: nobody else may authorise spending (I-2).
    function deposit(uint32 operatorIndex, address owner, uint56 amount, uint56 ceiling)
        external
        returns (uint64 accountId);

    /// @notice Adds the caller's USDC to an open account. A non-zero `ceiling` needs owner or delegate as caller; one that is not
    /// higher than the present one leaves it.
    /// @dev The tier follows the total under the account's own terms; a higher one binds from batch lastBatch + 3 (I-3, ADR 002).
    /// Emits `Deposited`, and `CeilingRaised` if it rose. Reverts: `UnknownAccount`, `AccountClosed`, `NotSpender`,
    /// `RefundAlreadyRequested`, `DepositTooSmall`, `CreditOverflow`, `TokenAmountMismatch`.
    function topUp(uint64 accountId, uint56 amount, uint56 ceiling) external;

    /// @notice Gasless deposit or top-up, relayed by anyone.
    /// @dev `signature` is the owner's over USDC's `ReceiveWithAuthorization(from: owner, to: this, value: amount, validAfter,
    /// validBefore, nonce: depositNonce(...))`; contract wallets (EIP-1271) sign too. Emits and reverts as `deposit` or `topUp`;
    /// `NotOwner` or `UnknownAccount` when owner or operator do not fit the account; the token refuses any other signature.
    function depositWithAuthorization(DepositAuthorization calldata authorization, bytes calldata signature)
        external
        returns (uint64 accountId);

    /// @notice The EIP-3009 nonce an owner signs: keccak256(abi.encode(operatorIndex, owner, accountId, ceiling, salt)).
    function depositNonce(uint32 operatorIndex, address owner, uint64 accountId, uint56 ceiling, bytes32 salt)
        external
        pure
        returns (bytes32);

    /// @notice The address to which any plain USDC transfer becomes credit once swept.
    function depositAddress(DepositTerms calldata terms) external view returns (address);

    /// @notice Turns what lies at a deposit address, less the fee, into credit: opens its account with the committed ceiling, or
    /// tops up the one it opened (its ceiling stays). A closed account is followed by a new one.
    /// @dev Emits as `deposit` or `topUp`, then `Swept`. Reverts: `NothingToSweep`, `UnknownOperator`, `InvalidOwner`,
    /// `DepositTooSmall`, `CreditOverflow`, `RefundAlreadyRequested`, `SequenceExhausted`; `recover` works in all these cases.
    function sweep(DepositTerms calldata terms) external returns (uint64 accountId);

    /// @notice The owner takes any token back from its deposit address, no fee.
    /// @dev Emits `Recovered`. Reverts: `NotOwner`, `NothingToSweep`. `amount` is in the token's own units.
    function recover(DepositTerms calldata terms, address token) external returns (uint256 amount);

    // ------------------------------------------------------------------ spend

    /// @notice Raises the ceiling; caller is owner or delegate (I-2). It may lie above the credit; it never falls.
    /// @dev Emits `CeilingRaised`. Reverts: `UnknownAccount`, `AccountClosed`, `NotSpender`, `CeilingNotRaised`.
    function raiseCeiling(uint64 accountId, uint56 ceiling) external;

    /// @notice Raises the ceiling with an EIP-712 `SpendCeiling(uint64 accountId,uint56 ceiling)` signed by owner
    /// (EIP-1271 too) or delegate; relayed by anyone. Domain: name "ComputeFutures", version "1", chain id, this contract.
    /// @dev Emits `CeilingRaised`. Reverts: `UnknownAccount`, `AccountClosed`, `InvalidSignature`, `CeilingNotRaised` (a replay).
    function raiseCeilingWithSignature(uint64 accountId, uint56 ceiling, bytes calldata signature) external;

    /// @notice Owner sets (or with zero clears) the session key that may sign spending; never refunds (I-4).
    /// @dev Emits `DelegateSet`. Reverts: `UnknownAccount`, `AccountClosed`, `NotOwner`.
    function setDelegate(uint64 accountId, address delegate) external;

    // ------------------------------------------------------------------- exit

    /// @notice Owner starts the refund delay of the terms the account was opened under (I-4).
    /// @dev Emits `RefundRequested`. Reverts: `UnknownAccount`, `AccountClosed`, `NotOwner`, `RefundAlreadyRequested`.
    function requestRefund(uint64 accountId) external;

    /// @notice After the delay: closes the account for good and pays everything unspent to the owner (I-4).
    /// @dev Called by the owner. Emits `Refunded`. Reverts: `UnknownAccount`, `AccountClosed`, `NotOwner`, `RefundNotRequested`,
    /// `RefundNotDue`; when USDC refuses the owner (nothing is lost, call again).
    function refund(uint64 accountId) external returns (uint56 amount);

    // ------------------------------------------------------------------ views

    /// @notice USDC.
    function token() external view returns (address);
    /// @notice The code behind every deposit address. Off-chain, a deposit address is
    /// `keccak256(0xff ++ this ++ salt ++ keccak256(initCode))[12:]` with `salt = keccak256(abi.encode(operatorIndex, owner,
    /// ceiling, fee))` and `initCode = 0x3d602d80600a3d3981f3363d3d373d3d3d363d73 ++ vaultImplementation ++
    /// 0x5af43d82803e903d91602b57fd5bf3` (EIP-1167, as OpenZeppelin's Clones).
    function vaultImplementation() external view returns (address);
    /// @notice An account; all zero (owner too) when there is none of this id.
    function account(uint64 accountId) external view returns (Account memory);
    /// @notice An operator; all zero when there is none of this index.
    function operator(uint32 operatorIndex) external view returns (Operator memory);
    /// @notice Index of a registered operator, or zero.
    function operatorIndexOf(address operatorAddress) external view returns (uint32);
    /// @notice Operators have the indexes 1 to this.
    function operatorCount() external view returns (uint32);
    /// @notice Terms of an operator at a version (from 1); all zero when there are none.
    function terms(uint32 operatorIndex, uint32 termsVersion) external view returns (Terms memory);
    /// @notice Account that this deposit address feeds, or zero.
    function accountOfDepositAddress(address depositAddress_) external view returns (uint64);
    /// @notice Receipts' root of a posted batch; zero when it was not posted.
    function batchRoot(uint32 operatorIndex, uint40 batchNumber) external view returns (bytes32);

    /// @notice Whether a receipt is in a posted batch (I-7). `receiptHash` is the EIP-712 digest of the receipt; the leaf is
    /// keccak256(bytes.concat(keccak256(abi.encode(receiptHash)))), pairs are sorted.
    function verifyReceipt(uint32 operatorIndex, uint40 batchNumber, bytes32 receiptHash, bytes32[] calldata proof)
        external
        view
        returns (bool);
}
