// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

import {UsdcCustody} from "./base/UsdcCustody.sol";
import {IComputeEscrow} from "./interfaces/IComputeEscrow.sol";
import {IProviderRegistry} from "./interfaces/IProviderRegistry.sol";
import {Budget, BudgetLib} from "./libraries/Budget.sol";
import {MarketHashes} from "./libraries/MarketHashes.sol";
import {AgentRecord, EscrowRecord, SessionRecord} from "./libraries/MarketRecords.sol";
import {SessionWord, SessionWordLib} from "./libraries/SessionWord.sol";

/// @title ComputeEscrow
/// @notice See IComputeEscrow: everything a caller needs to know stands there.
/// @dev Reading order: storage, budget, sessions, exit, views, and the private steps they share. Layouts: ADR 014.
contract ComputeEscrow is IComputeEscrow, UsdcCustody, EIP712, ReentrancyGuardTransient {
    /// @dev No session holds money longer than this: an agent gone bad can block a budget, but not for long (I-4).
    uint256 private constant MAX_SESSION = 30 days;
    uint256 private constant MAX_FIRST_AGENTS = 32;

    IProviderRegistry private immutable REGISTRY;

    /// @inheritdoc IComputeEscrow
    uint32 public escrowCount;
    uint32 private _meterCount;
    mapping(uint32 escrowId => EscrowRecord) private _escrows;
    mapping(uint32 escrowId => mapping(address agent => AgentRecord)) private _agents;
    mapping(uint64 sessionId => SessionRecord) private _sessions;
    mapping(address meter => uint32) private _meterIndexOf;
    mapping(uint32 meterIndex => address) private _meters;
    /// @dev Below 2^64; whole words are cheaper to add to.
    mapping(uint32 providerId => uint256) private _earnings;
    /// @inheritdoc IComputeEscrow
    mapping(address depositAddress_ => uint32) public escrowOfDepositAddress;

    /// @param token_ USDC: must have code and six decimals.
    /// @param registry_ The ProviderRegistry: must have code.
    constructor(IERC20 token_, IProviderRegistry registry_) UsdcCustody(token_) EIP712("ComputeEscrow", "1") {
        if (address(registry_).code.length == 0) revert ComputeEscrow_InvalidRegistry(address(registry_));
        REGISTRY = registry_;
    }

    // ----------------------------------------------------------------- budget

    /// @inheritdoc IComputeEscrow
    function create(EscrowTerms calldata terms, uint56 amount) external nonReentrant returns (uint32 escrowId) {
        if (msg.sender != terms.creator) revert ComputeEscrow_NotCreator(0, msg.sender);
        escrowId = _create(terms);
        _fund(escrowId, msg.sender, amount);
        _pull(amount);
    }

    /// @inheritdoc IComputeEscrow
    function createWithAuthorization(
        EscrowTerms calldata terms,
        FundingAuthorization calldata authorization,
        bytes calldata signature
    ) external nonReentrant returns (uint32 escrowId) {
        escrowId = _create(terms);
        _fund(escrowId, terms.creator, authorization.amount);
        _pullWithAuthorization(terms.creator, authorization, createNonce(terms, authorization.salt), signature);
    }

    /// @inheritdoc IComputeEscrow
    function fund(uint32 escrowId, uint56 amount) external nonReentrant {
        _fund(escrowId, msg.sender, amount);
        _pull(amount);
    }

    /// @inheritdoc IComputeEscrow
    function fundWithAuthorization(
        uint32 escrowId,
        address payer,
        FundingAuthorization calldata authorization,
        bytes calldata signature
    ) external nonReentrant {
        _fund(escrowId, payer, authorization.amount);
        bytes32 nonce = fundNonce(escrowId, _escrows[escrowId].creator, authorization.salt);
        _pullWithAuthorization(payer, authorization, nonce, signature);
    }

    /// @inheritdoc IComputeEscrow
    function sweep(EscrowTerms calldata terms) external nonReentrant returns (uint32 escrowId) {
        address vault = _vault(MarketHashes.terms(terms));
        uint256 amount = TOKEN.balanceOf(vault);
        if (amount == 0) revert ComputeEscrow_NothingToSweep(vault);
        escrowId = escrowOfDepositAddress[vault];
        if (escrowId == 0) {
            escrowId = _create(terms);
            escrowOfDepositAddress[vault] = escrowId;
        }
        _fund(escrowId, vault, amount);
        emit Swept(escrowId, vault, uint56(amount));
        _pullFromVault(vault, amount);
    }

    /// @inheritdoc IComputeEscrow
    function recover(EscrowTerms calldata terms, address token_) external nonReentrant returns (uint256 amount) {
        address vault = _vault(MarketHashes.terms(terms));
        if (msg.sender != terms.creator && block.timestamp <= terms.expiry) {
            revert ComputeEscrow_NotCreator(escrowOfDepositAddress[vault], msg.sender);
        }
        amount = _recover(vault, token_, terms.creator);
        emit Recovered(vault, terms.creator, token_, amount);
    }

    /// @inheritdoc IComputeEscrow
    function addAgent(uint32 escrowId, address agent) external {
        _requireCreator(escrowId);
        _addAgent(escrowId, agent);
    }

    /// @inheritdoc IComputeEscrow
    function removeAgent(uint32 escrowId, address agent) external {
        _requireCreator(escrowId);
        AgentRecord storage record = _agents[escrowId][agent];
        if (!record.allowed) revert ComputeEscrow_AgentUnchanged(escrowId, agent);
        record.allowed = false;
        emit AgentRemoved(escrowId, agent);
    }

    // --------------------------------------------------------------- sessions

    /// @inheritdoc IComputeEscrow
    function openSession(SessionRequest calldata request) external returns (uint64 sessionId) {
        sessionId = _openSession(request, msg.sender, false);
    }

    /// @inheritdoc IComputeEscrow
    function openSessionWithSignature(SessionRequest calldata request, address agent, bytes calldata signature)
        external
        returns (uint64 sessionId)
    {
        AgentRecord storage record = _agents[request.escrowId][agent];
        uint32 nonce = record.nonce;
        bytes32 digest = _hashTypedDataV4(MarketHashes.openSession(request, agent, nonce));
        if (!SignatureChecker.isValidSignatureNowCalldata(agent, digest, signature)) {
            revert ComputeEscrow_InvalidAgentSignature(request.escrowId, agent, nonce);
        }
        record.nonce = nonce + 1; // I-5
        sessionId = _openSession(request, agent, true);
    }

    /// @inheritdoc IComputeEscrow
    function closeSession(SessionClose calldata close) external {
        Rejection rejection = _close(close, _domainSeparatorV4());
        if (rejection == Rejection.None) return;
        uint64 sessionId = close.sessionId;
        if (rejection == Rejection.NotOpen) revert ComputeEscrow_SessionNotOpen(sessionId);
        if (rejection == Rejection.DeadlinePassed) {
            revert ComputeEscrow_DeadlinePassed(sessionId, _sessions[sessionId].word.deadline());
        }
        revert ComputeEscrow_InvalidMeterSignature(sessionId);
    }

    /// @inheritdoc IComputeEscrow
    function closeSessions(SessionClose[] calldata closes) external returns (uint256 closed) {
        bytes32 domainSeparator = _domainSeparatorV4();
        for (uint256 i; i < closes.length; ++i) {
            Rejection rejection = _close(closes[i], domainSeparator);
            if (rejection == Rejection.None) ++closed;
            else emit SessionRejected(closes[i].sessionId, msg.sender, rejection); // I-6
        }
    }

    /// @inheritdoc IComputeEscrow
    function lapseSession(uint64 sessionId) external {
        Rejection rejection = _lapse(sessionId);
        if (rejection == Rejection.NotOpen) revert ComputeEscrow_SessionNotOpen(sessionId);
        if (rejection == Rejection.DeadlineNotPassed) {
            revert ComputeEscrow_DeadlineNotPassed(sessionId, _sessions[sessionId].word.deadline());
        }
    }

    /// @inheritdoc IComputeEscrow
    function lapseSessions(uint64[] calldata sessionIds) external returns (uint256 lapsed) {
        for (uint256 i; i < sessionIds.length; ++i) {
            Rejection rejection = _lapse(sessionIds[i]);
            if (rejection == Rejection.None) ++lapsed;
            else emit SessionRejected(sessionIds[i], msg.sender, rejection); // I-6
        }
    }

    // ------------------------------------------------------------------- exit

    /// @inheritdoc IComputeEscrow
    function refund(uint32 escrowId, uint56 amount) external nonReentrant returns (uint56 paid) {
        EscrowRecord storage record = _requireCreator(escrowId);
        Budget budget = record.budget;
        paid = budget.unreserved();
        if (amount < paid) paid = amount;
        if (paid == 0) revert ComputeEscrow_NothingToRefund(escrowId);
        budget = budget.refund(paid);
        record.budget = budget;
        emit EscrowRefunded(escrowId, msg.sender, paid, budget.unreserved());
        _pay(msg.sender, paid);
    }

    /// @inheritdoc IComputeEscrow
    function expire(uint32 escrowId) external nonReentrant returns (uint56 paid) {
        EscrowRecord storage record = _escrows[escrowId];
        address creator = record.creator;
        if (creator == address(0)) revert ComputeEscrow_UnknownEscrow(escrowId);
        Budget budget = record.budget;
        if (budget.closed()) revert ComputeEscrow_EscrowClosed(escrowId);
        if (block.timestamp <= budget.expiry()) revert ComputeEscrow_NotExpired(escrowId, budget.expiry());
        // No deadline is later than the expiry, so nothing reserved can be claimed any more (I-4).
        paid = uint56(budget.totalWith(0));
        record.budget = budget.close();
        emit EscrowExpired(escrowId, creator, paid);
        _pay(creator, paid);
    }

    /// @inheritdoc IComputeEscrow
    function withdraw(uint32 providerId, address to, uint64 amount) external nonReentrant {
        if (msg.sender != REGISTRY.providerOwner(providerId)) {
            revert ComputeEscrow_NotProviderOwner(providerId, msg.sender);
        }
        if (to == address(0) || to == address(this)) revert ComputeEscrow_InvalidRecipient(to);
        uint64 available = earnings(providerId);
        if (amount > available) revert ComputeEscrow_InsufficientEarnings(available, amount); // I-1
        _earnings[providerId] = available - amount;
        emit EarningsWithdrawn(providerId, to, amount);
        _pay(to, amount);
    }

    // ------------------------------------------------------------------ views

    /// @inheritdoc IComputeEscrow
    function token() external view returns (address) {
        return address(TOKEN);
    }

    /// @inheritdoc IComputeEscrow
    function registry() external view returns (address) {
        return address(REGISTRY);
    }

    /// @inheritdoc IComputeEscrow
    function vaultImplementation() external view returns (address) {
        return VAULT;
    }

    /// @inheritdoc IComputeEscrow
    function escrow(uint32 escrowId) external view returns (Escrow memory) {
        EscrowRecord memory record = _escrows[escrowId];
        Budget budget = record.budget;
        return Escrow({
            creator: record.creator,
            meter: _meters[record.meterIndex],
            openToAll: record.openToAll,
            closed: budget.closed(),
            expiry: budget.expiry(),
            sessionLimit: budget.sessionLimit(),
            sessionCount: budget.sessionCount(),
            unreserved: budget.unreserved(),
            reserved: budget.reserved()
        });
    }

    /// @inheritdoc IComputeEscrow
    function session(uint64 sessionId) external view returns (Session memory result) {
        SessionWord word = _sessions[sessionId].word;
        result.state = word.state();
        if (result.state == SessionState.Closed) {
            result.receiptsRoot = word.receiptsRoot();
            return result;
        }
        // Emptying an escrow ends its sessions without touching each.
        if (result.state == SessionState.Open && _escrows[_escrowOf(sessionId)].budget.closed()) {
            result.state = SessionState.Lapsed;
        }
        result.providerId = word.providerId();
        result.providerVersion = word.providerVersion();
        result.meter = _meters[word.meterIndex()];
        result.limit = word.limit();
        result.deadline = word.deadline();
    }

    /// @inheritdoc IComputeEscrow
    function agentOf(uint32 escrowId, address agent) external view returns (bool allowed, uint32 nonce) {
        AgentRecord memory record = _agents[escrowId][agent];
        return (record.allowed || _escrows[escrowId].openToAll, record.nonce);
    }

    /// @inheritdoc IComputeEscrow
    function earnings(uint32 providerId) public view returns (uint64) {
        return uint64(_earnings[providerId]);
    }

    /// @inheritdoc IComputeEscrow
    function verifyReceipt(uint64 sessionId, bytes32 receiptHash, bytes32[] calldata proof)
        external
        view
        returns (bool)
    {
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(receiptHash))));
        return _sessions[sessionId].word.keeps(MerkleProof.processProofCalldata(proof, leaf)); // I-7
    }

    /// @inheritdoc IComputeEscrow
    function depositAddress(EscrowTerms calldata terms) external view returns (address) {
        return _vaultAddress(MarketHashes.terms(terms));
    }

    /// @inheritdoc IComputeEscrow
    function hashTerms(EscrowTerms calldata terms) external pure returns (bytes32) {
        return MarketHashes.terms(terms);
    }

    /// @inheritdoc IComputeEscrow
    function createNonce(EscrowTerms calldata terms, bytes32 salt) public pure returns (bytes32) {
        return keccak256(abi.encode(MarketHashes.terms(terms), salt));
    }

    /// @inheritdoc IComputeEscrow
    function fundNonce(uint32 escrowId, address creator, bytes32 salt) public pure returns (bytes32) {
        return keccak256(abi.encode(escrowId, creator, salt));
    }

    // ----------------------------------------------------------- shared steps

    function _create(EscrowTerms calldata terms) private returns (uint32 escrowId) {
        address creator = terms.creator;
        address meter = terms.meter;
        bool openToAll = terms.openToAll;
        address[] calldata agents = terms.agents;
        if (creator == address(0) || creator == address(this)) revert ComputeEscrow_InvalidTerms("creator");
        if (terms.expiry < block.timestamp) revert ComputeEscrow_InvalidTerms("expiry");
        if (terms.sessionLimit == 0) revert ComputeEscrow_InvalidTerms("sessionLimit");
        // Anyone could be agent, provider and meter at once, and pay itself.
        if (openToAll && meter == address(0)) revert ComputeEscrow_InvalidTerms("meter");
        if (agents.length > (openToAll ? 0 : MAX_FIRST_AGENTS)) revert ComputeEscrow_InvalidTerms("agents");

        escrowId = ++escrowCount;
        _escrows[escrowId] = EscrowRecord({
            budget: BudgetLib.create(terms.sessionLimit, terms.expiry),
            creator: creator,
            meterIndex: meter == address(0) ? 0 : _meterIndex(meter),
            openToAll: openToAll
        });
        emit EscrowCreated(escrowId, creator, terms.expiry, terms.sessionLimit, meter, openToAll);
        for (uint256 i; i < agents.length; ++i) {
            _addAgent(escrowId, agents[i]);
        }
    }

    function _fund(uint32 escrowId, address payer, uint256 amount) private {
        if (escrowId == 0 || escrowId > escrowCount) revert ComputeEscrow_UnknownEscrow(escrowId);
        if (amount == 0) revert ComputeEscrow_NothingToFund();
        EscrowRecord storage record = _escrows[escrowId];
        Budget budget = record.budget;
        if (block.timestamp > budget.expiry()) revert ComputeEscrow_Expired(escrowId, budget.expiry());
        uint256 total = budget.totalWith(amount);
        if (total > type(uint56).max) revert ComputeEscrow_BudgetOverflow(total);
        budget = budget.fund(amount);
        record.budget = budget;
        emit EscrowFunded(escrowId, payer, uint56(amount), budget.unreserved());
    }

    function _addAgent(uint32 escrowId, address agent) private {
        if (agent == address(0) || _escrows[escrowId].openToAll) revert ComputeEscrow_InvalidAgent(escrowId, agent);
        AgentRecord storage record = _agents[escrowId][agent];
        if (record.allowed) revert ComputeEscrow_AgentUnchanged(escrowId, agent);
        record.allowed = true;
        emit AgentAdded(escrowId, agent);
    }

    /// @dev The caller has made sure that `agent` wants this.
    function _openSession(SessionRequest calldata request, address agent, bool bySignature)
        private
        returns (uint64 sessionId)
    {
        uint32 escrowId = request.escrowId;
        EscrowRecord storage record = _escrows[escrowId];
        if (record.creator == address(0)) revert ComputeEscrow_UnknownEscrow(escrowId);
        if (!record.openToAll && !_agents[escrowId][agent].allowed) revert ComputeEscrow_NotAgent(escrowId, agent);

        address meter = request.meter;
        if (meter == address(0)) revert ComputeEscrow_InvalidMeter(escrowId, meter);
        uint32 meterIndex = _meterIndex(meter);
        if (record.meterIndex != 0 && record.meterIndex != meterIndex) {
            revert ComputeEscrow_InvalidMeter(escrowId, meter);
        }

        (uint32 version, bytes32 contentHash) = REGISTRY.current(request.providerId);
        if (contentHash == bytes32(0) || contentHash != request.contentHash) {
            revert ComputeEscrow_ProviderChanged(request.providerId, contentHash, request.contentHash); // I-11
        }

        uint48 limit = request.limit;
        uint40 deadline = request.deadline;
        sessionId = _reserve(record, escrowId, limit, deadline);
        _sessions[sessionId].word = SessionWordLib.open(meterIndex, request.providerId, version, limit, deadline);
        emit SessionOpened(
            sessionId, agent, request.providerId, version, contentHash, meter, limit, deadline, bySignature
        );
    }

    function _reserve(EscrowRecord storage record, uint32 escrowId, uint48 limit, uint40 deadline)
        private
        returns (uint64 sessionId)
    {
        Budget budget = record.budget;
        if (limit == 0 || limit > budget.sessionLimit()) {
            revert ComputeEscrow_InvalidLimit(limit, budget.sessionLimit()); // I-10
        }
        uint256 latest = block.timestamp + MAX_SESSION;
        if (latest > budget.expiry()) latest = budget.expiry();
        if (deadline < block.timestamp || deadline > latest) {
            revert ComputeEscrow_InvalidDeadline(deadline, uint40(latest)); // I-4
        }
        if (limit > budget.unreserved()) {
            revert ComputeEscrow_InsufficientUnreserved(escrowId, budget.unreserved(), limit); // I-1
        }
        if (budget.sessionCount() == type(uint32).max) revert ComputeEscrow_SessionsExhausted(escrowId);
        budget = budget.reserve(limit);
        record.budget = budget;
        sessionId = uint64(escrowId) << 32 | budget.sessionCount();
    }

    /// @dev Closes one session or says why not; never reverts, calls nobody but the precompile (I-6).
    function _close(SessionClose calldata row, bytes32 domainSeparator) private returns (Rejection) {
        uint64 sessionId = row.sessionId;
        uint48 cost = row.cost;
        SessionRecord storage record = _sessions[sessionId];
        SessionWord word = record.word;
        if (!word.isOpen()) return Rejection.NotOpen; // I-5
        if (block.timestamp > word.deadline()) return Rejection.DeadlinePassed;
        uint32 providerId = word.providerId();
        bytes32 structHash = MarketHashes.sessionCost(row, providerId);
        // A session closes once, so another form of the same signature is worth nothing; what recovers to nobody is zero, and
        // no meter is.
        address signer = ecrecover(
            MessageHashUtils.toTypedDataHash(domainSeparator, structHash),
            uint8(uint256(row.vs) >> 255) + 27,
            row.r,
            row.vs & ~bytes32(uint256(1) << 255)
        );
        if (signer != _meters[word.meterIndex()]) return Rejection.InvalidSignature; // I-10

        uint48 limit = word.limit();
        uint48 uncovered;
        unchecked {
            if (cost > limit) (uncovered, cost) = (cost - limit, limit); // I-10
            // A provider's earnings stay within what all escrows ever held: far below 64 bits.
            _earnings[providerId] += cost;
        }
        record.word = SessionWordLib.closed(row.receiptsRoot);
        EscrowRecord storage its = _escrows[_escrowOf(sessionId)];
        its.budget = its.budget.release(limit, cost);
        emit SessionClosed(sessionId, providerId, cost, row.receiptCount, row.receiptsRoot);
        if (uncovered != 0) emit SessionShortfall(sessionId, uncovered);
        return Rejection.None;
    }

    function _lapse(uint64 sessionId) private returns (Rejection) {
        SessionRecord storage record = _sessions[sessionId];
        SessionWord word = record.word;
        EscrowRecord storage its = _escrows[_escrowOf(sessionId)];
        Budget budget = its.budget;
        if (!word.isOpen() || budget.closed()) return Rejection.NotOpen;
        if (block.timestamp <= word.deadline()) return Rejection.DeadlineNotPassed;
        uint48 limit = word.limit();
        record.word = word.lapsed();
        its.budget = budget.release(limit, 0);
        emit SessionLapsed(sessionId, limit);
        return Rejection.None;
    }

    /// @dev A meter's number; it gets one when it is first named.
    function _meterIndex(address meter) private returns (uint32 index) {
        index = _meterIndexOf[meter];
        if (index == 0) {
            index = ++_meterCount;
            _meterIndexOf[meter] = index;
            _meters[index] = meter;
        }
    }

    function _escrowOf(uint64 sessionId) private pure returns (uint32) {
        return uint32(sessionId >> 32);
    }

    function _requireCreator(uint32 escrowId) private view returns (EscrowRecord storage record) {
        record = _escrows[escrowId];
        address creator = record.creator;
        if (creator == address(0)) revert ComputeEscrow_UnknownEscrow(escrowId);
        if (msg.sender != creator) revert ComputeEscrow_NotCreator(escrowId, msg.sender);
    }
}
