// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeFutures} from "../../src/interfaces/IComputeFutures.sol";
import {BaseTest} from "../utils/BaseTest.sol";

contract TopUpTest is BaseTest {
    function _topUp(address caller, uint64 accountId, uint56 amount, uint56 ceiling) private {
        vm.prank(caller);
        futures.topUp(accountId, amount, ceiling);
    }

    function testFuzz_RevertWhen_TheAccountIsUnknown(uint64 accountId) external {
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_UnknownAccount.selector, accountId));
        _topUp(stranger, accountId, 1, 0);
    }

    function test_RevertWhen_TheAccountIsClosed() external {
        uint64 accountId = _open();
        _close(accountId);
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_AccountClosed.selector, accountId));
        _topUp(owner, accountId, 1, 0);
    }

    function test_RevertWhen_ARefundWasRequested() external {
        uint64 accountId = _open();
        uint40 due = _requestRefund(accountId);
        vm.expectRevert(
            abi.encodeWithSelector(IComputeFutures.ComputeFutures_RefundAlreadyRequested.selector, accountId, due)
        );
        _topUp(owner, accountId, 1, 0);
    }

    function test_RevertWhen_TheAmountIsZero() external {
        uint64 accountId = _open();
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_DepositTooSmall.selector, 0, 1));
        _topUp(owner, accountId, 0, 0);
    }

    function test_RevertWhen_CreditWouldExceed56Bits() external {
        uint64 accountId = _open(1 * USD, 0);
        _mint(owner, NO_LIMIT);
        vm.expectRevert(
            abi.encodeWithSelector(IComputeFutures.ComputeFutures_CreditOverflow.selector, uint256(NO_LIMIT) + 1)
        );
        _topUp(owner, accountId, NO_LIMIT - 1 * USD + 1, 0);
        _topUp(owner, accountId, NO_LIMIT - 1 * USD, 0);
        assertEq(_account(accountId).credit, NO_LIMIT);
    }

    function testFuzz_RevertWhen_AStrangerSetsACeiling(uint56 ceiling) external {
        uint64 accountId = _open();
        ceiling = uint56(bound(ceiling, 1, NO_LIMIT));
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_NotSpender.selector, accountId, stranger));
        _topUp(stranger, accountId, 1, ceiling);
    }

    function testFuzz_WhenAnyoneTopsUp(uint56 amount) external {
        uint64 accountId = _open(20 * USD, 5 * USD);
        amount = uint56(bound(amount, 1, 10_000 * USD));
        _topUp(stranger, accountId, amount, 0);
        assertEq(_account(accountId).credit, 20 * USD + amount);
        assertEq(_account(accountId).ceiling, 5 * USD);
        assertEq(_account(accountId).owner, owner);
        assertEq(USDC.balanceOf(address(futures)), 20 * USD + amount);
    }

    function test_WhenAnyoneTopsUp_GivenOwnerOrDelegateWithAHigherCeiling() external {
        uint64 accountId = _open(20 * USD, 5 * USD);
        vm.expectEmit(address(futures));
        emit IComputeFutures.CeilingRaised(accountId, owner, 6 * USD);
        _topUp(owner, accountId, 1 * USD, 6 * USD);
        assertEq(_account(accountId).ceiling, 6 * USD);

        vm.prank(owner);
        futures.setDelegate(accountId, delegate);
        _fund(delegate, 1 * USD);
        vm.expectEmit(address(futures));
        emit IComputeFutures.CeilingRaised(accountId, delegate, 7 * USD);
        _topUp(delegate, accountId, 1 * USD, 7 * USD);
        assertEq(_account(accountId).ceiling, 7 * USD);
    }

    function testFuzz_WhenAnyoneTopsUp_GivenACeilingThatIsNotHigher(uint56 ceiling) external {
        uint64 accountId = _open(20 * USD, 5 * USD);
        _topUp(owner, accountId, 1 * USD, uint56(bound(ceiling, 0, 5 * USD)));
        assertEq(_account(accountId).ceiling, 5 * USD);
    }

    function test_WhenAnyoneTopsUp_GivenATotalThatStaysInTheTier() external {
        uint64 accountId = _open(20 * USD, 0);
        vm.expectEmit(address(futures));
        emit IComputeFutures.Deposited(accountId, stranger, 1 * USD, 21 * USD, 500, 500, 0);
        _topUp(stranger, accountId, 1 * USD, 0);
    }

    function test_WhenAnyoneTopsUp_GivenATotalThatReachesAHigherTier() external {
        uint64 accountId = _open(20 * USD, NO_LIMIT);
        _charge(accountId, 1 * USD); // batch 1
        vm.expectEmit(address(futures));
        emit IComputeFutures.Deposited(accountId, owner, 30 * USD, 50 * USD, 1000, 500, 4);
        _topUp(owner, accountId, 30 * USD, 0);

        uint56 before = _account(accountId).charged;
        for (uint256 batch = 2; batch <= 4; ++batch) {
            assertEq(_charge(accountId, 1 * USD), batch);
            uint56 net = _account(accountId).charged - before;
            assertEq(net, batch < 4 ? 950_000 : 900_000);
            before += net;
        }
    }

    function test_WhenAnyoneTopsUp_GivenTwoRaisesInARow() external {
        uint64 accountId = _open(20 * USD, NO_LIMIT);
        _topUp(owner, accountId, 30 * USD, 0);
        _topUp(owner, accountId, 150 * USD, 0);
        IComputeFutures.Account memory a = _account(accountId);
        assertEq(a.discountBps, 1500);
        assertEq(a.previousDiscountBps, 500);
        assertEq(a.discountFromBatch, 3);
    }

    function testFuzz_WhenAnyoneTopsUp_TheDiscountNeverFalls(uint56[4] memory amounts, uint56 spend) external {
        uint64 accountId = _open(20 * USD, NO_LIMIT);
        uint16 discount = 500;
        for (uint256 i; i < amounts.length; ++i) {
            _charge(accountId, uint56(bound(spend, 0, 20 * USD)));
            _topUp(stranger, accountId, uint56(bound(amounts[i], 1, 100 * USD)), 0);
            uint16 now_ = _account(accountId).discountBps;
            assertGe(now_, discount);
            discount = now_;
        }
    }
}
