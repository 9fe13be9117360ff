// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Vm} from "forge-std/Vm.sol";

import {IComputeFutures} from "../../src/interfaces/IComputeFutures.sol";
import {BaseTest} from "../utils/BaseTest.sol";

contract PostDebitsTest is BaseTest {
    function testFuzz_RevertWhen_TheCallerIsNotAnOperator(address caller) external {
        vm.assume(caller != operator && caller != otherOperator);
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_NotOperator.selector, caller));
        vm.prank(caller);
        futures.postDebits(1, ROOT, 0, new IComputeFutures.Debit[](0));
    }

    function testFuzz_RevertWhen_TheBatchNumberIsNotTheNext(uint40 number) external {
        uint64 accountId = _open();
        _charge(accountId, 1 * USD);
        _charge(accountId, 1 * USD);
        vm.assume(number != 3);
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_WrongBatchNumber.selector, 3, number));
        vm.prank(operator);
        futures.postDebits(number, ROOT, 1, _row(accountId, 1 * USD, 0));
        assertEq(_account(accountId).charged, 1_800_000);
    }

    function test_WhenTheBatchIsPosted() external {
        uint64 accountId = _open();
        vm.expectEmit(address(futures));
        emit IComputeFutures.Debited(accountId, 1, 27_001, 1000, 24_300, 24_300, 9000);
        vm.expectEmit(address(futures));
        emit IComputeFutures.BatchPosted(operatorIndex, 1, ROOT, 20, 1, 24_300);
        vm.prank(operator);
        futures.postDebits(1, ROOT, 20, _row(accountId, 27_001, 1000));

        assertEq(futures.batchRoot(operatorIndex, 1), ROOT);
        assertEq(futures.operator(operatorIndex).lastBatch, 1);
        assertEq(_earnings(), 24_300);
        assertEq(_account(accountId).charged, 24_300);
        assertEq(_account(accountId).remainder, 9000);
    }

    function test_WhenTheBatchIsPosted_WithNoRows() external {
        vm.expectEmit(address(futures));
        emit IComputeFutures.BatchPosted(operatorIndex, 1, ROOT, 0, 0, 0);
        _post(new IComputeFutures.Debit[](0));
    }

    function test_WhenTheBatchIsPosted_NumbersArePerOperator() external {
        _charge(_open(), 1 * USD);
        uint64 other = _openOther(20 * USD);
        vm.prank(otherOperator);
        futures.postDebits(1, ROOT, 1, _row(other, 1 * USD, 0));
        assertEq(futures.operator(operatorIndex).lastBatch, 1);
        assertEq(futures.operator(otherIndex).lastBatch, 1);
        assertEq(futures.operator(otherIndex).earnings, 950_000);
    }

    // --------------------------------------------------------------- discount

    function testFuzz_TheDiscount_IsTheHigherOfFloorAndRow(uint16 stated, uint56 list) external {
        uint64 accountId = _open(); // 10%
        list = uint56(bound(list, 0, 100 * USD));
        uint256 bps = stated > 10_000 ? 10_000 : stated < 1000 ? 1000 : stated;
        _post(_row(accountId, list, stated));
        assertEq(_account(accountId).charged, (uint256(list) * (10_000 - bps)) / 10_000);
        assertEq(_account(accountId).remainder, (uint256(list) * (10_000 - bps)) % 10_000);
    }

    function testFuzz_TheDiscount_IsTheSameForEverySplit(uint56[8] memory lists, uint256 cuts, uint8 tier) external {
        uint56[3] memory deposits = [20 * USD, 100 * USD, 1000 * USD];
        uint64 whole = _open(deposits[tier % 3], NO_LIMIT);
        uint64 split = _open(deposits[tier % 3], NO_LIMIT);
        uint56 total;
        IComputeFutures.Debit[] memory all = new IComputeFutures.Debit[](8);
        for (uint256 i; i < 8; ++i) {
            lists[i] = uint56(bound(lists[i], 0, 2 * USD));
            total += lists[i];
            all[i] = IComputeFutures.Debit(split, lists[i], 0);
        }
        _charge(whole, total);
        // Cut the eight rows into batches wherever a bit of `cuts` is set.
        uint256 from;
        for (uint256 to = 1; to <= 8; ++to) {
            if (to < 8 && (cuts >> to) & 1 == 0) continue;
            IComputeFutures.Debit[] memory part = new IComputeFutures.Debit[](to - from);
            for (uint256 i = from; i < to; ++i) {
                part[i - from] = all[i];
            }
            _post(part);
            from = to;
        }
        assertEq(_account(split).charged, _account(whole).charged);
        assertEq(_account(split).remainder, _account(whole).remainder);
    }

    // ------------------------------------------------------------------ clamp

    function testFuzz_TheClamp_StopsAtCeilingAndCredit(uint56 ceiling, uint56 list) external {
        uint64 accountId = _open(100 * USD, ceiling);
        uint256 net = (uint256(list) * 9) / 10;
        uint256 limit = ceiling < 100 * USD ? ceiling : 100 * USD;
        uint256 charged = net < limit ? net : limit;
        if (net > limit) {
            vm.expectEmit(address(futures));
            emit IComputeFutures.DebitShortfall(accountId, 1, list, uint56(net - limit));
        }
        _charge(accountId, list);
        assertEq(_account(accountId).charged, charged);
        assertEq(_earnings(), charged);
        if (net > limit) assertEq(_account(accountId).remainder, 0);
    }

    function test_TheClamp_EmitsDebitedThenShortfall() external {
        uint64 accountId = _open(100 * USD, 1 * USD);
        vm.expectEmit(address(futures));
        emit IComputeFutures.Debited(accountId, 1, 2 * USD, 1000, 1 * USD, 1 * USD, 0);
        vm.expectEmit(address(futures));
        emit IComputeFutures.DebitShortfall(accountId, 1, 2 * USD, 800_000);
        _charge(accountId, 2 * USD);
    }

    function test_TheClamp_EmitsNoDebitedWhenNothingWasCharged() external {
        uint64 accountId = _open(100 * USD, 0);
        vm.recordLogs();
        _charge(accountId, 2 * USD);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs.length, 2);
        assertEq(logs[0].topics[0], IComputeFutures.DebitShortfall.selector);
        assertEq(logs[1].topics[0], IComputeFutures.BatchPosted.selector);
    }

    function test_TheClamp_DropsTheRemainder() external {
        uint64 accountId = _open(100 * USD, 1 * USD);
        _charge(accountId, 1);
        assertEq(_account(accountId).remainder, 9000);
        _charge(accountId, 2 * USD);
        assertEq(_account(accountId).remainder, 0);
        // Later, with a higher ceiling, counting starts afresh.
        vm.prank(owner);
        futures.raiseCeiling(accountId, 2 * USD);
        _charge(accountId, 1);
        assertEq(_account(accountId).charged, 1 * USD);
        assertEq(_account(accountId).remainder, 9000);
    }

    function test_TheClamp_TwoRowsOfOneAccount() external {
        uint64 accountId = _open(100 * USD, 1 * USD);
        IComputeFutures.Debit[] memory rows = new IComputeFutures.Debit[](2);
        rows[0] = IComputeFutures.Debit(accountId, 1 * USD, 0);
        rows[1] = IComputeFutures.Debit(accountId, 1 * USD, 0);
        _post(rows);
        assertEq(_account(accountId).charged, 1 * USD);
        assertEq(_earnings(), 1 * USD);
    }

    // --------------------------------------------------------------- bad rows

    function _withGoodRow(uint64 good, uint64 bad, uint56 list) private {
        IComputeFutures.Debit[] memory rows = new IComputeFutures.Debit[](2);
        rows[0] = IComputeFutures.Debit(bad, list, 0);
        rows[1] = IComputeFutures.Debit(good, 1 * USD, 0);
        _post(rows);
        assertEq(_account(good).charged, 900_000);
        assertEq(_earnings(), 900_000);
    }

    function testFuzz_ABadRow_GivenAnAccountNeverOpened(uint32 sequence, uint56 list) external {
        sequence = uint32(bound(sequence, 2, type(uint32).max));
        uint64 bad = (uint64(operatorIndex) << 32) | sequence;
        uint64 good = _open();
        vm.expectEmit(address(futures));
        emit IComputeFutures.DebitShortfall(bad, 1, list, list);
        _withGoodRow(good, bad, list);
        assertEq(_account(bad).remainder, 0);
        assertEq(_account(bad).charged, 0);
    }

    function test_ABadRow_GivenAnAccountNeverOpened_LeavesNoTrace() external {
        // 1 micro-USDC at 5% would leave a remainder behind, for whoever opens the account later.
        uint64 next = (uint64(operatorIndex) << 32) | 1;
        _post(_row(next, 1, 500));
        assertEq(_open(), next);
        assertEq(_account(next).remainder, 0);
    }

    function testFuzz_ABadRow_GivenAClosedAccount(uint56 list, bool charged) external {
        list = uint56(bound(list, 2, NO_LIMIT));
        uint64 bad = _open();
        if (charged) {
            _charge(bad, 10);
            vm.prank(operator);
            futures.withdrawEarnings(operator, 9);
        }
        _close(bad);
        uint64 good = _open();
        vm.recordLogs();
        _withGoodRow(good, bad, list);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        uint256 found;
        for (uint256 i; i < logs.length; ++i) {
            if (logs[i].topics[0] == IComputeFutures.DebitShortfall.selector) {
                found++;
            } else if (logs[i].topics[0] == IComputeFutures.Debited.selector) {
                assertNotEq(uint64(uint256(logs[i].topics[1])), bad);
            }
        }
        assertEq(found, 1);
        assertEq(_account(bad).charged, charged ? 9 : 0);
        assertEq(_account(bad).credit, charged ? 9 : 0);
    }

    function testFuzz_ABadRow_GivenAnAccountOfAnotherOperator(uint56 list) external {
        uint64 bad = _openOther(20 * USD);
        bytes memory before = abi.encode(_account(bad));
        uint64 good = _open();
        vm.expectEmit(address(futures));
        emit IComputeFutures.ForeignDebit(operatorIndex, 1, bad, list);
        _withGoodRow(good, bad, list);
        assertEq(abi.encode(_account(bad)), before);
        assertEq(futures.operator(otherIndex).earnings, 0);
    }

    function testFuzz_ABadRow_GivenAnyRowWhatsoever(IComputeFutures.Debit[] memory rows) external {
        uint64 mine = _open();
        uint64 foreign = _openOther(20 * USD);
        for (uint256 i; i < rows.length; ++i) {
            if (i % 3 == 0) rows[i].accountId = mine;
            if (i % 7 == 1) rows[i].accountId = foreign;
        }
        _post(rows);
        assertLe(_account(mine).charged, _account(mine).credit);
        assertEq(_account(foreign).charged, 0);
        assertEq(_earnings(), _account(mine).charged);
    }
}
