// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeEscrow} from "../../../src/interfaces/IComputeEscrow.sol";
import {MarketTest} from "../utils/MarketTest.sol";

/// @notice A signature is worth something in one place only, once.
contract MarketReplayTest is MarketTest {
    uint32 private escrowId;

    function setUp() public override {
        super.setUp();
        escrowId = _create();
    }

    function _refused(IComputeEscrow.SessionRequest memory request, bytes memory signature) private {
        vm.expectPartialRevert(IComputeEscrow.ComputeEscrow_InvalidAgentSignature.selector);
        escrow.openSessionWithSignature(request, agent, signature);
    }

    function _refused(IComputeEscrow.SessionClose memory row) private {
        vm.expectRevert(
            abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_InvalidMeterSignature.selector, row.sessionId)
        );
        escrow.closeSession(row);
    }

    /// The same life on a second deployment.
    function _redeploy() private {
        escrow = _deploy(address(USDC));
        vm.prank(creator);
        USDC.approve(address(escrow), type(uint256).max);
        assertEq(_create(), escrowId);
    }

    function test_OpenSession_GivenAnotherChain() external {
        IComputeEscrow.SessionRequest memory request = _request(escrowId, 1 * USD);
        bytes memory signature = _signOpen(agentKey, request, agent, 0);
        vm.chainId(84532);
        _refused(request, signature);
        vm.chainId(8453);
        escrow.openSessionWithSignature(request, agent, signature);
    }

    function test_OpenSession_GivenAnotherDeployment() external {
        IComputeEscrow.SessionRequest memory request = _request(escrowId, 1 * USD);
        bytes memory signature = _signOpen(agentKey, request, agent, 0);
        _redeploy();
        _refused(request, signature);
    }

    function test_OpenSession_GivenAnotherEscrowOrTheSameAgain() external {
        IComputeEscrow.SessionRequest memory request = _request(escrowId, 1 * USD);
        bytes memory signature = _signOpen(agentKey, request, agent, 0);
        IComputeEscrow.SessionRequest memory second = _request(_create(), 1 * USD);
        _refused(second, signature);
        uint64 sessionId = escrow.openSessionWithSignature(request, agent, signature);
        _refused(request, signature);
        _close(sessionId, 1);
        _refused(request, signature);
    }

    function test_SessionCost_GivenAnotherChain() external {
        IComputeEscrow.SessionClose memory row = _closeRow(_open(escrowId, 1 * USD), 100);
        vm.chainId(84532);
        _refused(row);
        vm.chainId(8453);
        escrow.closeSession(row);
    }

    function test_SessionCost_GivenAnotherDeployment() external {
        IComputeEscrow.SessionClose memory row = _closeRow(_open(escrowId, 1 * USD), 100);
        _redeploy();
        assertEq(_open(escrowId, 1 * USD), row.sessionId);
        _refused(row);
    }

    function test_SessionCost_GivenAnotherSessionEscrowOrProvider() external {
        IComputeEscrow.SessionClose memory row = _closeRow(_open(escrowId, 1 * USD), 100);
        row.sessionId = _open(escrowId, 1 * USD);
        _refused(row);
        row.sessionId = _open(_create(), 1 * USD);
        _refused(row);
        // The same id after a reorganisation, with another provider.
        row.sessionId = _open(escrowId, 1 * USD);
        _signCost(meterKey, row, otherProviderId, address(escrow));
        _refused(row);
    }

    /// One message is never another: an agent's key that is also a meter's, and the other way round.
    function test_AMessageForTheOther() external {
        IComputeEscrow.SessionRequest memory request = _request(escrowId, 1 * USD);
        request.meter = agent;
        bytes memory signature = _signOpen(agentKey, request, agent, 0);
        uint64 sessionId = escrow.openSessionWithSignature(request, agent, signature);
        IComputeEscrow.SessionClose memory row = _closeRow(sessionId, 100, agentKey);
        _refused(request, abi.encodePacked(row.r, row.vs));
        (bytes32 r, bytes32 s) = abi.decode(signature, (bytes32, bytes32));
        (row.r, row.vs) = (r, bytes32(uint256(s) | (uint256(uint8(signature[64]) - 27) << 255)));
        _refused(row);
    }
}
