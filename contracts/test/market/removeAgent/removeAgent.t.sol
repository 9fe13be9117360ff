// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeEscrow} from "../../../src/interfaces/IComputeEscrow.sol";
import {MarketTest} from "../utils/MarketTest.sol";

contract RemoveAgentTest is MarketTest {
    function testFuzz_RevertWhen_TheCallerIsNotTheCreator(address caller) external {
        vm.assume(caller != creator);
        uint32 escrowId = _create();
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_NotCreator.selector, escrowId, caller));
        vm.prank(caller);
        escrow.removeAgent(escrowId, agent);
    }

    function test_RevertWhen_TheAgentIsNotOnTheList() external {
        uint32 escrowId = _create();
        uint32 open = _create(_openTerms(), 1 * USD);
        vm.startPrank(creator);
        vm.expectRevert(
            abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_AgentUnchanged.selector, escrowId, stranger)
        );
        escrow.removeAgent(escrowId, stranger);
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_AgentUnchanged.selector, open, agent));
        escrow.removeAgent(open, agent);
        vm.stopPrank();
    }

    function test_WhenTheCreatorRemovesIt() external {
        uint32 escrowId = _create();
        uint64 sessionId = _open(escrowId, 5 * USD);
        IComputeEscrow.SessionRequest memory request = _request(escrowId, 1 * USD);
        bytes memory signature = _signOpen(agentKey, request, agent, 0);
        vm.expectEmit(address(escrow));
        emit IComputeEscrow.AgentRemoved(escrowId, agent);
        vm.prank(creator);
        escrow.removeAgent(escrowId, agent);

        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_NotAgent.selector, escrowId, agent));
        _open(request);
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_NotAgent.selector, escrowId, agent));
        escrow.openSessionWithSignature(request, agent, signature);
        _close(sessionId, 2 * USD);
        assertEq(escrow.earnings(providerId), 2 * USD);
    }

    /// I-5: coming back does not bring an old nonce back.
    function test_WhenItComesBack() external {
        uint32 escrowId = _create();
        IComputeEscrow.SessionRequest memory request = _request(escrowId, 1 * USD);
        bytes memory signature = _signOpen(agentKey, request, agent, 0);
        escrow.openSessionWithSignature(request, agent, signature);
        vm.startPrank(creator);
        escrow.removeAgent(escrowId, agent);
        escrow.addAgent(escrowId, agent);
        vm.stopPrank();
        (bool allowed, uint32 nonce) = escrow.agentOf(escrowId, agent);
        assertTrue(allowed);
        assertEq(nonce, 1);
        vm.expectRevert(
            abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_InvalidAgentSignature.selector, escrowId, agent, 1)
        );
        escrow.openSessionWithSignature(request, agent, signature);
    }
}
