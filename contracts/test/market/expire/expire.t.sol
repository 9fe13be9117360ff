// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeEscrow} from "../../../src/interfaces/IComputeEscrow.sol";
import {MarketTest} from "../utils/MarketTest.sol";

contract ExpireTest is MarketTest {
    function test_RevertWhen_TheEscrowIsUnknown() external {
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_UnknownEscrow.selector, 1));
        escrow.expire(1);
    }

    function testFuzz_RevertWhen_ItHasNotExpired(uint40 time, bool byCreator) external {
        uint32 escrowId = _create();
        vm.warp(bound(time, START, EXPIRY));
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_NotExpired.selector, escrowId, EXPIRY));
        vm.prank(byCreator ? creator : stranger);
        escrow.expire(escrowId);
    }

    function test_RevertWhen_ItWasEmptied() external {
        uint32 escrowId = _create();
        vm.warp(uint256(EXPIRY) + 1);
        escrow.expire(escrowId);
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_EscrowClosed.selector, escrowId));
        escrow.expire(escrowId);
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_NothingToRefund.selector, escrowId));
        vm.prank(creator);
        escrow.refund(escrowId, ALL);
    }

    function testFuzz_WhenItHasExpired(address anyone, uint40 late, uint48 limit, uint48 cost) external {
        limit = uint48(bound(limit, 1, SESSION_LIMIT));
        cost = uint48(bound(cost, 0, SESSION_LIMIT));
        uint32 escrowId = _create();
        _close(_open(escrowId, SESSION_LIMIT), cost);
        uint64 hanging = _open(escrowId, limit);
        IComputeEscrow.SessionClose memory row = _closeRow(hanging, limit);
        vm.warp(bound(late, uint256(EXPIRY) + 1, type(uint40).max));
        vm.expectEmit(address(escrow));
        emit IComputeEscrow.EscrowExpired(escrowId, creator, 100 * USD - cost);
        vm.prank(anyone);
        assertEq(escrow.expire(escrowId), 100 * USD - cost);
        assertEq(USDC.balanceOf(creator), 10_000 * USD - cost);
        assertEq(USDC.balanceOf(address(escrow)), cost);
        assertTrue(escrow.escrow(escrowId).closed);
        _assertMoney(escrowId, 0, 0);
        _assertState(hanging, IComputeEscrow.SessionState.Lapsed);

        // What was earned is there; what was reserved cannot be earned any more.
        vm.expectPartialRevert(IComputeEscrow.ComputeEscrow_DeadlinePassed.selector);
        escrow.closeSession(row);
        _withdraw(cost);
        assertEq(USDC.balanceOf(address(escrow)), 0);
    }

    function test_WhenItIsEmpty() external {
        uint32 escrowId = _create();
        vm.prank(creator);
        escrow.refund(escrowId, ALL);
        vm.warp(uint256(EXPIRY) + 1);
        vm.expectEmit(address(escrow));
        emit IComputeEscrow.EscrowExpired(escrowId, creator, 0);
        escrow.expire(escrowId);
    }

    function test_OtherEscrowsAreLeftAlone() external {
        uint32 first = _create();
        IComputeEscrow.EscrowTerms memory terms = _terms();
        terms.expiry = EXPIRY + 2 hours;
        uint32 second = _create(terms, 50 * USD);
        vm.warp(uint256(EXPIRY) + 1);
        escrow.expire(first);
        _assertMoney(second, 50 * USD, 0);
        _open(second, 1 * USD);
    }
}
