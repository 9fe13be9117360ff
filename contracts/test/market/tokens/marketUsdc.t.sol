// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeEscrow} from "../../../src/interfaces/IComputeEscrow.sol";
import {MarketTest} from "../utils/MarketTest.sol";

contract MarketUsdcTest is MarketTest {
    uint32 private escrowId;

    function setUp() public override {
        super.setUp();
        escrowId = _create();
    }

    function test_WhenUsdcIsPaused() external {
        uint64 sessionId = _open(escrowId, 5 * USD);
        vm.prank(PAUSER);
        USDC.pause();
        vm.expectRevert("Pausable: paused");
        _create();
        vm.expectRevert("Pausable: paused");
        vm.prank(creator);
        escrow.refund(escrowId, ALL);

        // What moves no tokens goes on.
        uint64 second = _open(escrowId, 5 * USD);
        _close(sessionId, 3 * USD);
        vm.warp(block.timestamp + 2 hours);
        escrow.lapseSession(second);
        vm.expectRevert("Pausable: paused");
        _withdraw(3 * USD);
        vm.warp(uint256(EXPIRY) + 1);
        vm.expectRevert("Pausable: paused");
        escrow.expire(escrowId);

        vm.prank(PAUSER);
        USDC.unpause();
        _withdraw(3 * USD);
        escrow.expire(escrowId);
        assertEq(USDC.balanceOf(address(escrow)), 0);
    }

    function test_WhenACreatorIsBlacklisted() external {
        IComputeEscrow.EscrowTerms memory terms = _terms();
        terms.creator = stranger;
        uint32 others = _create(terms, 10 * USD);
        uint64 sessionId = _open(escrowId, 5 * USD);
        vm.prank(BLACKLISTER);
        USDC.blacklist(creator);
        _close(sessionId, 3 * USD);
        _withdraw(3 * USD);
        vm.warp(uint256(EXPIRY) + 1);
        vm.expectRevert("Blacklistable: account is blacklisted");
        escrow.expire(escrowId);
        escrow.expire(others);
        assertEq(USDC.balanceOf(stranger), 10_000 * USD);

        vm.prank(BLACKLISTER);
        USDC.unBlacklist(creator);
        escrow.expire(escrowId);
        assertEq(USDC.balanceOf(creator), 9_997 * USD);
    }

    function test_WhenAProviderIsBlacklisted() external {
        _close(_open(escrowId, 5 * USD), 3 * USD);
        vm.prank(BLACKLISTER);
        USDC.blacklist(providerOwner);
        vm.expectRevert("Blacklistable: account is blacklisted");
        _withdraw(3 * USD);
        // Its sessions go on, nobody else notices, and it may name another address.
        _close(_open(escrowId, 5 * USD), 1 * USD);
        vm.prank(creator);
        escrow.refund(escrowId, ALL);
        vm.prank(providerOwner);
        escrow.withdraw(providerId, makeAddr("elsewhere"), 4 * USD);
    }

    function test_WhenComputeEscrowItselfIsBlacklisted() external {
        vm.prank(BLACKLISTER);
        USDC.blacklist(address(escrow));
        _close(_open(escrowId, 5 * USD), 3 * USD);
        vm.expectRevert("Blacklistable: account is blacklisted");
        _withdraw(3 * USD);
        vm.prank(BLACKLISTER);
        USDC.unBlacklist(address(escrow));
        _withdraw(3 * USD);
    }

    function test_WhenSomebodySendsUsdcStraightToComputeEscrow() external {
        vm.prank(stranger);
        assertTrue(USDC.transfer(address(escrow), 5 * USD));
        _assertMoney(escrowId, 100 * USD, 0);
        vm.prank(creator);
        escrow.refund(escrowId, ALL);
        assertEq(USDC.balanceOf(address(escrow)), 5 * USD);
    }
}
