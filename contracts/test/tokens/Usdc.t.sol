// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeFutures} from "../../src/interfaces/IComputeFutures.sol";
import {BaseTest} from "../utils/BaseTest.sol";

contract UsdcTest is BaseTest {
    function test_WhenUsdcIsPaused() external {
        uint64 accountId = _open(100 * USD, 50 * USD);
        _charge(accountId, 10 * USD);
        vm.prank(PAUSER);
        USDC.pause();

        vm.expectRevert("Pausable: paused");
        _open();
        vm.expectRevert("Pausable: paused");
        _close(accountId);
        vm.expectRevert("Pausable: paused");
        vm.prank(operator);
        futures.withdrawEarnings(operator, 1 * USD);

        _charge(accountId, 10 * USD);
        vm.prank(owner);
        futures.raiseCeiling(accountId, 60 * USD);
        vm.warp(_requestRefund(accountId));
        vm.startPrank(owner);
        vm.expectRevert("Pausable: paused");
        futures.refund(accountId);
        vm.stopPrank();
        assertFalse(_account(accountId).closed);

        vm.prank(PAUSER);
        USDC.unpause();
        vm.prank(owner);
        assertEq(futures.refund(accountId), 82 * USD);
    }

    function test_WhenAnOwnerIsBlacklisted() external {
        uint64 theirs = _open();
        vm.prank(stranger);
        uint64 other = futures.deposit(operatorIndex, stranger, 100 * USD, NO_LIMIT);
        vm.prank(BLACKLISTER);
        USDC.blacklist(owner);

        IComputeFutures.Debit[] memory rows = new IComputeFutures.Debit[](2);
        rows[0] = IComputeFutures.Debit(theirs, 10 * USD, 0);
        rows[1] = IComputeFutures.Debit(other, 10 * USD, 0);
        _post(rows);
        assertEq(_earnings(), 18 * USD);
        _close(other);
        assertEq(USDC.balanceOf(stranger), 9_991 * USD);

        vm.expectRevert("Blacklistable: account is blacklisted");
        _close(theirs);
        vm.warp(_requestRefund(theirs));
        vm.startPrank(owner);
        vm.expectRevert("Blacklistable: account is blacklisted");
        futures.refund(theirs);
        vm.stopPrank();

        vm.prank(BLACKLISTER);
        USDC.unBlacklist(owner);
        vm.prank(owner);
        assertEq(futures.refund(theirs), 91 * USD);
    }

    function test_WhenAnOperatorIsBlacklisted() external {
        _charge(_open(), 10 * USD);
        vm.prank(BLACKLISTER);
        USDC.blacklist(operator);
        vm.startPrank(operator);
        vm.expectRevert("Blacklistable: account is blacklisted");
        futures.withdrawEarnings(operator, 9 * USD);
        futures.withdrawEarnings(makeAddr("elsewhere"), 9 * USD);
    }

    function test_WhenComputeFuturesItselfIsBlacklisted() external {
        uint64 accountId = _open();
        vm.prank(BLACKLISTER);
        USDC.blacklist(address(futures));
        vm.expectRevert("Blacklistable: account is blacklisted");
        _open();
        vm.expectRevert("Blacklistable: account is blacklisted");
        _close(accountId);
        _charge(accountId, 10 * USD);
        vm.prank(BLACKLISTER);
        USDC.unBlacklist(address(futures));
        _close(accountId);
        assertEq(USDC.balanceOf(owner), 9_991 * USD);
    }

    function test_WhenSomebodySendsUsdcStraightToComputeFutures() external {
        uint64 accountId = _open();
        vm.prank(stranger);
        assertTrue(USDC.transfer(address(futures), 5 * USD));
        assertEq(_account(accountId).credit, 100 * USD);
        _close(accountId);
        assertEq(USDC.balanceOf(address(futures)), 5 * USD);
    }
}
