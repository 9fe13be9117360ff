// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeEscrow} from "../../../src/interfaces/IComputeEscrow.sol";
import {MarketTest} from "../utils/MarketTest.sol";

contract AddAgentTest is MarketTest {
    function test_RevertWhen_TheEscrowIsUnknown() external {
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_UnknownEscrow.selector, 1));
        escrow.addAgent(1, agent);
    }

    function testFuzz_RevertWhen_TheCallerIsNotTheCreator(address caller, bool isAgent) external {
        if (isAgent) caller = agent;
        vm.assume(caller != creator);
        uint32 escrowId = _create();
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_NotCreator.selector, escrowId, caller));
        vm.prank(caller);
        escrow.addAgent(escrowId, otherAgent);
    }

    function test_RevertWhen_TheAgentIsZeroOrTheEscrowOpenToAll() external {
        uint32 closed = _create();
        uint32 open = _create(_openTerms(), 1 * USD);
        vm.startPrank(creator);
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_InvalidAgent.selector, closed, address(0)));
        escrow.addAgent(closed, address(0));
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_InvalidAgent.selector, open, agent));
        escrow.addAgent(open, agent);
        vm.stopPrank();
    }

    function test_RevertWhen_TheAgentIsOnTheList() external {
        uint32 escrowId = _create();
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_AgentUnchanged.selector, escrowId, agent));
        vm.prank(creator);
        escrow.addAgent(escrowId, agent);
    }

    function testFuzz_WhenTheCreatorAdds(address who) external {
        vm.assume(who != address(0) && who != agent);
        uint32 escrowId = _create();
        uint32 another = _create();
        vm.expectEmit(address(escrow));
        emit IComputeEscrow.AgentAdded(escrowId, who);
        vm.prank(creator);
        escrow.addAgent(escrowId, who);
        IComputeEscrow.SessionRequest memory request = _request(escrowId, 1 * USD);
        vm.prank(who);
        escrow.openSession(request);
        (bool elsewhere,) = escrow.agentOf(another, who);
        assertFalse(elsewhere);
    }
}
