// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeFutures} from "../../src/interfaces/IComputeFutures.sol";
import {BaseTest} from "../utils/BaseTest.sol";

contract CloseAccountTest is BaseTest {
    function test_RevertWhen_TheAccountIsUnknownOrClosed() external {
        vm.startPrank(operator);
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_UnknownAccount.selector, 7));
        futures.closeAccount(7);
        vm.stopPrank();
        uint64 accountId = _open();
        _close(accountId);
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_AccountClosed.selector, accountId));
        _close(accountId);
    }

    function testFuzz_RevertWhen_TheCallerIsNotTheAccountsOperator(address caller, uint8 which) external {
        if (which % 3 == 0) caller = otherOperator;
        if (which % 3 == 1) caller = owner;
        vm.assume(caller != operator);
        uint64 accountId = _open();
        vm.expectRevert(
            abi.encodeWithSelector(IComputeFutures.ComputeFutures_NotAccountOperator.selector, accountId, caller)
        );
        vm.prank(caller);
        futures.closeAccount(accountId);
    }

    function testFuzz_WhenTheOperatorClosesIt(uint56 list, bool requested) external {
        uint64 accountId = _open();
        _charge(accountId, list);
        uint56 left = 100 * USD - _account(accountId).charged;
        if (requested) _requestRefund(accountId);
        uint256 before = USDC.balanceOf(owner);
        vm.expectEmit(address(futures));
        emit IComputeFutures.Refunded(accountId, owner, left, true);
        vm.prank(operator);
        assertEq(futures.closeAccount(accountId), left);
        assertEq(USDC.balanceOf(owner) - before, left);
        assertEq(USDC.balanceOf(operator), 0);
        assertTrue(_account(accountId).closed);
    }
}
