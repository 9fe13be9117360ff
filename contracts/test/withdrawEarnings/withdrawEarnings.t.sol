// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeFutures} from "../../src/interfaces/IComputeFutures.sol";
import {BaseTest} from "../utils/BaseTest.sol";

contract WithdrawEarningsTest is BaseTest {
    function setUp() public override {
        super.setUp();
        _charge(_open(), 10 * USD); // 9 USDC earned, 91 USDC are the owner's
    }

    function testFuzz_RevertWhen_TheCallerIsNotAnOperator(address caller) external {
        vm.assume(caller != operator && caller != otherOperator);
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_NotOperator.selector, caller));
        vm.prank(caller);
        futures.withdrawEarnings(caller, 1);
    }

    function test_RevertWhen_TheRecipientIsZeroOrTheContractItself() external {
        vm.startPrank(operator);
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_InvalidRecipient.selector, address(0)));
        futures.withdrawEarnings(address(0), 1);
        vm.expectRevert(
            abi.encodeWithSelector(IComputeFutures.ComputeFutures_InvalidRecipient.selector, address(futures))
        );
        futures.withdrawEarnings(address(futures), 1);
    }

    function testFuzz_RevertWhen_ItAsksForMoreThanItEarned(uint64 amount) external {
        amount = uint64(bound(amount, 9 * USD + 1, type(uint64).max));
        vm.expectRevert(
            abi.encodeWithSelector(IComputeFutures.ComputeFutures_InsufficientEarnings.selector, 9 * USD, amount)
        );
        vm.prank(operator);
        futures.withdrawEarnings(operator, amount);
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_InsufficientEarnings.selector, 0, amount));
        vm.prank(otherOperator);
        futures.withdrawEarnings(otherOperator, amount);
    }

    function testFuzz_WhenItAsksForWhatItEarned(uint64 amount) external {
        amount = uint64(bound(amount, 0, 9 * USD));
        address to = makeAddr("treasury");
        vm.expectEmit(address(futures));
        emit IComputeFutures.EarningsWithdrawn(operatorIndex, to, amount);
        vm.prank(operator);
        futures.withdrawEarnings(to, amount);
        assertEq(USDC.balanceOf(to), amount);
        assertEq(_earnings(), 9 * USD - amount);
    }
}
