// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeEscrow} from "../../../src/interfaces/IComputeEscrow.sol";
import {MarketTest} from "../utils/MarketTest.sol";

contract CreateTest is MarketTest {
    function _refused(IComputeEscrow.EscrowTerms memory terms, string memory field) private {
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_InvalidTerms.selector, field));
        _create(terms, 1 * USD);
    }

    function testFuzz_RevertWhen_TheCallerIsNotTheCreator(address caller) external {
        vm.assume(caller != creator);
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_NotCreator.selector, 0, caller));
        vm.prank(caller);
        escrow.create(_terms(), 1 * USD);
    }

    function test_RevertWhen_TheCreatorIsZeroOrTheContract() external {
        IComputeEscrow.EscrowTerms memory terms = _terms();
        terms.creator = address(0);
        _refused(terms, "creator");
        terms.creator = address(escrow);
        _refused(terms, "creator");
    }

    function test_RevertWhen_TheExpiryIsPast() external {
        IComputeEscrow.EscrowTerms memory terms = _terms();
        terms.expiry = uint40(block.timestamp - 1);
        _refused(terms, "expiry");
        terms.expiry = uint40(block.timestamp);
        _create(terms, 1 * USD);
    }

    function test_RevertWhen_TheSessionLimitIsZero() external {
        IComputeEscrow.EscrowTerms memory terms = _terms();
        terms.sessionLimit = 0;
        _refused(terms, "sessionLimit");
    }

    function test_RevertWhen_ItIsOpenToAllWithoutAMeter() external {
        IComputeEscrow.EscrowTerms memory terms = _openTerms();
        terms.meter = address(0);
        _refused(terms, "meter");
    }

    function test_RevertWhen_ItIsOpenToAllWithAList() external {
        IComputeEscrow.EscrowTerms memory terms = _terms();
        (terms.openToAll, terms.meter) = (true, meter);
        _refused(terms, "agents");
    }

    function test_RevertWhen_ThereAreTooManyFirstAgents() external {
        IComputeEscrow.EscrowTerms memory terms = _terms();
        terms.agents = new address[](33);
        _refused(terms, "agents");
        terms.agents = new address[](32);
        for (uint256 i; i < 32; ++i) {
            terms.agents[i] = address(uint160(i + 1));
        }
        _create(terms, 1 * USD);
    }

    function test_RevertWhen_AnAgentIsZeroOrThereTwice() external {
        IComputeEscrow.EscrowTerms memory terms = _terms();
        terms.agents = new address[](2);
        (terms.agents[0], terms.agents[1]) = (agent, agent);
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_AgentUnchanged.selector, 1, agent));
        _create(terms, 1 * USD);
        terms.agents[1] = address(0);
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_InvalidAgent.selector, 1, address(0)));
        _create(terms, 1 * USD);
    }

    function test_RevertWhen_ThereIsNothingToFund() external {
        vm.expectRevert(IComputeEscrow.ComputeEscrow_NothingToFund.selector);
        _create(_terms(), 0);
    }

    function test_RevertWhen_TheCreatorCannotPay() external {
        vm.expectRevert("ERC20: transfer amount exceeds balance");
        _create(_terms(), 10_001 * USD);
        assertEq(escrow.escrowCount(), 0);
    }

    function testFuzz_WhenTheCreatorPays(uint56 amount, uint40 expiry, uint48 limit, bool pinned) external {
        amount = uint56(bound(amount, 1, 10_000 * USD));
        IComputeEscrow.EscrowTerms memory terms = _terms();
        terms.expiry = uint40(bound(expiry, block.timestamp, type(uint40).max));
        terms.sessionLimit = uint48(bound(limit, 1, type(uint48).max));
        if (pinned) terms.meter = meter;
        terms.agents = new address[](2);
        (terms.agents[0], terms.agents[1]) = (agent, otherAgent);
        vm.expectEmit(address(escrow));
        emit IComputeEscrow.EscrowCreated(1, creator, terms.expiry, terms.sessionLimit, terms.meter, false);
        vm.expectEmit(address(escrow));
        emit IComputeEscrow.AgentAdded(1, agent);
        vm.expectEmit(address(escrow));
        emit IComputeEscrow.AgentAdded(1, otherAgent);
        vm.expectEmit(address(escrow));
        emit IComputeEscrow.EscrowFunded(1, creator, amount, amount);
        assertEq(_create(terms, amount), 1);

        IComputeEscrow.Escrow memory e = escrow.escrow(1);
        assertEq(e.creator, creator);
        assertEq(e.meter, terms.meter);
        assertEq(e.expiry, terms.expiry);
        assertEq(e.sessionLimit, terms.sessionLimit);
        assertEq(e.sessionCount, 0);
        assertEq(e.unreserved, amount);
        assertEq(e.reserved, 0);
        assertFalse(e.openToAll);
        assertFalse(e.closed);
        (bool allowed, uint32 nonce) = escrow.agentOf(1, otherAgent);
        assertTrue(allowed);
        assertEq(nonce, 0);
        (allowed,) = escrow.agentOf(1, stranger);
        assertFalse(allowed);
        assertEq(escrow.escrowCount(), 1);
        assertEq(USDC.balanceOf(address(escrow)), amount);
    }

    function test_WhenItIsOpenToAll() external {
        uint32 escrowId = _create(_openTerms(), 1 * USD);
        assertTrue(escrow.escrow(escrowId).openToAll);
        assertEq(escrow.escrow(escrowId).meter, meter);
        (bool allowed,) = escrow.agentOf(escrowId, stranger);
        assertTrue(allowed);
    }
}
