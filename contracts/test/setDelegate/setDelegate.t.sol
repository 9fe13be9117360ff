// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeFutures} from "../../src/interfaces/IComputeFutures.sol";
import {BaseTest} from "../utils/BaseTest.sol";

contract SetDelegateTest is BaseTest {
    function test_RevertWhen_TheAccountIsUnknownOrClosed() external {
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_UnknownAccount.selector, 7));
        futures.setDelegate(7, delegate);
        uint64 accountId = _open();
        _close(accountId);
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_AccountClosed.selector, accountId));
        vm.prank(owner);
        futures.setDelegate(accountId, delegate);
    }

    function testFuzz_RevertWhen_TheCallerIsNotTheOwner(address caller) external {
        vm.assume(caller != owner);
        uint64 accountId = _open();
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_NotOwner.selector, accountId, caller));
        vm.prank(caller);
        futures.setDelegate(accountId, caller);
    }

    function testFuzz_WhenTheOwnerSetsIt(address who) external {
        vm.assume(who != owner);
        uint64 accountId = _open();
        vm.expectEmit(address(futures));
        emit IComputeFutures.DelegateSet(accountId, who);
        vm.prank(owner);
        futures.setDelegate(accountId, who);
        assertEq(_account(accountId).delegate, who);

        vm.startPrank(who);
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_NotOwner.selector, accountId, who));
        futures.requestRefund(accountId);
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_NotOwner.selector, accountId, who));
        futures.refund(accountId);
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_NotOwner.selector, accountId, who));
        futures.setDelegate(accountId, who);
        vm.stopPrank();

        vm.prank(owner);
        futures.setDelegate(accountId, address(0));
        assertEq(_account(accountId).delegate, address(0));
    }
}
