// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeFutures} from "../../src/interfaces/IComputeFutures.sol";
import {BaseTest} from "../utils/BaseTest.sol";

contract RaiseCeilingTest is BaseTest {
    function test_RevertWhen_TheAccountIsUnknownOrClosed() external {
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_UnknownAccount.selector, 7));
        futures.raiseCeiling(7, 1);
        uint64 accountId = _open(20 * USD, 0);
        _close(accountId);
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_AccountClosed.selector, accountId));
        vm.prank(owner);
        futures.raiseCeiling(accountId, 1);
    }

    function testFuzz_RevertWhen_TheCallerIsNeitherOwnerNorDelegate(address caller) external {
        vm.assume(caller != owner && caller != delegate);
        uint64 accountId = _open(20 * USD, 0);
        vm.prank(owner);
        futures.setDelegate(accountId, delegate);
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_NotSpender.selector, accountId, caller));
        vm.prank(caller);
        futures.raiseCeiling(accountId, 1);
    }

    function test_RevertWhen_TheCallerIsTheOperator() external {
        uint64 accountId = _open(20 * USD, 0);
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_NotSpender.selector, accountId, operator));
        vm.prank(operator);
        futures.raiseCeiling(accountId, 1);
    }

    function testFuzz_RevertWhen_TheCeilingIsNotAbove(uint56 ceiling) external {
        uint64 accountId = _open(20 * USD, 5 * USD);
        ceiling = uint56(bound(ceiling, 0, 5 * USD));
        vm.expectRevert(
            abi.encodeWithSelector(IComputeFutures.ComputeFutures_CeilingNotRaised.selector, 5 * USD, ceiling)
        );
        vm.prank(owner);
        futures.raiseCeiling(accountId, ceiling);
    }

    function testFuzz_WhenOwnerOrDelegateRaiseIt(uint56 ceiling, bool byDelegate) external {
        uint64 accountId = _open(20 * USD, 5 * USD);
        vm.prank(owner);
        futures.setDelegate(accountId, delegate);
        ceiling = uint56(bound(ceiling, 5 * USD + 1, NO_LIMIT));
        address caller = byDelegate ? delegate : owner;
        vm.expectEmit(address(futures));
        emit IComputeFutures.CeilingRaised(accountId, caller, ceiling);
        vm.prank(caller);
        futures.raiseCeiling(accountId, ceiling);
        assertEq(_account(accountId).ceiling, ceiling);
        assertEq(_account(accountId).credit, 20 * USD);
    }

    function test_WhenOwnerOrDelegateRaiseIt_InTheRefundDelay() external {
        uint64 accountId = _open(20 * USD, 0);
        _requestRefund(accountId);
        vm.prank(owner);
        futures.raiseCeiling(accountId, 1 * USD);
        _charge(accountId, 1 * USD);
        assertEq(_account(accountId).charged, 950_000);
    }
}
