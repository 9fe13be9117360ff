// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeFutures} from "../../src/interfaces/IComputeFutures.sol";
import {BaseTest} from "../utils/BaseTest.sol";

contract RefundTest is BaseTest {
    function test_RevertWhen_TheAccountIsUnknownOrClosed() external {
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_UnknownAccount.selector, 7));
        futures.refund(7);
        uint64 accountId = _open();
        vm.warp(_requestRefund(accountId));
        vm.startPrank(owner);
        futures.refund(accountId);
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_AccountClosed.selector, accountId));
        futures.refund(accountId);
    }

    function testFuzz_RevertWhen_TheCallerIsNotTheOwner(address caller) external {
        vm.assume(caller != owner);
        uint64 accountId = _open();
        vm.warp(_requestRefund(accountId));
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_NotOwner.selector, accountId, caller));
        vm.prank(caller);
        futures.refund(accountId);
    }

    function test_RevertWhen_NoRefundWasRequested() external {
        uint64 accountId = _open();
        vm.warp(block.timestamp + 365 days);
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_RefundNotRequested.selector, accountId));
        vm.prank(owner);
        futures.refund(accountId);
    }

    function testFuzz_RevertWhen_TheDelayHasNotPassed(uint32 waited) external {
        uint64 accountId = _open();
        uint40 due = _requestRefund(accountId);
        vm.warp(block.timestamp + bound(waited, 0, REFUND_DELAY - 1));
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_RefundNotDue.selector, accountId, due));
        vm.prank(owner);
        futures.refund(accountId);
    }

    function testFuzz_WhenTheDelayHasPassed(uint56 list) external {
        uint64 accountId = _open();
        list = uint56(bound(list, 0, 200 * USD));
        _charge(accountId, list);
        uint56 charged = _account(accountId).charged;
        uint56 left = 100 * USD - charged;
        vm.warp(_requestRefund(accountId));
        uint256 before = USDC.balanceOf(owner);
        vm.expectEmit(address(futures));
        emit IComputeFutures.Refunded(accountId, owner, left, false);
        vm.prank(owner);
        assertEq(futures.refund(accountId), left);
        assertEq(USDC.balanceOf(owner) - before, left);
        assertEq(_account(accountId).charged, charged);
        assertEq(_account(accountId).credit, charged);
        assertTrue(_account(accountId).closed);
        // The operator keeps what it earned.
        vm.prank(operator);
        futures.withdrawEarnings(operator, charged);
        assertEq(USDC.balanceOf(address(futures)), 0);
    }

    function test_WhenTheDelayHasPassed_GivenNothingIsLeft() external {
        uint64 accountId = _open();
        _charge(accountId, 200 * USD);
        vm.warp(_requestRefund(accountId));
        // No transfer: an owner whose address USDC refuses can still close.
        vm.prank(BLACKLISTER);
        USDC.blacklist(owner);
        vm.prank(owner);
        assertEq(futures.refund(accountId), 0);
        assertTrue(_account(accountId).closed);
    }
}
