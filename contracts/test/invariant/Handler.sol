// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeFutures} from "../../src/interfaces/IComputeFutures.sol";
import {Actors} from "./Actors.sol";
import {AccountModel, ModelLib, OperatorModel, ReceiptModel} from "./Model.sol";

/// @notice Calls every verb with arguments that must succeed, checks what each answers, and keeps the model beside it.
/// @dev `fail_on_revert` is on: a call that reverts is a broken promise, not noise.
contract Handler is Actors {
    using ModelLib for AccountModel;

    address private constant MINTER = 0x3bEA5F24710dC4faC252Ce13110eec72561a6105;
    uint256 private constant MAX_AMOUNT = 1_000e6;
    uint256 private constant MAX_ACCOUNTS = 40;

    address[] public owners;
    address[] public delegates;
    /// Minted to, less paid in, plus refunded: what each owner must hold.
    mapping(address => uint256) public purse;
    uint64[] public accounts;
    ReceiptModel[] private _receipts;
    mapping(uint64 => AccountModel) private _models;
    mapping(uint32 => OperatorModel) private _operators;
    mapping(address vault => uint64) private _fed;
    uint256 public donated;
    uint256 private _salt;
    mapping(bytes32 verb => uint256) public calls;

    constructor(IComputeFutures futures) Actors(futures) {
        for (uint256 i; i < 3; ++i) {
            owners.push(_actor(string.concat("owner ", vm.toString(i))));
            delegates.push(_actor(string.concat("delegate ", vm.toString(i))));
            vm.prank(owners[i]);
            USDC.approve(address(futures), type(uint256).max);
        }
        for (uint256 i; i < 2; ++i) {
            address operator = makeAddr(string.concat("operator ", vm.toString(i)));
            _operators[uint32(i + 1)].operator = operator;
            _setTerms(i, i, i, i);
        }
    }

    modifier counted(bytes32 verb) {
        calls[verb]++;
        _;
    }

    // --------------------------------------------------------------- operator

    function setTerms(uint256 seed, uint256 delay, uint256 minimum, uint256 tiers) external counted("setTerms") {
        _setTerms(seed, delay, minimum, tiers);
    }

    function _setTerms(uint256 seed, uint256 delay, uint256 minimum, uint256 tiers) private {
        uint32 index = _operatorIndex(seed);
        IComputeFutures.Terms memory terms;
        terms.refundDelay = uint32(bound(delay, 0, 30 days));
        terms.minimumDeposit = uint56(bound(minimum, 1, 10e6));
        terms.rateCardHash = bytes32(seed);
        terms.tiers = new IComputeFutures.Tier[](bound(tiers, 0, 3));
        for (uint256 i; i < terms.tiers.length; ++i) {
            uint16 step = uint16(bound(uint256(keccak256(abi.encode(tiers, i))), 1, 3000));
            uint16 before = i == 0 ? 0 : terms.tiers[i - 1].discountBps;
            terms.tiers[i] = IComputeFutures.Tier(uint56((i + 1) ** 2 * bound(minimum, 1e6, 50e6)), before + step);
        }
        vm.prank(_operators[index].operator);
        (uint32 index_, uint32 version) = FUTURES.setTerms(terms);
        assertEq(index_, index);
        assertEq(version, ++_operators[index].termsVersion);
    }

    struct RowSeed {
        uint256 account;
        uint56 list;
        uint16 bps;
        uint8 kind;
    }

    /// @dev Any rows: mine, closed, foreign, never opened (I-6). Receipts as a relayer would sign them, one a row (I-7).
    function postDebits(uint256 seed, RowSeed[6] memory seeds, uint256 count) external counted("postDebits") {
        uint32 index = _operatorIndex(seed);
        OperatorModel storage o = _operators[index];
        IComputeFutures.Debit[] memory rows = new IComputeFutures.Debit[](bound(count, 0, seeds.length));
        bytes32[] memory hashes = new bytes32[](rows.length);
        uint40 batch = uint40(++o.lastBatch);
        for (uint256 i; i < rows.length; ++i) {
            RowSeed memory r = seeds[i];
            if (r.kind % 4 != 0) r.list = uint56(bound(r.list, 0, 30e6));
            rows[i] = IComputeFutures.Debit(_anyAccount(index, r), r.list, r.kind % 2 == 0 ? r.bps : 0);
            uint256 net;
            AccountModel storage a = _models[rows[i].accountId];
            if (a.operatorIndex == index) (net,) = a.debit(batch, rows[i].listAmount, rows[i].discountBps);
            o.earned += net;
            a.receipts += net;
            hashes[i] = keccak256(abi.encode(rows[i].accountId, batch, i, rows[i].listAmount, net));
        }
        bytes32 root = _storeReceipts(index, batch, hashes);
        vm.prank(o.operator);
        FUTURES.postDebits(batch, root, uint32(rows.length), rows);
    }

    /// @dev I-5: a number out of order reverts, whatever is in the batch.
    function postDebitsOutOfOrder(uint256 seed, uint40 number) external counted("postDebitsOutOfOrder") {
        uint32 index = _operatorIndex(seed);
        uint40 expected = uint40(_operators[index].lastBatch + 1);
        if (number == expected) number++;
        vm.expectRevert(
            abi.encodeWithSelector(IComputeFutures.ComputeFutures_WrongBatchNumber.selector, expected, number)
        );
        vm.prank(_operators[index].operator);
        FUTURES.postDebits(number, bytes32(seed), 0, new IComputeFutures.Debit[](0));
    }

    function closeAccount(uint256 seed) external counted("closeAccount") {
        (bool found, uint64 id) = _open(seed);
        if (!found) return;
        vm.prank(_operators[_models[id].operatorIndex].operator);
        _closed(id, FUTURES.closeAccount(id));
    }

    function withdrawEarnings(uint256 seed, uint256 amount) external counted("withdrawEarnings") {
        OperatorModel storage o = _operators[_operatorIndex(seed)];
        amount = bound(amount, 0, o.earned - o.withdrawn);
        o.withdrawn += amount;
        vm.prank(o.operator);
        FUTURES.withdrawEarnings(o.operator, uint64(amount));
    }

    // --------------------------------------------------------------- deposits

    function deposit(uint256 seed, uint256 operatorSeed, uint256 amount, uint56 ceiling, bool gift)
        external
        counted("deposit")
    {
        uint32 index = _operatorIndex(operatorSeed);
        address owner = _owner(seed);
        address payer = gift ? _owner(seed / 7) : owner;
        if (payer != owner) ceiling = 0;
        amount = _atLeastMinimum(index, amount);
        if (accounts.length >= MAX_ACCOUNTS) return;
        _mint(payer, amount);
        vm.prank(payer);
        uint64 id = FUTURES.deposit(index, owner, uint56(amount), ceiling);
        purse[payer] -= amount;
        _opened(id, owner, index, amount, ceiling);
    }

    function topUp(uint256 seed, uint256 payerSeed, uint256 amount, uint56 ceiling) external counted("topUp") {
        (bool found, uint64 id) = _accepting(seed);
        if (!found) return;
        AccountModel storage a = _models[id];
        address payer = _owner(payerSeed);
        if (payer != a.owner) ceiling = 0;
        amount = bound(amount, 1, MAX_AMOUNT);
        _mint(payer, amount);
        vm.prank(payer);
        FUTURES.topUp(id, uint56(amount), ceiling);
        purse[payer] -= amount;
        _toppedUp(id, amount, ceiling);
    }

    function depositWithAuthorization(uint256 seed, uint256 operatorSeed, uint256 amount, uint56 ceiling, bool open)
        external
        counted("depositWithAuthorization")
    {
        IComputeFutures.DepositAuthorization memory auth;
        (bool found, uint64 id) = _accepting(seed);
        if (open || !found) {
            if (accounts.length >= MAX_ACCOUNTS) return;
            auth.operatorIndex = _operatorIndex(operatorSeed);
            auth.owner = _owner(seed);
            auth.amount = uint56(_atLeastMinimum(auth.operatorIndex, amount));
        } else {
            auth.operatorIndex = _models[id].operatorIndex;
            auth.owner = _models[id].owner;
            auth.accountId = id;
            auth.amount = uint56(bound(amount, 1, MAX_AMOUNT));
        }
        auth.ceiling = ceiling;
        auth.validBefore = type(uint256).max;
        auth.salt = bytes32(++_salt);
        _mint(auth.owner, auth.amount);
        uint64 got = FUTURES.depositWithAuthorization(auth, _sign3009(auth));
        purse[auth.owner] -= auth.amount;
        if (auth.accountId == 0) {
            _opened(got, auth.owner, auth.operatorIndex, auth.amount, ceiling);
        } else {
            assertEq(got, id);
            _toppedUp(id, auth.amount, ceiling);
        }
    }

    function sweep(uint256 seed, uint256 amount) external counted("sweep") {
        IComputeFutures.DepositTerms memory terms = _depositTerms(seed);
        address vault = FUTURES.depositAddress(terms);
        uint64 id = _fed[vault];
        bool opens = id == 0 || _models[id].closed;
        if (opens && accounts.length >= MAX_ACCOUNTS) return;
        if (!opens && _models[id].refundableAt != 0) return;
        amount = opens ? _atLeastMinimum(terms.operatorIndex, amount) : bound(amount, 1, MAX_AMOUNT);
        vm.prank(MINTER);
        USDC.mint(vault, amount + terms.fee);
        uint256 all = USDC.balanceOf(vault); // what earlier calls left there comes along
        uint64 got = FUTURES.sweep(terms);
        _operators[terms.operatorIndex].earned += terms.fee;
        if (opens) {
            _fed[vault] = got;
            _opened(got, terms.owner, terms.operatorIndex, all - terms.fee, terms.ceiling);
        } else {
            assertEq(got, id);
            _toppedUp(id, all - terms.fee, 0);
        }
    }

    function recover(uint256 seed, uint256 amount) external counted("recover") {
        IComputeFutures.DepositTerms memory terms = _depositTerms(seed);
        address vault = FUTURES.depositAddress(terms);
        vm.prank(MINTER);
        USDC.mint(vault, bound(amount, 1, MAX_AMOUNT));
        uint256 all = USDC.balanceOf(vault);
        vm.prank(terms.owner);
        assertEq(FUTURES.recover(terms, address(USDC)), all);
        purse[terms.owner] += all;
    }

    /// @dev A transfer to a deposit address that nobody sweeps for now.
    function payDepositAddress(uint256 seed, uint256 amount) external counted("payDepositAddress") {
        address vault = FUTURES.depositAddress(_depositTerms(seed));
        vm.prank(MINTER);
        USDC.mint(vault, bound(amount, 1, MAX_AMOUNT));
    }

    /// @dev A transfer to the contract itself: nobody's credit.
    function donate(uint256 amount) external counted("donate") {
        amount = bound(amount, 1, 10e6);
        donated += amount;
        vm.prank(MINTER);
        USDC.mint(address(FUTURES), amount);
    }

    // ------------------------------------------------------------------ spend

    function raiseCeiling(uint256 seed, uint56 ceiling, bool byDelegate) external counted("raiseCeiling") {
        (bool found, uint64 id) = _open(seed);
        if (!found || _models[id].ceiling == type(uint56).max) return;
        AccountModel storage a = _models[id];
        ceiling = uint56(bound(ceiling, a.ceiling + 1, type(uint56).max));
        a.ceiling = ceiling;
        vm.prank(byDelegate && a.delegate != address(0) ? a.delegate : a.owner);
        FUTURES.raiseCeiling(id, ceiling);
    }

    function raiseCeilingWithSignature(uint256 seed, uint56 ceiling, bool byDelegate)
        external
        counted("raiseCeilingWithSignature")
    {
        (bool found, uint64 id) = _open(seed);
        if (!found || _models[id].ceiling == type(uint56).max) return;
        AccountModel storage a = _models[id];
        ceiling = uint56(bound(ceiling, a.ceiling + 1, a.ceiling + 20e6));
        if (ceiling < a.ceiling) return;
        a.ceiling = ceiling;
        bytes32 body = keccak256(abi.encode(keccak256("SpendCeiling(uint64 accountId,uint56 ceiling)"), id, ceiling));
        bytes memory signature = _sign(byDelegate && a.delegate != address(0) ? a.delegate : a.owner, _domain(), body);
        FUTURES.raiseCeilingWithSignature(id, ceiling, signature);
    }

    /// @dev I-2: nobody else can raise it, the operator neither.
    function raiseCeilingByAnother(uint256 seed, uint56 ceiling, uint256 who)
        external
        counted("raiseCeilingByAnother")
    {
        (bool found, uint64 id) = _open(seed);
        if (!found) return;
        address caller = who % 2 == 0 ? _operators[_models[id].operatorIndex].operator : _owner(who);
        if (caller == _models[id].owner) return;
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_NotSpender.selector, id, caller));
        vm.prank(caller);
        FUTURES.raiseCeiling(id, ceiling);
    }

    function setDelegate(uint256 seed, uint256 who) external counted("setDelegate") {
        (bool found, uint64 id) = _open(seed);
        if (!found) return;
        _models[id].delegate = who % 4 == 0 ? address(0) : delegates[who % delegates.length];
        vm.prank(_models[id].owner);
        FUTURES.setDelegate(id, _models[id].delegate);
    }

    // ------------------------------------------------------------------- exit

    function requestRefund(uint256 seed) external counted("requestRefund") {
        (bool found, uint64 id) = _accepting(seed);
        if (!found) return;
        AccountModel storage a = _models[id];
        a.refundableAt = block.timestamp + FUTURES.terms(a.operatorIndex, a.termsVersion).refundDelay;
        vm.prank(a.owner);
        FUTURES.requestRefund(id);
    }

    function refund(uint256 seed) external counted("refund") {
        (bool found, uint64 id) = _open(seed);
        if (!found || _models[id].refundableAt == 0) return;
        if (block.timestamp < _models[id].refundableAt) {
            // I-4 both ways: not a second too early, and not a second later than promised.
            vm.expectRevert(
                abi.encodeWithSelector(
                    IComputeFutures.ComputeFutures_RefundNotDue.selector, id, _models[id].refundableAt
                )
            );
            vm.prank(_models[id].owner);
            FUTURES.refund(id);
            vm.warp(_models[id].refundableAt);
        }
        exit(id);
    }

    function wait(uint256 time) external counted("wait") {
        vm.warp(block.timestamp + bound(time, 1, 2 days));
    }

    /// @notice Takes the refund that is due; the invariant test calls it for everyone at the end.
    function exit(uint64 id) public {
        vm.prank(_models[id].owner);
        _closed(id, FUTURES.refund(id));
    }

    // ------------------------------------------------------------------ views

    function accountCount() external view returns (uint256) {
        return accounts.length;
    }

    function ownerCount() external view returns (uint256) {
        return owners.length;
    }

    function model(uint64 id) external view returns (AccountModel memory) {
        return _models[id];
    }

    function operatorModel(uint32 index) external view returns (OperatorModel memory) {
        return _operators[index];
    }

    function receiptCount() external view returns (uint256) {
        return _receipts.length;
    }

    function receipt(uint256 i) external view returns (ReceiptModel memory) {
        return _receipts[i];
    }

    // ------------------------------------------------------------------ model

    function _opened(uint64 id, address owner, uint32 index, uint256 amount, uint256 ceiling) private {
        OperatorModel storage o = _operators[index];
        assertEq(_models[id].owner, address(0), "an id is given once");
        assertEq(id, (uint64(index) << 32) | uint64(o.accounts.length + 1));
        accounts.push(id);
        o.accounts.push(id);
        AccountModel storage a = _models[id];
        (a.owner, a.operatorIndex, a.termsVersion) = (owner, index, o.termsVersion);
        (a.credit, a.ceiling) = (amount, ceiling);
        a.discountBps = _tier(index, a.termsVersion, amount);
        a.previousDiscountBps = a.discountBps;
    }

    function _toppedUp(uint64 id, uint256 amount, uint256 ceiling) private {
        AccountModel storage a = _models[id];
        uint256 tier = _tier(a.operatorIndex, a.termsVersion, a.credit + amount);
        a.topUp(amount, tier, _operators[a.operatorIndex].lastBatch);
        if (ceiling > a.ceiling) a.ceiling = ceiling;
    }

    function _closed(uint64 id, uint256 paid) private {
        AccountModel storage a = _models[id];
        assertEq(paid, a.credit - a.charged, "everything unspent");
        purse[a.owner] += paid;
        a.paidOut = paid;
        a.credit = a.charged;
        a.closed = true;
    }

    function _tier(uint32 index, uint32 version, uint256 total) private view returns (uint256 bps) {
        IComputeFutures.Tier[] memory tiers = FUTURES.terms(index, version).tiers;
        for (uint256 i; i < tiers.length; ++i) {
            if (total >= tiers[i].minimumDeposit) bps = tiers[i].discountBps;
        }
    }

    /// @dev A Merkle tree over the receipts, nodes paired level by level; an odd one moves up as it is.
    function _storeReceipts(uint32 index, uint40 batch, bytes32[] memory hashes) private returns (bytes32) {
        uint256 n = hashes.length;
        if (n == 0) return bytes32(0);
        bytes32[] memory level = new bytes32[](n);
        uint256 first = _receipts.length;
        for (uint256 i; i < n; ++i) {
            level[i] = keccak256(bytes.concat(keccak256(abi.encode(hashes[i]))));
            ReceiptModel storage r = _receipts.push();
            (r.operatorIndex, r.batchNumber, r.receiptHash) = (index, batch, hashes[i]);
        }
        for (uint256 depth; n > 1; ++depth) {
            for (uint256 i; i < hashes.length; ++i) {
                uint256 sibling = (i >> depth) ^ 1;
                if (sibling < n) _receipts[first + i].proof.push(level[sibling]);
            }
            uint256 half = (n + 1) / 2;
            for (uint256 i; i < half; ++i) {
                (bytes32 a, bytes32 b) = (level[2 * i], 2 * i + 1 < n ? level[2 * i + 1] : bytes32(0));
                level[i] = 2 * i + 1 < n ? keccak256(a < b ? abi.encode(a, b) : abi.encode(b, a)) : a;
            }
            n = half;
        }
        return level[0];
    }

    // ---------------------------------------------------------------- choices

    function _operatorIndex(uint256 seed) private pure returns (uint32) {
        return uint32(seed % 2 + 1);
    }

    function _owner(uint256 seed) private view returns (address) {
        return owners[seed % owners.length];
    }

    function _depositTerms(uint256 seed) private view returns (IComputeFutures.DepositTerms memory) {
        uint56 ceiling = seed % 3 == 0 ? 5e6 : type(uint56).max;
        return IComputeFutures.DepositTerms(_operatorIndex(seed / 3), _owner(seed / 6), ceiling, uint56(seed % 2) * 1e4);
    }

    function _atLeastMinimum(uint32 index, uint256 amount) private view returns (uint256) {
        uint256 minimum = FUTURES.terms(index, _operators[index].termsVersion).minimumDeposit;
        return bound(amount, minimum, minimum + MAX_AMOUNT);
    }

    function _open(uint256 seed) private view returns (bool, uint64) {
        for (uint256 i; i < accounts.length; ++i) {
            uint64 id = accounts[(seed % accounts.length + i) % accounts.length];
            if (!_models[id].closed) return (true, id);
        }
        return (false, 0);
    }

    /// @dev Open and not in its refund delay.
    function _accepting(uint256 seed) private view returns (bool, uint64) {
        for (uint256 i; i < accounts.length; ++i) {
            uint64 id = accounts[(seed % accounts.length + i) % accounts.length];
            if (!_models[id].closed && _models[id].refundableAt == 0) return (true, id);
        }
        return (false, 0);
    }

    /// @dev Mostly an account of this operator, now and then anybody's or nobody's.
    function _anyAccount(uint32 index, RowSeed memory r) private view returns (uint64) {
        uint64[] storage own = _operators[index].accounts;
        if (r.kind < 16 || own.length == 0) return uint64(r.account);
        if (r.kind < 32 && accounts.length != 0) return accounts[r.account % accounts.length];
        return own[r.account % own.length];
    }

    function _mint(address to, uint256 amount) private {
        vm.prank(MINTER);
        USDC.mint(to, amount);
        purse[to] += amount;
    }
}
