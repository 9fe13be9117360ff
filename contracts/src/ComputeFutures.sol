// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {DepositVault} from "./DepositVault.sol";
import {IComputeFutures} from "./interfaces/IComputeFutures.sol";
import {IReceiveWithAuthorization} from "./interfaces/IReceiveWithAuthorization.sol";
import {Meter, MeterLib} from "./libraries/Meter.sol";
import {PackedTerms, PackedTermsLib} from "./libraries/PackedTerms.sol";
import {Holder, OperatorState, TermsRecord} from "./libraries/Records.sol";

/// @title ComputeFutures
/// @notice See IComputeFutures: everything a caller needs to know stands there.
/// @dev Reading order: storage, operator verbs, deposits, spending, exit, views, and the few private steps they share.
contract ComputeFutures is IComputeFutures, EIP712, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @notice EIP-712 type hash of the one message this contract checks signatures of.
    bytes32 public constant SPEND_CEILING_TYPEHASH = keccak256("SpendCeiling(uint64 accountId,uint56 ceiling)");

    /// @dev Sequences fit 28 bits, so that every account has a futures id.
    uint32 private constant LAST_SEQUENCE = 2 ** 28 - 1;

    IERC20 private immutable TOKEN;
    /// @inheritdoc IComputeFutures
    address public immutable vaultImplementation;

    /// @inheritdoc IComputeFutures
    uint32 public operatorCount;
    /// @inheritdoc IComputeFutures
    mapping(address operatorAddress => uint32) public operatorIndexOf;
    mapping(uint32 operatorIndex => OperatorState) private _operators;
    mapping(uint32 operatorIndex => mapping(uint32 termsVersion => TermsRecord)) private _terms;
    mapping(uint32 operatorIndex => mapping(uint40 batchNumber => bytes32)) private _roots;
    mapping(uint64 accountId => Meter) private _meters;
    mapping(uint64 accountId => Holder) private _holders;
    mapping(uint64 accountId => address) private _delegates;
    /// @inheritdoc IComputeFutures
    mapping(address depositAddress_ => uint64) public accountOfDepositAddress;

    /// @param token_ USDC: must have code and six decimals.
    constructor(IERC20 token_) EIP712("ComputeFutures", "1") {
        (bool success, bytes memory answer) = address(token_).staticcall(abi.encodeCall(IERC20Metadata.decimals, ()));
        if (!success || answer.length != 32 || abi.decode(answer, (uint256)) != 6) {
            revert ComputeFutures_InvalidToken(address(token_));
        }
        TOKEN = token_;
        vaultImplementation = address(new DepositVault());
    }

    // --------------------------------------------------------------- operator

    /// @inheritdoc IComputeFutures
    function setTerms(Terms calldata terms) external returns (uint32 operatorIndex, uint32 termsVersion) {
        PackedTerms packed = PackedTermsLib.pack(terms);
        operatorIndex = operatorIndexOf[msg.sender];
        if (operatorIndex == 0) {
            operatorIndex = ++operatorCount;
            operatorIndexOf[msg.sender] = operatorIndex;
            _operators[operatorIndex].operator = msg.sender;
        }
        termsVersion = ++_operators[operatorIndex].termsVersion;
        _terms[operatorIndex][termsVersion] = TermsRecord(packed, terms.rateCardHash);
        emit TermsSet(
            operatorIndex,
            msg.sender,
            termsVersion,
            terms.refundDelay,
            terms.minimumDeposit,
            terms.rateCardHash,
            terms.tiers
        );
    }

    /// @inheritdoc IComputeFutures
    function postDebits(uint40 batchNumber, bytes32 receiptsRoot, uint32 receiptCount, Debit[] calldata rows) external {
        uint32 operatorIndex = operatorIndexOf[msg.sender];
        if (operatorIndex == 0) revert ComputeFutures_NotOperator(msg.sender);
        OperatorState storage state = _operators[operatorIndex];
        uint40 expected = state.lastBatch + 1;
        if (batchNumber != expected) revert ComputeFutures_WrongBatchNumber(expected, batchNumber); // I-5

        uint256 total;
        unchecked {
            // A net charge fits 56 bits and no block holds 2^200 rows.
            for (uint256 i; i < rows.length; ++i) {
                total += _debit(operatorIndex, batchNumber, rows[i]);
            }
        }

        state.lastBatch = batchNumber;
        state.earnings += SafeCast.toUint64(total);
        _roots[operatorIndex][batchNumber] = receiptsRoot;
        emit BatchPosted(
            operatorIndex, batchNumber, receiptsRoot, receiptCount, SafeCast.toUint32(rows.length), uint64(total)
        );
    }

    /// @inheritdoc IComputeFutures
    function closeAccount(uint64 accountId) external nonReentrant returns (uint56 amount) {
        Holder storage holder = _openAccount(accountId);
        if (operatorIndexOf[msg.sender] != _operatorOf(accountId)) {
            revert ComputeFutures_NotAccountOperator(accountId, msg.sender);
        }
        amount = _close(accountId, holder, true);
    }

    /// @inheritdoc IComputeFutures
    function withdrawEarnings(address to, uint64 amount) external nonReentrant {
        uint32 operatorIndex = operatorIndexOf[msg.sender];
        if (operatorIndex == 0) revert ComputeFutures_NotOperator(msg.sender);
        if (to == address(0) || to == address(this)) revert ComputeFutures_InvalidRecipient(to);
        OperatorState storage state = _operators[operatorIndex];
        uint64 earnings = state.earnings;
        if (amount > earnings) revert ComputeFutures_InsufficientEarnings(earnings, amount); // I-1
        state.earnings = earnings - amount;
        emit EarningsWithdrawn(operatorIndex, to, amount);
        TOKEN.safeTransfer(to, amount);
    }

    // --------------------------------------------------------------- deposits

    /// @inheritdoc IComputeFutures
    function deposit(uint32 operatorIndex, address owner, uint56 amount, uint56 ceiling)
        external
        nonReentrant
        returns (uint64 accountId)
    {
        if (ceiling != 0 && msg.sender != owner) revert ComputeFutures_NotOwner(0, msg.sender); // I-2
        accountId = _open(operatorIndex, owner, msg.sender, amount, ceiling);
        _pull(amount);
    }

    /// @inheritdoc IComputeFutures
    function topUp(uint64 accountId, uint56 amount, uint56 ceiling) external nonReentrant {
        Holder storage holder = _openAccount(accountId);
        if (ceiling != 0) _requireSpender(accountId, holder); // I-2
        _topUp(accountId, holder, msg.sender, amount, ceiling);
        _pull(amount);
    }

    /// @inheritdoc IComputeFutures
    function depositWithAuthorization(DepositAuthorization calldata authorization, bytes calldata signature)
        external
        nonReentrant
        returns (uint64 accountId)
    {
        address owner = authorization.owner;
        accountId = authorization.accountId;
        if (accountId == 0) {
            accountId = _open(authorization.operatorIndex, owner, owner, authorization.amount, authorization.ceiling);
        } else {
            Holder storage holder = _openAccount(accountId);
            if (holder.owner != owner) revert ComputeFutures_NotOwner(accountId, owner);
            if (_operatorOf(accountId) != authorization.operatorIndex) revert ComputeFutures_UnknownAccount(accountId);
            _topUp(accountId, holder, owner, authorization.amount, authorization.ceiling);
        }

        _pullWithAuthorization(authorization, signature);
    }

    /// @inheritdoc IComputeFutures
    function sweep(DepositTerms calldata terms) external nonReentrant returns (uint64 accountId) {
        address vault = _vault(terms);
        uint256 balance = TOKEN.balanceOf(vault);
        uint256 fee = terms.fee;
        if (balance <= fee) revert ComputeFutures_NothingToSweep(vault, balance, fee);
        uint256 amount = balance - fee;

        accountId = accountOfDepositAddress[vault];
        Holder storage holder = _holders[accountId];
        if (accountId == 0 || holder.closed) {
            accountId = _open(terms.operatorIndex, terms.owner, vault, amount, terms.ceiling);
            accountOfDepositAddress[vault] = accountId;
        } else {
            _topUp(accountId, holder, vault, amount, 0);
        }
        if (fee != 0) _operators[terms.operatorIndex].earnings += uint64(fee);
        emit Swept(accountId, vault, uint56(amount), uint56(fee));

        uint256 before = TOKEN.balanceOf(address(this));
        DepositVault(vault).send(TOKEN, address(this), balance);
        _requireReceived(before, balance);
    }

    /// @inheritdoc IComputeFutures
    function recover(DepositTerms calldata terms, address token_) external nonReentrant returns (uint256 amount) {
        address vault = _vault(terms);
        if (msg.sender != terms.owner) revert ComputeFutures_NotOwner(accountOfDepositAddress[vault], msg.sender);
        amount = IERC20(token_).balanceOf(vault);
        if (amount == 0) revert ComputeFutures_NothingToSweep(vault, 0, 0);
        emit Recovered(vault, terms.owner, token_, amount);
        DepositVault(vault).send(IERC20(token_), terms.owner, amount);
    }

    // ------------------------------------------------------------------ spend

    /// @inheritdoc IComputeFutures
    function raiseCeiling(uint64 accountId, uint56 ceiling) external {
        _requireSpender(accountId, _openAccount(accountId));
        _raiseCeiling(accountId, msg.sender, ceiling);
    }

    /// @inheritdoc IComputeFutures
    function raiseCeilingWithSignature(uint64 accountId, uint56 ceiling, bytes calldata signature) external {
        address owner = _openAccount(accountId).owner;
        address delegate = _delegates[accountId];
        bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(SPEND_CEILING_TYPEHASH, accountId, ceiling)));
        address signer;
        if (SignatureChecker.isValidSignatureNowCalldata(owner, digest, signature)) {
            signer = owner;
        } else if (delegate != address(0) && SignatureChecker.isValidSignatureNowCalldata(delegate, digest, signature))
        {
            signer = delegate;
        } else {
            revert ComputeFutures_InvalidSignature(accountId); // I-2
        }
        _raiseCeiling(accountId, signer, ceiling);
    }

    /// @inheritdoc IComputeFutures
    function setDelegate(uint64 accountId, address delegate) external {
        _requireOwner(accountId, _openAccount(accountId));
        _delegates[accountId] = delegate;
        emit DelegateSet(accountId, delegate);
    }

    // ------------------------------------------------------------------- exit

    /// @inheritdoc IComputeFutures
    function requestRefund(uint64 accountId) external {
        Holder storage holder = _openAccount(accountId);
        _requireOwner(accountId, holder);
        if (holder.refundableAt != 0) revert ComputeFutures_RefundAlreadyRequested(accountId, holder.refundableAt);
        // The delay of the terms the account was opened under: nothing the operator does since can lengthen it (I-4).
        uint32 delay = _terms[_operatorOf(accountId)][holder.termsVersion].packed.refundDelay();
        uint40 refundableAt = uint40(block.timestamp + delay);
        holder.refundableAt = refundableAt;
        emit RefundRequested(accountId, msg.sender, refundableAt);
    }

    /// @inheritdoc IComputeFutures
    function refund(uint64 accountId) external nonReentrant returns (uint56 amount) {
        Holder storage holder = _openAccount(accountId);
        _requireOwner(accountId, holder);
        uint40 refundableAt = holder.refundableAt;
        if (refundableAt == 0) revert ComputeFutures_RefundNotRequested(accountId);
        if (block.timestamp < refundableAt) revert ComputeFutures_RefundNotDue(accountId, refundableAt);
        amount = _close(accountId, holder, false);
    }

    // ------------------------------------------------------------------ views

    /// @inheritdoc IComputeFutures
    function token() external view returns (address) {
        return address(TOKEN);
    }

    /// @inheritdoc IComputeFutures
    function account(uint64 accountId) external view returns (Account memory) {
        Meter meter = _meters[accountId];
        Holder memory holder = _holders[accountId];
        return Account({
            owner: holder.owner,
            delegate: _delegates[accountId],
            credit: meter.credit(),
            charged: meter.charged(),
            ceiling: meter.ceiling(),
            remainder: meter.remainder(),
            discountBps: meter.discountBps(),
            previousDiscountBps: meter.previousDiscountBps(),
            discountFromBatch: meter.discountFromBatch(),
            refundableAt: holder.refundableAt,
            termsVersion: holder.termsVersion,
            closed: holder.closed
        });
    }

    /// @inheritdoc IComputeFutures
    function operator(uint32 operatorIndex) external view returns (Operator memory) {
        OperatorState memory state = _operators[operatorIndex];
        return Operator(state.operator, state.termsVersion, state.lastSequence, state.lastBatch, state.earnings);
    }

    /// @inheritdoc IComputeFutures
    function terms(uint32 operatorIndex, uint32 termsVersion) external view returns (Terms memory) {
        TermsRecord memory record = _terms[operatorIndex][termsVersion];
        PackedTerms packed = record.packed;
        return Terms(packed.refundDelay(), packed.minimumDeposit(), record.rateCardHash, packed.tiers());
    }

    /// @inheritdoc IComputeFutures
    function batchRoot(uint32 operatorIndex, uint40 batchNumber) external view returns (bytes32) {
        return _roots[operatorIndex][batchNumber];
    }

    /// @inheritdoc IComputeFutures
    function verifyReceipt(uint32 operatorIndex, uint40 batchNumber, bytes32 receiptHash, bytes32[] calldata proof)
        external
        view
        returns (bool)
    {
        bytes32 root = _roots[operatorIndex][batchNumber];
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(receiptHash))));
        return root != bytes32(0) && MerkleProof.verifyCalldata(proof, root, leaf); // I-7
    }

    /// @inheritdoc IComputeFutures
    function depositNonce(uint32 operatorIndex, address owner, uint64 accountId, uint56 ceiling, bytes32 salt)
        public
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(operatorIndex, owner, accountId, ceiling, salt));
    }

    /// @inheritdoc IComputeFutures
    function depositAddress(DepositTerms calldata terms) public view returns (address) {
        return Clones.predictDeterministicAddress(vaultImplementation, _salt(terms));
    }

    // ----------------------------------------------------------- shared steps

    /// @dev Charges one row; never reverts (I-6).
    function _debit(uint32 operatorIndex, uint40 batchNumber, Debit calldata row) private returns (uint256) {
        uint64 accountId = row.accountId;
        uint56 listAmount = row.listAmount;
        if (_operatorOf(accountId) != operatorIndex) {
            emit ForeignDebit(operatorIndex, batchNumber, accountId, listAmount);
            return 0;
        }
        Meter meter = _meters[accountId];
        (Meter next, uint256 bps, uint256 net, uint256 uncovered) =
            meter.debit(batchNumber, listAmount, row.discountBps);
        if (meter.credit() == 0) {
            // Never opened, or closed unspent: nothing to charge, nothing to remember.
            emit DebitShortfall(accountId, batchNumber, listAmount, uint56(uncovered));
            return 0;
        }
        _meters[accountId] = next;
        if (net != 0 || uncovered == 0) {
            emit Debited(accountId, batchNumber, listAmount, uint16(bps), uint56(net), next.charged(), next.remainder());
        }
        if (uncovered != 0) emit DebitShortfall(accountId, batchNumber, listAmount, uint56(uncovered));
        return net;
    }

    /// @dev Opens the next account of the operator, at its present terms.
    function _open(uint32 operatorIndex, address owner, address payer, uint256 amount, uint56 ceiling)
        private
        returns (uint64 accountId)
    {
        if (owner == address(0) || owner == address(this)) revert ComputeFutures_InvalidOwner(owner);
        OperatorState storage state = _operators[operatorIndex];
        uint32 termsVersion = state.termsVersion;
        if (termsVersion == 0) revert ComputeFutures_UnknownOperator(operatorIndex);
        PackedTerms packed = _terms[operatorIndex][termsVersion].packed;
        if (amount < packed.minimumDeposit()) {
            revert ComputeFutures_DepositTooSmall(amount, packed.minimumDeposit());
        }
        if (amount > type(uint56).max) revert ComputeFutures_CreditOverflow(amount);
        uint32 sequence = state.lastSequence;
        if (sequence == LAST_SEQUENCE) revert ComputeFutures_SequenceExhausted(operatorIndex);
        state.lastSequence = ++sequence;

        accountId = uint64(operatorIndex) << 32 | sequence;
        uint16 bps = packed.discountFor(amount);
        _meters[accountId] = MeterLib.open(amount, ceiling, bps);
        _holders[accountId] = Holder({owner: owner, refundableAt: 0, termsVersion: termsVersion, closed: false});
        emit AccountOpened(accountId, owner, operatorIndex, termsVersion);
        emit Deposited(accountId, payer, uint56(amount), uint56(amount), bps, bps, 0);
        if (ceiling != 0) emit CeilingRaised(accountId, owner, ceiling);
    }

    /// @dev Adds credit to an open account; a ceiling that is not higher is left as it is. The caller has checked who pays
    /// and who authorised the ceiling.
    function _topUp(uint64 accountId, Holder storage holder, address payer, uint256 amount, uint56 ceiling) private {
        if (holder.refundableAt != 0) revert ComputeFutures_RefundAlreadyRequested(accountId, holder.refundableAt);
        if (amount == 0) revert ComputeFutures_DepositTooSmall(0, 1);
        Meter meter = _meters[accountId];
        uint256 credit = meter.credit() + amount;
        if (credit > type(uint56).max) revert ComputeFutures_CreditOverflow(credit);
        meter = meter.withCredit(credit);

        uint32 operatorIndex = _operatorOf(accountId);
        uint16 earned = _terms[operatorIndex][holder.termsVersion].packed.discountFor(credit);
        if (earned > meter.discountBps()) {
            meter = meter.withRaisedDiscount(earned, _operators[operatorIndex].lastBatch); // I-3
        }
        bool raised = ceiling > meter.ceiling();
        if (raised) meter = meter.withCeiling(ceiling);
        _meters[accountId] = meter;

        emit Deposited(
            accountId,
            payer,
            uint56(amount),
            uint56(credit),
            meter.discountBps(),
            meter.previousDiscountBps(),
            meter.discountFromBatch()
        );
        if (raised) emit CeilingRaised(accountId, payer, ceiling);
    }

    function _raiseCeiling(uint64 accountId, address signer, uint56 ceiling) private {
        Meter meter = _meters[accountId];
        uint56 present = meter.ceiling();
        if (ceiling <= present) revert ComputeFutures_CeilingNotRaised(present, ceiling);
        _meters[accountId] = meter.withCeiling(ceiling);
        emit CeilingRaised(accountId, signer, ceiling);
    }

    /// @dev Closes for good: credit becomes what was charged, so that late debits clamp to zero (I-4, I-6).
    function _close(uint64 accountId, Holder storage holder, bool byOperator) private returns (uint56 amount) {
        Meter meter = _meters[accountId];
        amount = meter.unspent();
        _meters[accountId] = meter.withCredit(meter.charged());
        holder.closed = true;
        address owner = holder.owner;
        emit Refunded(accountId, owner, amount, byOperator);
        if (amount != 0) TOKEN.safeTransfer(owner, amount);
    }

    /// @dev Takes the caller's tokens and refuses any that arrive short (I-1).
    function _pull(uint256 amount) private {
        uint256 before = TOKEN.balanceOf(address(this));
        TOKEN.safeTransferFrom(msg.sender, address(this), amount);
        _requireReceived(before, amount);
    }

    /// @dev `receive…` pays only its caller, so nobody can take the signature to the token and leave the owner without
    /// credit; the nonce commits to what the owner wants done with the money.
    function _pullWithAuthorization(DepositAuthorization calldata authorization, bytes calldata signature) private {
        bytes32 nonce = depositNonce(
            authorization.operatorIndex,
            authorization.owner,
            authorization.accountId,
            authorization.ceiling,
            authorization.salt
        );
        uint256 before = TOKEN.balanceOf(address(this));
        IReceiveWithAuthorization(address(TOKEN))
            .receiveWithAuthorization(
                authorization.owner,
                address(this),
                authorization.amount,
                authorization.validAfter,
                authorization.validBefore,
                nonce,
                signature
            );
        _requireReceived(before, authorization.amount);
    }

    function _requireReceived(uint256 before, uint256 expected) private view {
        uint256 received = TOKEN.balanceOf(address(this)) - before;
        if (received != expected) revert ComputeFutures_TokenAmountMismatch(expected, received);
    }

    /// @dev The deposit address, with its code in place.
    function _vault(DepositTerms calldata terms) private returns (address vault) {
        bytes32 salt = _salt(terms);
        vault = Clones.predictDeterministicAddress(vaultImplementation, salt);
        if (vault.code.length == 0) Clones.cloneDeterministic(vaultImplementation, salt);
    }

    function _salt(DepositTerms calldata terms) private pure returns (bytes32) {
        return keccak256(abi.encode(terms.operatorIndex, terms.owner, terms.ceiling, terms.fee));
    }

    function _operatorOf(uint64 accountId) private pure returns (uint32) {
        return uint32(accountId >> 32);
    }

    function _openAccount(uint64 accountId) private view returns (Holder storage holder) {
        holder = _holders[accountId];
        if (holder.owner == address(0)) revert ComputeFutures_UnknownAccount(accountId);
        if (holder.closed) revert ComputeFutures_AccountClosed(accountId);
    }

    function _requireOwner(uint64 accountId, Holder storage holder) private view {
        if (msg.sender != holder.owner) revert ComputeFutures_NotOwner(accountId, msg.sender);
    }

    function _requireSpender(uint64 accountId, Holder storage holder) private view {
        if (msg.sender != holder.owner && msg.sender != _delegates[accountId]) {
            revert ComputeFutures_NotSpender(accountId, msg.sender);
        }
    }
}
