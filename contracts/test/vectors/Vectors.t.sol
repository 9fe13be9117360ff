// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC5267} from "@openzeppelin/contracts/interfaces/IERC5267.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {Vm} from "forge-std/Vm.sol";

import {IComputeFutures} from "../../src/interfaces/IComputeFutures.sol";
import {Meter, MeterLib} from "../../src/libraries/Meter.sol";
import {BaseTest} from "../utils/BaseTest.sol";

/// @notice The rules as numbers (tests/vectors/*.json), the same that the Rust crates check: here through the contract.
/// @dev Structs stand in the alphabetical order in which vm.parseJson encodes them.
contract VectorsTest is BaseTest {
    string private constant FOLDER = "tests/vectors/";
    /// Storage slot of ComputeFutures' `_holders` (docs/contracts.md).
    uint256 private constant HOLDERS_SLOT = 8;

    struct Charge {
        uint256 bps;
        uint256 charged;
        uint256 list;
        uint256 remainderAfter;
        uint256 remainderBefore;
    }

    struct TierOf {
        uint256 bps;
        string name;
        uint256 total;
    }

    struct Floor {
        uint256 batch;
        uint256 discountBps;
        uint256 discountFromBatch;
        uint256 floor;
        uint256 previousDiscountBps;
    }

    struct Step {
        string action;
        uint256 amount;
        uint256 batch;
        uint256 ceiling;
        uint256 charged;
        uint256 credit;
        uint256 discountBps;
        uint256 discountFromBatch;
        uint256 paidOut;
        uint256 previousDiscountBps;
        uint256 remainder;
        uint256 rowBps;
        uint256 rowCharged;
        uint256 rowUncovered;
        uint256 statedBps;
    }

    struct Life {
        string name;
        Step[] steps;
    }

    struct Proof {
        uint256 count;
        bytes32 leaf;
        bytes32[] proof;
        bytes32 receiptHash;
        bytes32 root;
    }

    struct DomainVector {
        uint256 chainId;
        bytes32 separator;
    }

    struct SpendCeiling {
        uint256 accountId;
        uint256 ceiling;
        uint256 chainId;
        bytes32 digest;
        bytes signature;
        bytes32 structHash;
    }

    struct JobAuthorization {
        uint256 accountId;
        uint256 chainId;
        bytes32 digest;
        uint256 maxCharge;
        bytes32 nonce;
        bytes32 requestHash;
        bytes signature;
        bytes32 structHash;
        uint256 validUntil;
    }

    struct ReceiptVector {
        uint256 accountId;
        bytes32 authorizationHash;
        uint256 batchNumber;
        uint256 chainId;
        uint256 charged;
        bytes32 digest;
        uint256 discountBps;
        uint256 issuedAt;
        bytes32 jobId;
        uint256 listAmount;
        bytes32 outputHash;
        bytes32 requestHash;
        uint256 sequence;
        bytes signature;
        bytes32 structHash;
    }

    struct Eip3009Vector {
        bytes32 digest;
        address from;
        bytes32 nonce;
        bytes signature;
        bytes32 structHash;
        address to;
        address token;
        bytes32 validAfter;
        bytes32 validBefore;
        bytes32 value;
    }

    struct AddressVector {
        uint256 ceiling;
        address contract_;
        address depositAddress;
        uint256 fee;
        uint256 operatorIndex;
        address owner;
        bytes32 salt;
        address vaultImplementation;
    }

    struct NonceVector {
        uint256 accountId;
        uint256 ceiling;
        bytes32 nonce;
        uint256 operatorIndex;
        address owner;
        bytes32 salt;
    }

    function _json(string memory file) private view returns (string memory) {
        return vm.readFile(string.concat(FOLDER, file));
    }

    // --------------------------------------------------------------- discount

    function test_Discount_Charges() external view {
        Charge[] memory charges = abi.decode(vm.parseJson(_json("discount.json"), ".charges"), (Charge[]));
        assertGt(charges.length, 100);
        for (uint256 i; i < charges.length; ++i) {
            Charge memory c = charges[i];
            // An account without limits that carries this remainder.
            Meter meter = MeterLib.open(NO_LIMIT, NO_LIMIT, 0);
            meter = Meter.wrap(Meter.unwrap(meter) | (c.remainderBefore << 168));
            (Meter next, uint256 bps, uint256 net, uint256 uncovered) = meter.debit(1, c.list, c.bps);
            assertEq(net, c.charged);
            assertEq(next.charged(), c.charged);
            assertEq(next.remainder(), c.remainderAfter);
            assertEq(bps, c.bps > 10_000 ? 10_000 : c.bps);
            assertEq(uncovered, 0);
        }
    }

    function test_Discount_Floors() external view {
        Floor[] memory floors = abi.decode(vm.parseJson(_json("discount.json"), ".floors"), (Floor[]));
        assertGt(floors.length, 10);
        for (uint256 i; i < floors.length; ++i) {
            Floor memory f = floors[i];
            Meter meter =
                Meter.wrap((f.discountBps << 184) | (f.previousDiscountBps << 200) | (f.discountFromBatch << 216));
            assertEq(meter.floorBps(f.batch), f.floor);
        }
    }

    function test_Discount_Tiers() external {
        TierOf[] memory tiers = abi.decode(vm.parseJson(_json("discount.json"), ".tiers"), (TierOf[]));
        assertGt(tiers.length, 5);
        uint32 index = _newOperator(operator);
        _mint(owner, type(uint64).max);
        for (uint256 i; i < tiers.length; ++i) {
            if (tiers[i].total == 0) continue;
            vm.prank(owner);
            uint64 accountId = futures.deposit(index, owner, uint56(tiers[i].total), 0);
            assertEq(_account(accountId).discountBps, tiers[i].bps);
        }
    }

    function test_Discount_Accounts() external {
        string memory json = _json("discount.json");
        _mint(owner, uint256(NO_LIMIT) * 100);
        uint256 count;
        for (string memory at_ = ".accounts[0]"; vm.keyExistsJson(json, at_);) {
            Life memory life = Life(
                vm.parseJsonString(json, string.concat(at_, ".name")),
                abi.decode(vm.parseJson(json, string.concat(at_, ".steps")), (Step[]))
            );
            assertGt(life.steps.length, 0);
            _live(life);
            at_ = string.concat(".accounts[", vm.toString(++count), "]");
        }
        assertGt(count, 10);
    }

    /// @dev An operator with the default tiers and the least minimum deposit.
    function _newOperator(address who) private returns (uint32 index) {
        IComputeFutures.Terms memory terms = _terms();
        terms.minimumDeposit = 1;
        vm.prank(who);
        (index,) = futures.setTerms(terms);
    }

    function _live(Life memory life) private {
        address its = makeAddr(string.concat("operator of ", life.name, vm.toString(futures.operatorCount())));
        uint32 index = _newOperator(its);
        uint64 accountId;
        Step[] memory steps = life.steps;
        for (uint256 i; i < steps.length; ++i) {
            Step memory step = steps[i];
            bytes32 action = keccak256(bytes(step.action));
            bool debit = action == keccak256("debit");
            while (futures.operator(index).lastBatch + (debit ? 1 : 0) < step.batch) {
                _postAs(its, index, new IComputeFutures.Debit[](0));
            }
            vm.startPrank(owner);
            if (action == keccak256("open")) {
                accountId = futures.deposit(index, owner, uint56(step.amount), uint56(step.ceiling));
            } else if (action == keccak256("topUp")) {
                futures.topUp(accountId, uint56(step.amount), 0);
            } else if (action == keccak256("raiseCeiling")) {
                futures.raiseCeiling(accountId, uint56(step.amount));
            }
            vm.stopPrank();
            if (action == keccak256("close")) {
                vm.prank(its);
                assertEq(futures.closeAccount(accountId), step.paidOut, life.name);
            } else if (debit) {
                uint256 to = i + 1;
                while (
                    to < steps.length && steps[to].batch == step.batch
                        && keccak256(bytes(steps[to].action)) == keccak256("debit")
                ) ++to;
                _debits(life, i, to, its, index, accountId);
                i = to - 1;
                step = steps[i];
            }
            _compare(life.name, step, _account(accountId));
        }
    }

    function _postAs(address its, uint32 index, IComputeFutures.Debit[] memory rows) private {
        uint40 next = futures.operator(index).lastBatch + 1;
        vm.prank(its);
        futures.postDebits(next, ROOT, uint32(rows.length), rows);
    }

    /// @dev Steps `from` to `to` are the rows of one batch.
    function _debits(Life memory life, uint256 from, uint256 to, address its, uint32 index, uint64 accountId) private {
        IComputeFutures.Debit[] memory rows = new IComputeFutures.Debit[](to - from);
        uint64 total;
        for (uint256 i = from; i < to; ++i) {
            Step memory s = life.steps[i];
            rows[i - from] = IComputeFutures.Debit(accountId, uint56(s.amount), uint16(s.statedBps));
            total += uint64(s.rowCharged);
        }
        uint64 earned = futures.operator(index).earnings;
        vm.recordLogs();
        _postAs(its, index, rows);
        assertEq(futures.operator(index).earnings - earned, total, life.name);
        _compareLogs(life, from, to, vm.getRecordedLogs());
    }

    function _compareLogs(Life memory life, uint256 from, uint256 to, Vm.Log[] memory logs) private pure {
        uint256 next;
        for (uint256 i = from; i < to; ++i) {
            Step memory s = life.steps[i];
            if (s.rowCharged != 0 || (s.rowUncovered == 0 && s.credit != 0)) {
                assertEq(logs[next].topics[0], IComputeFutures.Debited.selector, life.name);
                bytes memory data = abi.encode(s.amount, s.rowBps, s.rowCharged, s.charged, s.remainder);
                assertEq(logs[next++].data, data, life.name);
            }
            if (s.rowUncovered != 0 || s.credit == 0) {
                assertEq(logs[next].topics[0], IComputeFutures.DebitShortfall.selector, life.name);
                assertEq(logs[next++].data, abi.encode(s.amount, s.rowUncovered), life.name);
            }
        }
        assertEq(logs[next].topics[0], IComputeFutures.BatchPosted.selector, life.name);
    }

    function _compare(string memory name, Step memory s, IComputeFutures.Account memory a) private pure {
        assertEq(a.credit, s.credit, name);
        assertEq(a.charged, s.charged, name);
        assertEq(a.ceiling, s.ceiling, name);
        assertEq(a.remainder, s.remainder, name);
        assertEq(a.discountBps, s.discountBps, name);
        assertEq(a.previousDiscountBps, s.previousDiscountBps, name);
        assertEq(a.discountFromBatch, s.discountFromBatch, name);
    }

    // ----------------------------------------------------------------- Merkle

    function test_Merkle_Proofs() external {
        Proof[] memory proofs = abi.decode(vm.parseJson(_json("merkle.json"), ".proofs"), (Proof[]));
        assertGt(proofs.length, 10);
        for (uint256 i; i < proofs.length; ++i) {
            Proof memory p = proofs[i];
            assertEq(keccak256(bytes.concat(keccak256(abi.encode(p.receiptHash)))), p.leaf);
            vm.prank(operator);
            futures.postDebits(uint40(i + 1), p.root, uint32(p.count), new IComputeFutures.Debit[](0));
            assertTrue(futures.verifyReceipt(operatorIndex, uint40(i + 1), p.receiptHash, p.proof));
            assertFalse(futures.verifyReceipt(operatorIndex, uint40(i + 1), p.leaf, p.proof));
        }
    }

    // ------------------------------------------------------------- typed data

    /// @dev ComputeFutures at the address of the vectors, on this chain.
    function _deployAt(address where, uint256 chainId) private {
        vm.chainId(chainId);
        vm.etch(where, "");
        deployCodeTo("ComputeFutures.sol:ComputeFutures", abi.encode(USDC), where);
        futures = IComputeFutures(where);
    }

    function _contract(string memory json) private pure returns (address) {
        return vm.parseJsonAddress(json, ".contract");
    }

    function _digest(uint256 chainId, address verifyingContract, bytes32 structHash) private pure returns (bytes32) {
        return keccak256(abi.encodePacked("\x19\x01", _domain(chainId, verifyingContract), structHash));
    }

    function test_TypedData_Domains() external {
        string memory json = _json("typed_data.json");
        DomainVector[] memory domains = abi.decode(vm.parseJson(json, ".domains"), (DomainVector[]));
        assertGt(domains.length, 1);
        for (uint256 i; i < domains.length; ++i) {
            _deployAt(_contract(json), domains[i].chainId);
            (, string memory name, string memory version, uint256 chainId, address verifyingContract,,) =
                IERC5267(address(futures)).eip712Domain();
            assertEq(name, "ComputeFutures");
            assertEq(version, "1");
            assertEq(_domain(chainId, verifyingContract), domains[i].separator);
        }
    }

    /// @dev The contract itself accepts the signature, which it would not for another digest.
    function test_TypedData_SpendCeilings() external {
        string memory json = _json("typed_data.json");
        address signer = vm.parseJsonAddress(json, ".signer");
        SpendCeiling[] memory all = abi.decode(vm.parseJson(json, ".spendCeilings"), (SpendCeiling[]));
        assertGt(all.length, 1);
        for (uint256 i; i < all.length; ++i) {
            SpendCeiling memory s = all[i];
            _deployAt(_contract(json), s.chainId);
            (uint64 accountId, uint56 ceiling) = (uint64(s.accountId), uint56(s.ceiling));
            assertEq(_ceilingDigest(_domain(s.chainId, address(futures)), accountId, ceiling), s.digest);
            bytes32 holder = keccak256(abi.encode(accountId, HOLDERS_SLOT));
            vm.store(address(futures), holder, bytes32(uint256(uint160(signer)) | (1 << 200)));
            assertEq(_account(accountId).owner, signer);
            // Not above what is there already: the signature is checked first all the same.
            if (ceiling <= _account(accountId).ceiling) {
                _expectRevert(IComputeFutures.ComputeFutures_CeilingNotRaised.selector);
            }
            futures.raiseCeilingWithSignature(accountId, ceiling, s.signature);
        }
    }

    function test_TypedData_JobAuthorizations() external view {
        string memory json = _json("typed_data.json");
        JobAuthorization[] memory all = abi.decode(vm.parseJson(json, ".jobAuthorizations"), (JobAuthorization[]));
        assertGt(all.length, 1);
        bytes32 typeHash = keccak256(
            "JobAuthorization(uint64 accountId,bytes32 requestHash,bytes32 nonce,uint56 maxCharge,uint64 validUntil)"
        );
        for (uint256 i; i < all.length; ++i) {
            JobAuthorization memory j = all[i];
            bytes32 structHash =
                keccak256(abi.encode(typeHash, j.accountId, j.requestHash, j.nonce, j.maxCharge, j.validUntil));
            assertEq(structHash, j.structHash);
            assertEq(_digest(j.chainId, _contract(json), structHash), j.digest);
            assertEq(ECDSA.recover(j.digest, j.signature), vm.parseJsonAddress(json, ".signer"));
        }
    }

    function test_TypedData_Receipts() external view {
        string memory json = _json("typed_data.json");
        ReceiptVector[] memory all = abi.decode(vm.parseJson(json, ".receipts"), (ReceiptVector[]));
        assertGt(all.length, 1);
        bytes32 typeHash = keccak256(
            "Receipt(uint64 accountId,uint40 batchNumber,uint64 sequence,bytes32 jobId,bytes32 authorizationHash,bytes32 requestHash,bytes32 outputHash,uint56 listAmount,uint16 discountBps,uint56 charged,uint64 issuedAt)"
        );
        for (uint256 i; i < all.length; ++i) {
            ReceiptVector memory r = all[i];
            bytes memory head = abi.encode(typeHash, r.accountId, r.batchNumber, r.sequence);
            bytes memory hashes = abi.encode(r.jobId, r.authorizationHash, r.requestHash, r.outputHash);
            bytes memory tail = abi.encode(r.listAmount, r.discountBps, r.charged, r.issuedAt);
            bytes32 structHash = keccak256(bytes.concat(head, hashes, tail));
            assertEq(structHash, r.structHash);
            assertEq(_digest(r.chainId, _contract(json), structHash), r.digest);
            assertEq(ECDSA.recover(r.digest, r.signature), vm.parseJsonAddress(json, ".signer"));
        }
    }

    /// @dev Circle's contract decides: it takes the signature of the vectors, and the digest is made of its own separator.
    function test_TypedData_ReceiveWithAuthorizations() external {
        Eip3009Vector[] memory all =
            abi.decode(vm.parseJson(_json("typed_data.json"), ".receiveWithAuthorizations"), (Eip3009Vector[]));
        assertGt(all.length, 1);
        for (uint256 i; i < all.length; ++i) {
            Eip3009Vector memory v = all[i];
            bytes32 structHash =
                keccak256(abi.encode(RECEIVE_TYPEHASH, v.from, v.to, v.value, v.validAfter, v.validBefore, v.nonce));
            assertEq(structHash, v.structHash);
            if (v.token != address(USDC)) continue;
            assertEq(keccak256(abi.encodePacked("\x19\x01", USDC.DOMAIN_SEPARATOR(), structHash)), v.digest);
            if (uint256(v.validBefore) <= block.timestamp || uint256(v.validAfter) >= block.timestamp) continue;
            if (uint256(v.value) != 0) _mint(v.from, uint256(v.value));
            vm.prank(v.to);
            USDC.receiveWithAuthorization(
                v.from, v.to, uint256(v.value), uint256(v.validAfter), uint256(v.validBefore), v.nonce, v.signature
            );
        }
    }

    // --------------------------------------------------------------- deposits

    function test_Deposit_Nonces() external view {
        NonceVector[] memory all = abi.decode(vm.parseJson(_json("deposit.json"), ".nonces"), (NonceVector[]));
        assertGt(all.length, 1);
        for (uint256 i; i < all.length; ++i) {
            NonceVector memory n = all[i];
            assertEq(
                futures.depositNonce(uint32(n.operatorIndex), n.owner, uint64(n.accountId), uint56(n.ceiling), n.salt),
                n.nonce
            );
        }
    }

    function test_Deposit_Addresses() external {
        AddressVector[] memory all = abi.decode(vm.parseJson(_json("deposit.json"), ".addresses"), (AddressVector[]));
        assertGt(all.length, 1);
        for (uint256 i; i < all.length; ++i) {
            AddressVector memory a = all[i];
            _deployAt(a.contract_, 8453);
            _replace(a.contract_, futures.vaultImplementation(), a.vaultImplementation);
            IComputeFutures.DepositTerms memory terms =
                IComputeFutures.DepositTerms(uint32(a.operatorIndex), a.owner, uint56(a.ceiling), uint56(a.fee));
            assertEq(keccak256(abi.encode(terms)), a.salt);
            assertEq(futures.depositAddress(terms), a.depositAddress);
        }
    }

    /// @dev Puts another address where the constructor put an immutable.
    function _replace(address where, address from, address to) private {
        bytes memory code = where.code;
        bytes20 wanted = bytes20(from);
        for (uint256 i; i + 20 <= code.length; ++i) {
            bytes20 here;
            assembly ("memory-safe") {
                here := and(mload(add(add(code, 0x20), i)), not(sub(shl(96, 1), 1)))
            }
            if (here != wanted) continue;
            for (uint256 j; j < 20; ++j) {
                code[i + j] = bytes20(to)[j];
            }
        }
        vm.etch(where, code);
        assertEq(futures.vaultImplementation(), to);
    }
}
