// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {DepositVault} from "../../../src/DepositVault.sol";
import {IComputeEscrow} from "../../../src/interfaces/IComputeEscrow.sol";
import {MarketTest} from "../utils/MarketTest.sol";

contract MarketSweepTest is MarketTest {
    function _sweep(IComputeEscrow.EscrowTerms memory terms) private returns (uint32) {
        vm.prank(stranger);
        return escrow.sweep(terms);
    }

    function _send(IComputeEscrow.EscrowTerms memory terms, uint256 amount) private returns (address vault) {
        vault = escrow.depositAddress(terms);
        _mint(vault, amount);
    }

    function test_TheDepositAddressIsTheClone() external view {
        bytes32 initCodeHash = keccak256(
            abi.encodePacked(
                hex"3d602d80600a3d3981f3363d3d373d3d3d363d73",
                escrow.vaultImplementation(),
                hex"5af43d82803e903d91602b57fd5bf3"
            )
        );
        bytes32 hash =
            keccak256(abi.encodePacked(bytes1(0xff), address(escrow), escrow.hashTerms(_terms()), initCodeHash));
        assertEq(escrow.depositAddress(_terms()), address(uint160(uint256(hash))));
    }

    function test_TheDepositAddressDiffersForEveryTerm() external view {
        address[] memory all = new address[](7);
        IComputeEscrow.EscrowTerms memory terms = _terms();
        all[0] = escrow.depositAddress(terms);
        terms.creator = stranger;
        all[1] = escrow.depositAddress(terms);
        terms.expiry++;
        all[2] = escrow.depositAddress(terms);
        terms.sessionLimit++;
        all[3] = escrow.depositAddress(terms);
        terms.meter = meter;
        all[4] = escrow.depositAddress(terms);
        terms.agents[0] = stranger;
        all[5] = escrow.depositAddress(terms);
        terms.openToAll = true;
        all[6] = escrow.depositAddress(terms);
        for (uint256 i; i < all.length; ++i) {
            for (uint256 j; j < i; ++j) {
                assertNotEq(all[i], all[j]);
            }
        }
    }

    function test_RevertWhen_TheAddressHoldsNothing() external {
        address vault = escrow.depositAddress(_terms());
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_NothingToSweep.selector, vault));
        _sweep(_terms());
    }

    function test_RevertWhen_TheTermsMakeNoSense() external {
        IComputeEscrow.EscrowTerms memory terms = _openTerms();
        terms.meter = address(0);
        _send(terms, 5 * USD);
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_InvalidTerms.selector, "meter"));
        _sweep(terms);
        vm.prank(creator);
        assertEq(escrow.recover(terms, address(USDC)), 5 * USD);
    }

    function test_RevertWhen_ItHoldsMoreThan56Bits() external {
        _send(_terms(), uint256(ALL) + 1);
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_BudgetOverflow.selector, uint256(ALL) + 1));
        _sweep(_terms());
    }

    function test_GivenTheFirstSweep() external {
        address vault = _send(_terms(), 50 * USD);
        vm.expectEmit(address(escrow));
        emit IComputeEscrow.EscrowCreated(1, creator, EXPIRY, SESSION_LIMIT, address(0), false);
        vm.expectEmit(address(escrow));
        emit IComputeEscrow.AgentAdded(1, agent);
        vm.expectEmit(address(escrow));
        emit IComputeEscrow.EscrowFunded(1, vault, 50 * USD, 50 * USD);
        vm.expectEmit(address(escrow));
        emit IComputeEscrow.Swept(1, vault, 50 * USD);
        assertEq(_sweep(_terms()), 1);
        assertEq(escrow.escrow(1).creator, creator);
        assertEq(escrow.escrowOfDepositAddress(vault), 1);
        _assertMoney(1, 50 * USD, 0);
        assertEq(USDC.balanceOf(vault), 0);
        assertEq(USDC.balanceOf(address(escrow)), 50 * USD);
    }

    function testFuzz_GivenALaterSweep(uint48 first, uint48 second) external {
        first = uint48(bound(first, 1, 1e12));
        second = uint48(bound(second, 1, 1e12));
        _send(_terms(), first);
        uint32 escrowId = _sweep(_terms());
        vm.prank(creator);
        escrow.addAgent(escrowId, otherAgent); // The list moves on, the address stays.
        _send(_terms(), second);
        assertEq(_sweep(_terms()), escrowId);
        _assertMoney(escrowId, uint256(first) + second, 0);
        assertEq(escrow.escrowCount(), 1);
    }

    function test_GivenItsEscrowHasExpired() external {
        _send(_terms(), 5 * USD);
        uint32 escrowId = _sweep(_terms());
        vm.warp(uint256(EXPIRY) + 1);
        escrow.expire(escrowId);
        _send(_terms(), 7 * USD);
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_Expired.selector, escrowId, EXPIRY));
        _sweep(_terms());
        vm.prank(stranger);
        escrow.recover(_terms(), address(USDC));
        assertEq(USDC.balanceOf(creator), 10_012 * USD);
    }

    function test_GivenTheTermsExpiredBeforeTheFirstSweep() external {
        _send(_terms(), 5 * USD);
        vm.warp(uint256(EXPIRY) + 1);
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_InvalidTerms.selector, "expiry"));
        _sweep(_terms());
    }

    function test_RevertWhen_AnyoneElseCallsTheVault() external {
        address vault = _send(_terms(), 5 * USD);
        _sweep(_terms());
        _send(_terms(), 5 * USD);
        address[3] memory callers = [creator, agent, stranger];
        for (uint256 i; i < callers.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(DepositVault.DepositVault_NotController.selector, callers[i]));
            vm.prank(callers[i]);
            DepositVault(vault).send(IERC20(address(USDC)), callers[i], 1);
        }
    }
}
