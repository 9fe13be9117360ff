// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeFutures} from "../../src/interfaces/IComputeFutures.sol";
import {BaseTest} from "../utils/BaseTest.sol";

contract DepositTest is BaseTest {
    function test_RevertWhen_TheOwnerIsZeroOrTheContractItself() external {
        vm.startPrank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_InvalidOwner.selector, address(0)));
        futures.deposit(operatorIndex, address(0), 10 * USD, 0);
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_InvalidOwner.selector, address(futures)));
        futures.deposit(operatorIndex, address(futures), 10 * USD, 0);
    }

    function testFuzz_RevertWhen_TheOperatorIsUnknown(uint32 index) external {
        vm.assume(index == 0 || index > 2);
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_UnknownOperator.selector, index));
        vm.prank(owner);
        futures.deposit(index, owner, 10 * USD, 0);
    }

    function testFuzz_RevertWhen_TheAmountIsBelowTheMinimum(uint56 amount) external {
        amount = uint56(bound(amount, 0, 1 * USD - 1));
        vm.expectRevert(
            abi.encodeWithSelector(IComputeFutures.ComputeFutures_DepositTooSmall.selector, amount, 1 * USD)
        );
        _open(amount, 0);
    }

    function testFuzz_RevertWhen_SomebodyElseSetsACeiling(address caller, uint56 ceiling) external {
        vm.assume(caller != owner);
        ceiling = uint56(bound(ceiling, 1, NO_LIMIT));
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_NotOwner.selector, 0, caller));
        vm.prank(caller);
        futures.deposit(operatorIndex, owner, 10 * USD, ceiling);
    }

    function test_RevertWhen_ThePayerHasTooFewTokensOrNoAllowance() external {
        vm.expectRevert("ERC20: transfer amount exceeds balance");
        _open(10_001 * USD, 0);
        _mint(delegate, 10 * USD);
        vm.expectRevert("ERC20: transfer amount exceeds allowance");
        vm.prank(delegate);
        futures.deposit(operatorIndex, delegate, 10 * USD, 0);
    }

    function test_RevertWhen_TheOperatorHasOpenedAllItsAccounts() external {
        // OperatorState.lastSequence is bits 104..135 of the operator's first slot (docs/contracts.md).
        uint256 slot = uint256(keccak256(abi.encode(operatorIndex, uint256(4))));
        vm.store(address(futures), bytes32(slot), bytes32((uint256(2 ** 28 - 2) << 104) | (uint256(1) << 136)));
        uint64 last = _open();
        assertEq(uint32(last), 2 ** 28 - 1);
        vm.expectRevert(
            abi.encodeWithSelector(IComputeFutures.ComputeFutures_SequenceExhausted.selector, operatorIndex)
        );
        _open();
    }

    function test_WhenTheOwnerPays() external {
        uint64 accountId = (uint64(operatorIndex) << 32) | 1;
        vm.expectEmit(address(futures));
        emit IComputeFutures.AccountOpened(accountId, owner, operatorIndex, 1);
        vm.expectEmit(address(futures));
        emit IComputeFutures.Deposited(accountId, owner, 50 * USD, 50 * USD, 1000, 1000, 0);
        vm.expectEmit(address(futures));
        emit IComputeFutures.CeilingRaised(accountId, owner, 20 * USD);
        assertEq(_open(50 * USD, 20 * USD), accountId);

        assertEq(USDC.balanceOf(address(futures)), 50 * USD);
        assertEq(USDC.balanceOf(owner), 9_950 * USD);
        IComputeFutures.Account memory a = _account(accountId);
        assertEq(a.owner, owner);
        assertEq(a.delegate, address(0));
        assertEq(a.credit, 50 * USD);
        assertEq(a.charged, 0);
        assertEq(a.ceiling, 20 * USD);
        assertEq(a.remainder, 0);
        assertEq(a.discountBps, 1000);
        assertEq(a.previousDiscountBps, 1000);
        assertEq(a.discountFromBatch, 0);
        assertEq(a.refundableAt, 0);
        assertEq(a.termsVersion, 1);
        assertFalse(a.closed);
        assertEq(futures.operator(operatorIndex).lastSequence, 1);
    }

    function testFuzz_WhenTheOwnerPays_TheTierFollowsTheAmount(uint56 amount) external {
        amount = uint56(bound(amount, 1 * USD, 10_000 * USD));
        uint16 expected = amount >= 200 * USD ? 1500 : amount >= 50 * USD ? 1000 : amount >= 10 * USD ? 500 : 0;
        assertEq(_account(_open(amount, 0)).discountBps, expected);
    }

    function test_WhenSomebodyElsePays() external {
        vm.prank(stranger);
        uint64 accountId = futures.deposit(operatorIndex, owner, 10 * USD, 0);
        assertEq(_account(accountId).owner, owner);
        assertEq(_account(accountId).ceiling, 0);
        assertEq(USDC.balanceOf(stranger), 9_990 * USD);
        // Nothing can be charged until the owner says so.
        _charge(accountId, 1 * USD);
        assertEq(_account(accountId).charged, 0);
    }

    function test_WhenTheOwnerDepositsAgain() external {
        uint64 first = _open();
        assertEq(_open(), first + 1);
    }
}
