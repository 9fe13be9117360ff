// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeEscrow} from "../../../src/interfaces/IComputeEscrow.sol";
import {PlainToken} from "../../utils/StrangeTokens.sol";
import {MarketTest} from "../utils/MarketTest.sol";

contract MarketRecoverTest is MarketTest {
    function testFuzz_RevertWhen_AnyoneElseCallsBeforeTheExpiry(address caller, uint40 time) external {
        vm.assume(caller != creator);
        _mint(escrow.depositAddress(_terms()), 5 * USD);
        vm.warp(bound(time, START, EXPIRY));
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_NotCreator.selector, 0, caller));
        vm.prank(caller);
        escrow.recover(_terms(), address(USDC));
    }

    function test_RevertWhen_ThereIsNothing() external {
        address vault = escrow.depositAddress(_terms());
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_NothingToSweep.selector, vault));
        vm.prank(creator);
        escrow.recover(_terms(), address(USDC));
    }

    function testFuzz_WhenTheCreatorCalls(uint56 amount, bool late) external {
        amount = uint56(bound(amount, 1, ALL));
        address vault = escrow.depositAddress(_terms());
        _mint(vault, amount);
        if (late) vm.warp(uint256(EXPIRY) + 1);
        vm.expectEmit(address(escrow));
        emit IComputeEscrow.Recovered(vault, creator, address(USDC), amount);
        vm.prank(creator);
        assertEq(escrow.recover(_terms(), address(USDC)), amount);
        assertEq(USDC.balanceOf(creator), 10_000 * USD + uint256(amount));
    }

    function testFuzz_WhenAnyoneCallsAfterTheExpiry(address caller) external {
        _mint(escrow.depositAddress(_terms()), 5 * USD);
        vm.warp(uint256(EXPIRY) + 1);
        vm.prank(caller);
        assertEq(escrow.recover(_terms(), address(USDC)), 5 * USD);
        assertEq(USDC.balanceOf(creator), 10_005 * USD);
    }

    function test_WhenTheTokenIsAnother() external {
        PlainToken token = new PlainToken();
        token.mint(escrow.depositAddress(_terms()), 7);
        vm.prank(creator);
        assertEq(escrow.recover(_terms(), address(token)), 7);
        assertEq(token.balanceOf(creator), 7);
    }
}
