// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title ComputeEscrow: a budget for agents, spent session by session, never handed to them
/// @notice A creator funds an escrow with USDC. Its agents open sessions with providers of the registry: the session's limit is
/// reserved, nothing is paid. The session's meter signs what it cost; closing pays the provider that much, at most the limit,
/// and gives the rest back to the escrow. A session that nobody closed lapses at its deadline. What is not reserved goes back to
/// the creator any time, everything after the expiry. There is no admin, no pause and no upgrade (I-9).
/// The promises are in docs/INVARIANTS.md, how it fits together in docs/marketplace.md, why in docs/adr/014-marketplace.md.
/// @dev Amounts are micro-USDC (6 decimals), times are Unix seconds. `escrowId` counts from 1.
/// `sessionId` = escrowId (high 32 bits) | sequence within the escrow (low 32 bits, from 1); never given twice.
interface IComputeEscrow {
    // ------------------------------------------------------------------ types

    /// @notice What a creator decides once, when the escrow is created; a deposit address commits to it.
    struct EscrowTerms {
        /// Gets back whatever is not spent; nobody else ever does.
        address creator;
        /// Last second in which sessions may be open. From the next on `expire` empties the escrow.
        uint40 expiry;
        /// Most one session may reserve; at least 1.
        uint48 sessionLimit;
        /// The only meter that sessions may name; zero leaves it to the agents. Whoever is agent, provider and meter at once can
        /// pay itself, so an escrow that is open to all must name one.
        address meter;
        /// True: anyone may open sessions. False: only agents on the list.
        bool openToAll;
        /// The first agents, at most 32; none when open to all.
        address[] agents;
    }

    /// @notice An escrow as a reader sees it.
    struct Escrow {
        address creator;
        /// Zero: agents choose.
        address meter;
        bool openToAll;
        /// Emptied by `expire`, for good.
        bool closed;
        uint40 expiry;
        uint48 sessionLimit;
        /// Sequence of the newest session.
        uint32 sessionCount;
        /// Free for sessions and for `refund`.
        uint56 unreserved;
        /// Held by open sessions.
        uint56 reserved;
    }

    /// @notice What an agent asks for.
    struct SessionRequest {
        uint32 escrowId;
        uint32 providerId;
        /// Hash of the provider's content the agent agreed to: its prices. Must be the present one.
        bytes32 contentHash;
        /// Key that will sign the cost: a plain key (ECDSA), not a contract.
        address meter;
        /// Most the session may cost; reserved at once.
        uint48 limit;
        /// Last second in which the session can be closed: at most the escrow's expiry, and 30 days from now.
        uint40 deadline;
    }

    enum SessionState {
        /// Never opened.
        None,
        Open,
        /// Paid; the receipts' root is kept.
        Closed,
        /// Not closed in time; the reservation went back.
        Lapsed
    }

    /// @notice A session as a reader sees it. Once closed only `state` and `receiptsRoot` remain, the rest is in its events.
    struct Session {
        SessionState state;
        uint32 providerId;
        /// Version of the provider's content the session was opened at (I-11).
        uint32 providerVersion;
        address meter;
        uint48 limit;
        uint40 deadline;
        /// The first 31 bytes of the root, then zero.
        bytes32 receiptsRoot;
    }

    /// @notice What a session cost, signed by its meter: EIP-712 `SessionCost(uint64 sessionId,uint32 providerId,uint48 cost,uint32
    /// receiptCount,bytes32 receiptsRoot)`, in the compact form of EIP-2098.
    struct SessionClose {
        uint64 sessionId;
        uint48 cost;
        uint32 receiptCount;
        /// Merkle root of the session's receipts (I-7), as `verifyReceipt` takes them.
        bytes32 receiptsRoot;
        bytes32 r;
        bytes32 vs;
    }

    /// @notice Why a row of a batch changed nothing (I-6).
    enum Rejection {
        None,
        /// Never opened, or closed or lapsed before.
        NotOpen,
        /// Too late to close.
        DeadlinePassed,
        /// Too early to lapse.
        DeadlineNotPassed,
        /// Not signed by the session's meter.
        InvalidSignature
    }

    /// @notice Gasless funding: EIP-3009 `ReceiveWithAuthorization` whose nonce is `createNonce(...)` or `fundNonce(...)`.
    struct FundingAuthorization {
        uint56 amount;
        uint256 validAfter;
        uint256 validBefore;
        bytes32 salt;
    }

    // ----------------------------------------------------------------- events

    /// @notice An escrow came to be, on these terms; an `AgentAdded` for each first agent and `EscrowFunded` follow.
    event EscrowCreated(
        uint32 indexed escrowId,
        address indexed creator,
        uint40 expiry,
        uint48 sessionLimit,
        address meter,
        bool openToAll
    );
    /// @notice `amount` came in from `payer` (for a sweep, the deposit address); `unreserved` is the escrow's after it.
    event EscrowFunded(uint32 indexed escrowId, address indexed payer, uint56 amount, uint56 unreserved);
    /// @notice A deposit address was emptied into the escrow; the same amount as in `EscrowFunded`.
    event Swept(uint32 indexed escrowId, address indexed depositAddress, uint56 amount);
    /// @notice Tokens went from a deposit address back to the creator without becoming a budget.
    event Recovered(address indexed depositAddress, address indexed creator, address indexed token, uint256 amount);
    /// @notice `agent` may open sessions.
    event AgentAdded(uint32 indexed escrowId, address indexed agent);
    /// @notice `agent` may open no more sessions. Those it opened go on.
    event AgentRemoved(uint32 indexed escrowId, address indexed agent);
    /// @notice `limit` moved from unreserved to reserved. `bySignature`: relayed, the agent's nonce rose by one.
    event SessionOpened(
        uint64 indexed sessionId,
        address indexed agent,
        uint32 indexed providerId,
        uint32 providerVersion,
        bytes32 contentHash,
        address meter,
        uint48 limit,
        uint40 deadline,
        bool bySignature
    );
    /// @notice The session is over: `cost` became the provider's earnings, the rest of its limit is unreserved again.
    /// `receiptCount` is the meter's statement.
    event SessionClosed(
        uint64 indexed sessionId, uint32 indexed providerId, uint48 cost, uint32 receiptCount, bytes32 receiptsRoot
    );
    /// @notice The meter signed more than the limit (I-10): `uncovered` was not paid. Follows the session's `SessionClosed`.
    event SessionShortfall(uint64 indexed sessionId, uint48 uncovered);
    /// @notice Nobody closed the session in time: `released`, its whole limit, went back to unreserved.
    event SessionLapsed(uint64 indexed sessionId, uint48 released);
    /// @notice A row of `caller`'s batch changed nothing. Anyone can cause it: it says nothing about the session.
    event SessionRejected(uint64 indexed sessionId, address indexed caller, Rejection reason);
    /// @notice `amount` of unreserved money went back to the creator; `unreserved` is left.
    event EscrowRefunded(uint32 indexed escrowId, address indexed creator, uint56 amount, uint56 unreserved);
    /// @notice The escrow is over: everything in it, `amount`, went to the creator. Sessions still open lapsed with it, with no
    /// event of their own.
    event EscrowExpired(uint32 indexed escrowId, address indexed creator, uint56 amount);
    /// @notice The provider's owner took `amount` of its earnings to `to`.
    event EarningsWithdrawn(uint32 indexed providerId, address indexed to, uint64 amount);

    // ----------------------------------------------------------------- errors

    /// @notice The token has no code or not six decimals.
    error ComputeEscrow_InvalidToken(address token);
    /// @notice The registry has no code.
    error ComputeEscrow_InvalidRegistry(address registry);
    /// @notice `field` is at fault: creator, expiry (in the past), sessionLimit (zero), meter (none, though open to all), agents
    /// (too many, or some though open to all).
    error ComputeEscrow_InvalidTerms(string field);
    /// @notice No escrow has this id.
    error ComputeEscrow_UnknownEscrow(uint32 escrowId);
    /// @notice Its expiry has passed: no money in, no sessions.
    error ComputeEscrow_Expired(uint32 escrowId, uint40 expiry);
    /// @notice Its expiry has not passed.
    error ComputeEscrow_NotExpired(uint32 escrowId, uint40 expiry);
    /// @notice It was emptied by `expire`.
    error ComputeEscrow_EscrowClosed(uint32 escrowId);
    /// @notice Only the creator may do this (`escrowId` is zero where there is no escrow yet).
    error ComputeEscrow_NotCreator(uint32 escrowId, address caller);
    /// @notice The address is zero, or the escrow is open to all and has no list.
    error ComputeEscrow_InvalidAgent(uint32 escrowId, address agent);
    /// @notice On the list already, or not on it.
    error ComputeEscrow_AgentUnchanged(uint32 escrowId, address agent);
    /// @notice Not on the escrow's list of agents.
    error ComputeEscrow_NotAgent(uint32 escrowId, address caller);
    /// @notice The agent did not sign this request with its next nonce, for this chain and contract.
    error ComputeEscrow_InvalidAgentSignature(uint32 escrowId, address agent, uint32 nonce);
    /// @notice The meter is zero, or not the one the escrow names.
    error ComputeEscrow_InvalidMeter(uint32 escrowId, address meter);
    /// @notice The provider is unknown or retired (`current` is zero), or its content is another than the request names (I-11).
    error ComputeEscrow_ProviderChanged(uint32 providerId, bytes32 current, bytes32 requested);
    /// @notice The limit is zero or above the escrow's `sessionLimit`.
    error ComputeEscrow_InvalidLimit(uint48 limit, uint48 sessionLimit);
    /// @notice The deadline is past or beyond `latest`.
    error ComputeEscrow_InvalidDeadline(uint40 deadline, uint40 latest);
    /// @notice Less is free than asked for (I-1).
    error ComputeEscrow_InsufficientUnreserved(uint32 escrowId, uint56 unreserved, uint56 requested);
    /// @notice The escrow has opened 2^32 - 1 sessions.
    error ComputeEscrow_SessionsExhausted(uint32 escrowId);
    /// @notice Never opened, or closed or lapsed before.
    error ComputeEscrow_SessionNotOpen(uint64 sessionId);
    /// @notice Too late to close.
    error ComputeEscrow_DeadlinePassed(uint64 sessionId, uint40 deadline);
    /// @notice Too early to lapse.
    error ComputeEscrow_DeadlineNotPassed(uint64 sessionId, uint40 deadline);
    /// @notice Not signed by the session's meter.
    error ComputeEscrow_InvalidMeterSignature(uint64 sessionId);
    /// @notice Funding of nothing.
    error ComputeEscrow_NothingToFund();
    /// @notice The escrow would hold more than 56 bits (72 billion USDC).
    error ComputeEscrow_BudgetOverflow(uint256 total);
    /// @notice Nothing is unreserved.
    error ComputeEscrow_NothingToRefund(uint32 escrowId);
    /// @notice The deposit address holds nothing.
    error ComputeEscrow_NothingToSweep(address depositAddress);
    /// @notice Another amount arrived than was asked for (I-1).
    error ComputeEscrow_TokenAmountMismatch(uint256 expected, uint256 received);
    /// @notice Only the owner of the provider may withdraw what it earned.
    error ComputeEscrow_NotProviderOwner(uint32 providerId, address caller);
    /// @notice The recipient is zero or this contract.
    error ComputeEscrow_InvalidRecipient(address to);
    /// @notice More than was earned (I-1).
    error ComputeEscrow_InsufficientEarnings(uint64 available, uint64 requested);

    // ----------------------------------------------------------------- budget

    /// @notice Creates an escrow with the caller's USDC (allowance needed); the caller is its creator.
    /// @dev Emits `EscrowCreated`, `AgentAdded`…, `EscrowFunded`. Reverts: `NotCreator`, `InvalidTerms`, `InvalidAgent`,
    /// `AgentUnchanged` (an agent twice), `NothingToFund`, `TokenAmountMismatch`.
    function create(EscrowTerms calldata terms, uint56 amount) external returns (uint32 escrowId);

    /// @notice Creates an escrow, relayed by anyone: the creator signed EIP-3009 `ReceiveWithAuthorization(from: creator, to: this,
    /// value: amount, validAfter, validBefore, nonce: createNonce(terms, salt))`; contract wallets (EIP-1271) sign too.
    /// @dev Emits and reverts as `create`, without `NotCreator`; the token refuses any other signature.
    function createWithAuthorization(
        EscrowTerms calldata terms,
        FundingAuthorization calldata authorization,
        bytes calldata signature
    ) external returns (uint32 escrowId);

    /// @notice Adds the caller's USDC to an escrow. Anyone may; it is the creator's then.
    /// @dev Emits `EscrowFunded`. Reverts: `UnknownEscrow`, `Expired`, `NothingToFund`, `BudgetOverflow`, `TokenAmountMismatch`.
    function fund(uint32 escrowId, uint56 amount) external;

    /// @notice Adds the USDC of `payer`, relayed by anyone, by an EIP-3009 signature as for `createWithAuthorization` with nonce
    /// `fundNonce(escrowId, creator of the escrow, salt)`.
    /// @dev Emits and reverts as `fund`; the token refuses any other signature.
    function fundWithAuthorization(
        uint32 escrowId,
        address payer,
        FundingAuthorization calldata authorization,
        bytes calldata signature
    ) external;

    /// @notice Turns what lies at the deposit address of these terms into a budget: the first sweep creates the escrow, later ones
    /// fund it. Anyone may call.
    /// @dev Emits as `create` or `fund`, then `Swept`. Reverts: `NothingToSweep`, `InvalidTerms`, `InvalidAgent`, `AgentUnchanged`,
    /// `Expired`, `BudgetOverflow`; `recover` works in all these cases.
    function sweep(EscrowTerms calldata terms) external returns (uint32 escrowId);

    /// @notice Sends any token from a deposit address to the creator in its terms. The creator may call any time, anyone after the
    /// expiry.
    /// @dev Emits `Recovered`. Reverts: `NotCreator`, `NothingToSweep`. `amount` is in the token's own units.
    function recover(EscrowTerms calldata terms, address token) external returns (uint256 amount);

    /// @notice The creator lets an agent open sessions.
    /// @dev Emits `AgentAdded`. Reverts: `UnknownEscrow`, `NotCreator`, `InvalidAgent`, `AgentUnchanged`.
    function addAgent(uint32 escrowId, address agent) external;

    /// @notice The creator takes an agent off the list. Its open sessions go on; requests it signed before are void, unless it comes
    /// back before its nonce moved on.
    /// @dev Emits `AgentRemoved`. Reverts: `UnknownEscrow`, `NotCreator`, `AgentUnchanged`.
    function removeAgent(uint32 escrowId, address agent) external;

    // --------------------------------------------------------------- sessions

    /// @notice The calling agent opens a session: `limit` is reserved.
    /// @dev Emits `SessionOpened`. Reverts: `UnknownEscrow`, `NotAgent`, `InvalidMeter`, `ProviderChanged`, `InvalidLimit`,
    /// `InvalidDeadline` (always when the escrow has expired), `InsufficientUnreserved`, `SessionsExhausted`.
    function openSession(SessionRequest calldata request) external returns (uint64 sessionId);

    /// @notice The same, relayed by anyone: `agent` (EIP-1271 too) signed EIP-712 `OpenSession(uint32 escrowId,bytes32 agent,uint32
    /// nonce,uint32 providerId,bytes32 contentHash,bytes32 meter,uint48 limit,uint40 deadline)` with its next nonce in this escrow;
    /// addresses are left-padded to 32 bytes. Domain: name "ComputeEscrow", version "1", chain id, this contract.
    /// @dev Emits `SessionOpened`. Reverts as `openSession`, and `InvalidAgentSignature` (a replay too: the nonce has moved on).
    function openSessionWithSignature(SessionRequest calldata request, address agent, bytes calldata signature)
        external
        returns (uint64 sessionId);

    /// @notice Closes a session at the cost its meter signed; anyone may bring it, until the deadline. Cost above the limit is
    /// cut to the limit and reported (I-10).
    /// @dev Emits `SessionClosed`, and `SessionShortfall` if it was cut. Reverts: `SessionNotOpen`, `DeadlinePassed`,
    /// `InvalidMeterSignature`.
    function closeSession(SessionClose calldata close) external;

    /// @notice Closes many. A row that cannot be closed is reported and blocks nothing (I-6): no row reverts, no row calls out.
    /// @dev Emits a row as `closeSession`, or `SessionRejected`.
    /// @return closed How many were.
    function closeSessions(SessionClose[] calldata closes) external returns (uint256 closed);

    /// @notice After the deadline of a session nobody closed, anyone gives its reservation back to the escrow.
    /// @dev Emits `SessionLapsed`. Reverts: `SessionNotOpen` (also when the escrow was emptied), `DeadlineNotPassed`.
    function lapseSession(uint64 sessionId) external;

    /// @notice The same for many; rows as in `closeSessions`.
    /// @return lapsed How many were.
    function lapseSessions(uint64[] calldata sessionIds) external returns (uint256 lapsed);

    // ------------------------------------------------------------------- exit

    /// @notice Pays the creator what is unreserved, at most `amount` (I-4). Any time.
    /// @dev Emits `EscrowRefunded`. Reverts: `UnknownEscrow`, `NotCreator`, `NothingToRefund`; when USDC refuses the creator
    /// (nothing is lost, call again).
    /// @return paid What was paid.
    function refund(uint32 escrowId, uint56 amount) external returns (uint56 paid);

    /// @notice After the expiry anyone closes the escrow: all of it, reservations too (every deadline has passed), goes to the
    /// creator (I-4).
    /// @dev Emits `EscrowExpired`. Reverts: `UnknownEscrow`, `EscrowClosed`, `NotExpired`; when USDC refuses the creator.
    function expire(uint32 escrowId) external returns (uint56 paid);

    /// @notice The provider's owner takes earnings to an address of its choice, retired or not.
    /// @dev Emits `EarningsWithdrawn`. Reverts: `NotProviderOwner`, `InvalidRecipient`, `InsufficientEarnings`; when USDC refuses `to`.
    function withdraw(uint32 providerId, address to, uint64 amount) external;

    // ------------------------------------------------------------------ views

    /// @notice USDC.
    function token() external view returns (address);
    /// @notice The ProviderRegistry.
    function registry() external view returns (address);
    /// @notice The code behind every deposit address (EIP-1167 clones of it, as in ComputeFutures).
    function vaultImplementation() external view returns (address);
    /// @notice Escrows have the ids 1 to this.
    function escrowCount() external view returns (uint32);
    /// @notice An escrow; all zero when there is none of this id.
    function escrow(uint32 escrowId) external view returns (Escrow memory);
    /// @notice A session; all zero when there is none of this id.
    function session(uint64 sessionId) external view returns (Session memory);
    /// @notice Whether `agent` may open sessions, and the nonce of its next signed request (from 0).
    function agentOf(uint32 escrowId, address agent) external view returns (bool allowed, uint32 nonce);
    /// @notice What a provider has earned and not withdrawn.
    function earnings(uint32 providerId) external view returns (uint64);
    /// @notice The escrow that this deposit address feeds, or zero.
    function escrowOfDepositAddress(address depositAddress_) external view returns (uint32);
    /// @notice The address to which any plain USDC transfer becomes the budget of these terms once swept: CREATE2 with the terms'
    /// hash as salt.
    function depositAddress(EscrowTerms calldata terms) external view returns (address);
    /// @notice The EIP-712 struct hash of `EscrowTerms(bytes32 creator,uint40 expiry,uint48 sessionLimit,bytes32 meter,bool
    /// openToAll,bytes32[] agents)`.
    function hashTerms(EscrowTerms calldata terms) external pure returns (bytes32);
    /// @notice The EIP-3009 nonce of `createWithAuthorization`: keccak256(abi.encode(hashTerms(terms), salt)).
    function createNonce(EscrowTerms calldata terms, bytes32 salt) external pure returns (bytes32);
    /// @notice The EIP-3009 nonce of `fundWithAuthorization`: keccak256(abi.encode(escrowId, creator, salt)). It names the creator
    /// because ids are counted: after a reorganisation one may be another's.
    function fundNonce(uint32 escrowId, address creator, bytes32 salt) external pure returns (bytes32);
    /// @notice Whether a receipt is of a closed session (I-7). `receiptHash` is the EIP-712 digest of the receipt; the leaf is
    /// keccak256(bytes.concat(keccak256(abi.encode(receiptHash)))), pairs are sorted. 31 bytes of the root are compared.
    function verifyReceipt(uint64 sessionId, bytes32 receiptHash, bytes32[] calldata proof) external view returns (bool);
}
