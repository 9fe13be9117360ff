// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {DepositVault} from "../../src/DepositVault.sol";
import {IComputeFutures} from "../../src/interfaces/IComputeFutures.sol";
import {BaseTest} from "../utils/BaseTest.sol";

contract SweepTest is BaseTest {
    uint56 internal constant FEE = 10_000;

    function _sweep(IComputeFutures.DepositTerms memory terms) private returns (uint64) {
        vm.prank(stranger);
        return futures.sweep(terms);
    }

    function _pay(IComputeFutures.DepositTerms memory terms, uint256 amount) private returns (address vault) {
        vault = futures.depositAddress(terms);
        if (amount != 0) _mint(vault, amount);
    }

    function testFuzz_TheDepositAddressIsTheClone(uint32 index, address who, uint56 ceiling, uint56 fee) external view {
        bytes32 salt = keccak256(abi.encode(index, who, ceiling, fee));
        bytes32 initCodeHash = keccak256(
            abi.encodePacked(
                hex"3d602d80600a3d3981f3363d3d373d3d3d363d73",
                futures.vaultImplementation(),
                hex"5af43d82803e903d91602b57fd5bf3"
            )
        );
        bytes32 hash = keccak256(abi.encodePacked(bytes1(0xff), address(futures), salt, initCodeHash));
        assertEq(
            futures.depositAddress(IComputeFutures.DepositTerms(index, who, ceiling, fee)),
            address(uint160(uint256(hash)))
        );
    }

    function test_TheDepositAddressDiffersForEveryTerm() external view {
        IComputeFutures.DepositTerms memory base = _depositTerms(5, 6);
        address address_ = futures.depositAddress(base);
        IComputeFutures.DepositTerms memory other = _depositTerms(5, 6);
        other.operatorIndex = otherIndex;
        assertNotEq(futures.depositAddress(other), address_);
        other = _depositTerms(5, 6);
        other.owner = stranger;
        assertNotEq(futures.depositAddress(other), address_);
        assertNotEq(futures.depositAddress(_depositTerms(6, 6)), address_);
        assertNotEq(futures.depositAddress(_depositTerms(5, 5)), address_);
    }

    function testFuzz_RevertWhen_TheAddressHoldsNoMoreThanTheFee(uint56 amount) external {
        amount = uint56(bound(amount, 0, FEE));
        address vault = _pay(_depositTerms(NO_LIMIT, FEE), amount);
        vm.expectRevert(
            abi.encodeWithSelector(IComputeFutures.ComputeFutures_NothingToSweep.selector, vault, amount, FEE)
        );
        _sweep(_depositTerms(NO_LIMIT, FEE));
    }

    function test_RevertWhen_TheOperatorIsUnknown() external {
        IComputeFutures.DepositTerms memory terms = _depositTerms(NO_LIMIT, FEE);
        terms.operatorIndex = 9;
        _pay(terms, 10 * USD);
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_UnknownOperator.selector, 9));
        _sweep(terms);
        vm.prank(owner);
        assertEq(futures.recover(terms, address(USDC)), 10 * USD);
    }

    function test_RevertWhen_WhatIsLeftIsBelowTheMinimum() external {
        IComputeFutures.DepositTerms memory terms = _depositTerms(NO_LIMIT, FEE);
        _pay(terms, 1 * USD + FEE - 1);
        vm.expectRevert(
            abi.encodeWithSelector(IComputeFutures.ComputeFutures_DepositTooSmall.selector, 1 * USD - 1, 1 * USD)
        );
        _sweep(terms);
        vm.prank(owner);
        assertEq(futures.recover(terms, address(USDC)), 1 * USD + FEE - 1);
    }

    function test_RevertWhen_ItHoldsMoreThan56Bits() external {
        IComputeFutures.DepositTerms memory terms = _depositTerms(NO_LIMIT, 0);
        _pay(terms, uint256(NO_LIMIT) + 1);
        vm.expectRevert(
            abi.encodeWithSelector(IComputeFutures.ComputeFutures_CreditOverflow.selector, uint256(NO_LIMIT) + 1)
        );
        _sweep(terms);
        vm.prank(owner);
        futures.recover(terms, address(USDC));
    }

    function test_GivenTheFirstSweep() external {
        IComputeFutures.DepositTerms memory terms = _depositTerms(30 * USD, FEE);
        address vault = _pay(terms, 50 * USD + FEE);
        uint64 accountId = (uint64(operatorIndex) << 32) | 1;
        vm.expectEmit(address(futures));
        emit IComputeFutures.AccountOpened(accountId, owner, operatorIndex, 1);
        vm.expectEmit(address(futures));
        emit IComputeFutures.Deposited(accountId, vault, 50 * USD, 50 * USD, 1000, 1000, 0);
        vm.expectEmit(address(futures));
        emit IComputeFutures.CeilingRaised(accountId, owner, 30 * USD);
        vm.expectEmit(address(futures));
        emit IComputeFutures.Swept(accountId, vault, 50 * USD, FEE);
        assertEq(_sweep(terms), accountId);

        assertEq(_account(accountId).owner, owner);
        assertEq(_account(accountId).credit, 50 * USD);
        assertEq(_account(accountId).ceiling, 30 * USD);
        assertEq(futures.accountOfDepositAddress(vault), accountId);
        assertEq(_earnings(), FEE);
        assertEq(USDC.balanceOf(address(futures)), 50 * USD + FEE);
        assertEq(USDC.balanceOf(vault), 0);
    }

    function test_GivenALaterSweep() external {
        IComputeFutures.DepositTerms memory terms = _depositTerms(30 * USD, FEE);
        _pay(terms, 20 * USD + FEE);
        uint64 accountId = _sweep(terms);
        _pay(terms, 10 * USD);
        address vault = _pay(terms, 20 * USD + FEE); // two transfers, one sweep
        vm.expectEmit(address(futures));
        emit IComputeFutures.Swept(accountId, vault, 30 * USD, FEE);
        assertEq(_sweep(terms), accountId);
        assertEq(_account(accountId).credit, 50 * USD);
        assertEq(_account(accountId).ceiling, 30 * USD);
        assertEq(_account(accountId).discountBps, 1000);
        assertEq(_earnings(), 2 * FEE);
    }

    function test_GivenTheAccountIsInItsRefundDelay() external {
        IComputeFutures.DepositTerms memory terms = _depositTerms(NO_LIMIT, FEE);
        _pay(terms, 20 * USD);
        uint64 accountId = _sweep(terms);
        uint40 due = _requestRefund(accountId);
        _pay(terms, 20 * USD);
        vm.expectRevert(
            abi.encodeWithSelector(IComputeFutures.ComputeFutures_RefundAlreadyRequested.selector, accountId, due)
        );
        _sweep(terms);
        vm.prank(owner);
        assertEq(futures.recover(terms, address(USDC)), 20 * USD);
    }

    function test_GivenTheAccountIsClosed() external {
        IComputeFutures.DepositTerms memory terms = _depositTerms(NO_LIMIT, FEE);
        address vault = _pay(terms, 20 * USD);
        uint64 first = _sweep(terms);
        _close(first);
        _pay(terms, 20 * USD);
        uint64 second = _sweep(terms);
        assertEq(second, first + 1);
        assertEq(futures.accountOfDepositAddress(vault), second);
        assertEq(_account(second).ceiling, NO_LIMIT);
    }

    function test_GivenAnAddressRecoveredBeforeItsFirstSweep() external {
        IComputeFutures.DepositTerms memory terms = _depositTerms(NO_LIMIT, 0);
        _pay(terms, 20 * USD);
        vm.prank(owner);
        futures.recover(terms, address(USDC));
        _pay(terms, 20 * USD);
        assertEq(_account(_sweep(terms)).credit, 20 * USD);
    }

    function testFuzz_TheFeeAndTheCreditAreAllThereWas(uint56 amount, uint56 fee) external {
        fee = uint56(bound(fee, 0, 100 * USD));
        amount = uint56(bound(amount, uint256(fee) + 1 * USD, NO_LIMIT));
        IComputeFutures.DepositTerms memory terms = _depositTerms(0, fee);
        _pay(terms, amount);
        uint64 accountId = _sweep(terms);
        assertEq(_account(accountId).credit, amount - fee);
        assertEq(_earnings(), fee);
    }

    function test_RevertWhen_AnyoneElseCallsTheVault() external {
        IComputeFutures.DepositTerms memory terms = _depositTerms(NO_LIMIT, 0);
        address vault = _pay(terms, 20 * USD);
        _sweep(terms);
        _pay(terms, 20 * USD);
        address[3] memory callers = [owner, operator, stranger];
        for (uint256 i; i < callers.length; ++i) {
            vm.startPrank(callers[i]);
            vm.expectRevert(abi.encodeWithSelector(DepositVault.DepositVault_NotController.selector, callers[i]));
            DepositVault(vault).send(IERC20(address(USDC)), callers[i], 1);
            vm.stopPrank();
        }
    }
}
