// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

import {IComputeFutures} from "../../src/interfaces/IComputeFutures.sol";
import {BaseTest} from "../utils/BaseTest.sol";

contract OtherToken is ERC20("Other", "OTH") {
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}

contract RecoverTest is BaseTest {
    function testFuzz_RevertWhen_TheCallerIsNotTheOwner(address caller) external {
        vm.assume(caller != owner);
        IComputeFutures.DepositTerms memory terms = _depositTerms(NO_LIMIT, 0);
        _mint(futures.depositAddress(terms), 20 * USD);
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_NotOwner.selector, 0, caller));
        vm.prank(caller);
        futures.recover(terms, address(USDC));
    }

    function test_RevertWhen_TheAddressHoldsNoneOfTheToken() external {
        IComputeFutures.DepositTerms memory terms = _depositTerms(NO_LIMIT, 0);
        address vault = futures.depositAddress(terms);
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_NothingToSweep.selector, vault, 0, 0));
        vm.prank(owner);
        futures.recover(terms, address(USDC));
    }

    function testFuzz_WhenTheAddressHoldsUsdc(uint56 amount) external {
        amount = uint56(bound(amount, 1, NO_LIMIT));
        IComputeFutures.DepositTerms memory terms = _depositTerms(NO_LIMIT, 10_000);
        address vault = futures.depositAddress(terms);
        _mint(vault, amount);
        uint256 before = USDC.balanceOf(owner);
        vm.expectEmit(address(futures));
        emit IComputeFutures.Recovered(vault, owner, address(USDC), amount);
        vm.prank(owner);
        assertEq(futures.recover(terms, address(USDC)), amount);
        assertEq(USDC.balanceOf(owner) - before, amount);
        assertEq(_earnings(), 0);
    }

    function test_WhenTheAddressHoldsAnotherToken() external {
        OtherToken other = new OtherToken();
        IComputeFutures.DepositTerms memory terms = _depositTerms(NO_LIMIT, 10_000);
        other.mint(futures.depositAddress(terms), 7 ether);
        vm.prank(owner);
        assertEq(futures.recover(terms, address(other)), 7 ether);
        assertEq(other.balanceOf(owner), 7 ether);
    }
}
