// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeFutures} from "../../src/interfaces/IComputeFutures.sol";
import {BaseTest} from "../utils/BaseTest.sol";

contract RequestRefundTest is BaseTest {
    function test_RevertWhen_TheAccountIsUnknownOrClosed() external {
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_UnknownAccount.selector, 7));
        futures.requestRefund(7);
        uint64 accountId = _open();
        _close(accountId);
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_AccountClosed.selector, accountId));
        vm.prank(owner);
        futures.requestRefund(accountId);
    }

    function testFuzz_RevertWhen_TheCallerIsNotTheOwner(address caller) external {
        vm.assume(caller != owner);
        uint64 accountId = _open();
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_NotOwner.selector, accountId, caller));
        vm.prank(caller);
        futures.requestRefund(accountId);
    }

    function test_RevertWhen_ItWasRequestedBefore() external {
        uint64 accountId = _open();
        uint40 due = _requestRefund(accountId);
        vm.warp(due - 1);
        vm.expectRevert(
            abi.encodeWithSelector(IComputeFutures.ComputeFutures_RefundAlreadyRequested.selector, accountId, due)
        );
        vm.prank(owner);
        futures.requestRefund(accountId);
    }

    function testFuzz_WhenTheOwnerAsks(uint32 delay, uint32 laterDelay) external {
        IComputeFutures.Terms memory terms = _terms();
        terms.refundDelay = uint32(bound(delay, 0, 30 days));
        vm.prank(operator);
        futures.setTerms(terms);
        uint64 accountId = _open();
        // Whatever the operator publishes afterwards.
        uint40 due = uint40(block.timestamp + terms.refundDelay);
        terms.refundDelay = uint32(bound(laterDelay, 0, 30 days));
        vm.prank(operator);
        futures.setTerms(terms);

        vm.expectEmit(address(futures));
        emit IComputeFutures.RefundRequested(accountId, owner, due);
        vm.prank(owner);
        futures.requestRefund(accountId);
        assertEq(_account(accountId).refundableAt, due);
    }

    function test_WhenTheOwnerAsks_DebitsStillLand() external {
        uint64 accountId = _open();
        vm.warp(_requestRefund(accountId) + 7 days);
        _charge(accountId, 10 * USD);
        assertEq(_account(accountId).charged, 9 * USD);
        vm.prank(owner);
        assertEq(futures.refund(accountId), 91 * USD);
    }
}
