// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeEscrow} from "../../../src/interfaces/IComputeEscrow.sol";
import {MarketTest} from "../utils/MarketTest.sol";

contract FundTest is MarketTest {
    function test_RevertWhen_TheEscrowIsUnknown() external {
        _create();
        vm.startPrank(creator);
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_UnknownEscrow.selector, 0));
        escrow.fund(0, 1 * USD);
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_UnknownEscrow.selector, 2));
        escrow.fund(2, 1 * USD);
        vm.stopPrank();
    }

    function test_RevertWhen_ThereIsNothingToFund() external {
        uint32 escrowId = _create();
        vm.expectRevert(IComputeEscrow.ComputeEscrow_NothingToFund.selector);
        vm.prank(creator);
        escrow.fund(escrowId, 0);
    }

    function test_RevertWhen_ItHasExpired() external {
        uint32 escrowId = _create();
        vm.warp(EXPIRY);
        vm.startPrank(creator);
        escrow.fund(escrowId, 1 * USD);
        vm.warp(uint256(EXPIRY) + 1);
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_Expired.selector, escrowId, EXPIRY));
        escrow.fund(escrowId, 1 * USD);
        escrow.expire(escrowId);
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_Expired.selector, escrowId, EXPIRY));
        escrow.fund(escrowId, 1 * USD);
        vm.stopPrank();
    }

    /// What is reserved counts: a lapse must always fit.
    function test_RevertWhen_ItWouldHoldMoreThan56Bits() external {
        uint32 escrowId = _create();
        _open(escrowId, 10 * USD);
        _mint(creator, ALL);
        vm.startPrank(creator);
        uint56 room = ALL - 100 * USD;
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_BudgetOverflow.selector, uint256(ALL) + 1));
        escrow.fund(escrowId, room + 1);
        escrow.fund(escrowId, room);
        vm.stopPrank();
        _assertMoney(escrowId, ALL - 10 * USD, 10 * USD);
        vm.warp(block.timestamp + 2 hours);
        escrow.lapseSession((uint64(escrowId) << 32) | 1);
        _assertMoney(escrowId, ALL, 0);
    }

    function testFuzz_WhenAnyonePays(uint56 amount, uint48 limit) external {
        amount = uint56(bound(amount, 1, 10_000 * USD));
        limit = uint48(bound(limit, 1, SESSION_LIMIT));
        uint32 escrowId = _create();
        _open(escrowId, limit);
        vm.expectEmit(address(escrow));
        emit IComputeEscrow.EscrowFunded(escrowId, stranger, amount, 100 * USD - limit + amount);
        vm.prank(stranger);
        escrow.fund(escrowId, amount);
        _assertMoney(escrowId, 100 * USD - limit + amount, limit);
        assertEq(escrow.escrow(escrowId).creator, creator);
        assertEq(USDC.balanceOf(address(escrow)), 100 * USD + amount);
    }
}
