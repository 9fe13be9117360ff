// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeEscrow} from "../../../src/interfaces/IComputeEscrow.sol";
import {MarketTest} from "../utils/MarketTest.sol";

contract WithdrawTest is MarketTest {
    function setUp() public override {
        super.setUp();
        _close(_open(_create(), 5 * USD), 4 * USD);
    }

    function testFuzz_RevertWhen_TheCallerIsNotTheProvidersOwner(address caller, bool other) external {
        if (other) caller = otherProviderOwner;
        vm.assume(caller != providerOwner);
        vm.expectRevert(
            abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_NotProviderOwner.selector, providerId, caller)
        );
        vm.prank(caller);
        escrow.withdraw(providerId, caller, 1);
    }

    /// The owner of no provider is nobody, not the zero address.
    function test_RevertWhen_TheProviderIsUnknown() external {
        vm.expectRevert(
            abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_NotProviderOwner.selector, 9, providerOwner)
        );
        vm.prank(providerOwner);
        escrow.withdraw(9, providerOwner, 0);
    }

    function test_RevertWhen_TheRecipientIsZeroOrTheContract() external {
        vm.startPrank(providerOwner);
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_InvalidRecipient.selector, address(0)));
        escrow.withdraw(providerId, address(0), 1);
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_InvalidRecipient.selector, address(escrow)));
        escrow.withdraw(providerId, address(escrow), 1);
        vm.stopPrank();
    }

    function testFuzz_RevertWhen_ItAsksForMoreThanItEarned(uint64 amount) external {
        amount = uint64(bound(amount, 4 * USD + 1, type(uint64).max));
        vm.expectRevert(
            abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_InsufficientEarnings.selector, 4 * USD, amount)
        );
        _withdraw(amount);
    }

    function testFuzz_WhenItAsksForWhatItEarned(uint64 amount, address to) external {
        vm.assume(to != address(0) && to != address(escrow) && to.code.length == 0 && USDC.balanceOf(to) == 0);
        amount = uint64(bound(amount, 0, 4 * USD));
        vm.expectEmit(address(escrow));
        emit IComputeEscrow.EarningsWithdrawn(providerId, to, amount);
        vm.prank(providerOwner);
        escrow.withdraw(providerId, to, amount);
        assertEq(escrow.earnings(providerId), 4 * USD - amount);
        assertEq(USDC.balanceOf(to), amount);
    }
}
