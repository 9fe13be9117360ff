// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeEscrow} from "../../../src/interfaces/IComputeEscrow.sol";
import {MarketTest} from "../utils/MarketTest.sol";

contract MarketRefundTest is MarketTest {
    function test_RevertWhen_TheEscrowIsUnknown() external {
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_UnknownEscrow.selector, 1));
        vm.prank(creator);
        escrow.refund(1, ALL);
    }

    function testFuzz_RevertWhen_TheCallerIsNotTheCreator(address caller, uint8 which) external {
        if (which % 3 == 0) caller = agent;
        if (which % 3 == 1) caller = meter;
        vm.assume(caller != creator);
        uint32 escrowId = _create();
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_NotCreator.selector, escrowId, caller));
        vm.prank(caller);
        escrow.refund(escrowId, ALL);
    }

    function test_RevertWhen_NothingIsUnreserved() external {
        uint32 escrowId = _create(_terms(), 5 * USD);
        _open(escrowId, 5 * USD);
        vm.startPrank(creator);
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_NothingToRefund.selector, escrowId));
        escrow.refund(escrowId, ALL);
        vm.stopPrank();
    }

    function test_RevertWhen_NothingIsAskedFor() external {
        uint32 escrowId = _create();
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_NothingToRefund.selector, escrowId));
        vm.prank(creator);
        escrow.refund(escrowId, 0);
    }

    function testFuzz_WhenTheCreatorAsks(uint56 amount, uint48 limit, uint40 time) external {
        amount = uint56(bound(amount, 1, ALL));
        limit = uint48(bound(limit, 1, SESSION_LIMIT));
        uint32 escrowId = _create();
        uint64 sessionId = _open(escrowId, limit);
        vm.warp(bound(time, START, uint256(EXPIRY) + 100 days)); // before and after the expiry
        uint56 free = 100 * USD - limit;
        uint56 paid = amount < free ? amount : free;
        vm.expectEmit(address(escrow));
        emit IComputeEscrow.EscrowRefunded(escrowId, creator, paid, free - paid);
        vm.prank(creator);
        assertEq(escrow.refund(escrowId, amount), paid);
        _assertMoney(escrowId, free - paid, limit); // what is reserved stays
        assertEq(USDC.balanceOf(creator), 9_900 * USD + paid);
        _assertState(sessionId, IComputeEscrow.SessionState.Open);
    }

    function test_WhenASessionIsClosedAfterIt() external {
        uint32 escrowId = _create();
        uint64 sessionId = _open(escrowId, 5 * USD);
        vm.prank(creator);
        escrow.refund(escrowId, ALL);
        _close(sessionId, 2 * USD);
        _assertMoney(escrowId, 3 * USD, 0);
        _withdraw(2 * USD);
        vm.prank(creator);
        escrow.refund(escrowId, ALL);
        assertEq(USDC.balanceOf(address(escrow)), 0);
        assertEq(USDC.balanceOf(creator), 9_998 * USD);
    }
}
