// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeEscrow} from "../../../src/interfaces/IComputeEscrow.sol";
import {ContractWallet} from "../../utils/ContractWallet.sol";
import {MarketTest} from "../utils/MarketTest.sol";

contract OpenSessionWithSignatureTest is MarketTest {
    uint32 private escrowId;

    function setUp() public override {
        super.setUp();
        escrowId = _create();
    }

    function _relay(IComputeEscrow.SessionRequest memory request, address who, bytes memory signature)
        private
        returns (uint64)
    {
        vm.prank(stranger);
        return escrow.openSessionWithSignature(request, who, signature);
    }

    function _refused(IComputeEscrow.SessionRequest memory request, address who, bytes memory signature) private {
        (, uint32 nonce) = escrow.agentOf(request.escrowId, who);
        vm.expectRevert(
            abi.encodeWithSelector(
                IComputeEscrow.ComputeEscrow_InvalidAgentSignature.selector, request.escrowId, who, nonce
            )
        );
        _relay(request, who, signature);
    }

    function testFuzz_RevertWhen_TheSignatureIsNotTheAgents(uint256 key) external {
        key = bound(key, 1, type(uint128).max);
        vm.assume(key != agentKey);
        IComputeEscrow.SessionRequest memory request = _request(escrowId, 1 * USD);
        _refused(request, agent, _signOpen(key, request, agent, 0));
    }

    function testFuzz_RevertWhen_TheSignatureIsAnyBytes(bytes memory signature) external {
        _refused(_request(escrowId, 1 * USD), agent, signature);
    }

    function test_RevertWhen_AnythingInTheRequestIsAnother() external {
        IComputeEscrow.SessionRequest memory signed = _request(escrowId, 1 * USD);
        bytes memory signature = _signOpen(agentKey, signed, agent, 0);
        IComputeEscrow.SessionRequest memory request = _request(_create(), 1 * USD);
        _refused(request, agent, signature);
        request = _request(escrowId, 1 * USD);
        (request.providerId, request.contentHash) = (otherProviderId, otherContentHash);
        _refused(request, agent, signature);
        request = _request(escrowId, 1 * USD);
        request.contentHash = otherContentHash;
        _refused(request, agent, signature);
        request = _request(escrowId, 1 * USD);
        request.meter = otherMeter;
        _refused(request, agent, signature);
        _refused(_request(escrowId, 1 * USD + 1), agent, signature);
        request = _request(escrowId, 1 * USD);
        request.deadline++;
        _refused(request, agent, signature);
        _refused(signed, otherAgent, signature);
        _relay(signed, agent, signature);
    }

    /// I-5: one signature, one session.
    function test_RevertWhen_TheNonceIsNotTheNext() external {
        IComputeEscrow.SessionRequest memory request = _request(escrowId, 1 * USD);
        bytes memory first = _signOpen(agentKey, request, agent, 0);
        bytes memory second = _signOpen(agentKey, request, agent, 1);
        _refused(request, agent, second);
        _relay(request, agent, first);
        _refused(request, agent, first);
        _relay(request, agent, second);
        _refused(request, agent, second);
        (, uint32 nonce) = escrow.agentOf(escrowId, agent);
        assertEq(nonce, 2);
        assertEq(escrow.escrow(escrowId).sessionCount, 2);
    }

    function test_RevertWhen_TheAgentIsNotOnTheList() external {
        (address outsider, uint256 key) = makeAddrAndKey("outsider");
        IComputeEscrow.SessionRequest memory request = _request(escrowId, 1 * USD);
        bytes memory signature = _signOpen(key, request, outsider, 0);
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_NotAgent.selector, escrowId, outsider));
        _relay(request, outsider, signature);
    }

    function test_RevertWhen_TheRequestCannotBeMet_TheNonceStays() external {
        IComputeEscrow.SessionRequest memory request = _request(escrowId, SESSION_LIMIT + 1);
        bytes memory signature = _signOpen(agentKey, request, agent, 0);
        vm.expectPartialRevert(IComputeEscrow.ComputeEscrow_InvalidLimit.selector);
        _relay(request, agent, signature);
        (, uint32 nonce) = escrow.agentOf(escrowId, agent);
        assertEq(nonce, 0);
    }

    function testFuzz_WhenTheAgentSigned(uint48 limit) external {
        IComputeEscrow.SessionRequest memory request = _request(escrowId, uint48(bound(limit, 1, SESSION_LIMIT)));
        bytes memory signature = _signOpen(agentKey, request, agent, 0);
        uint64 expected = (uint64(escrowId) << 32) | 1;
        vm.expectEmit(address(escrow));
        emit IComputeEscrow.SessionOpened(
            expected, agent, providerId, 1, contentHash, meter, request.limit, request.deadline, true
        );
        assertEq(_relay(request, agent, signature), expected);
        _assertMoney(escrowId, 100 * USD - request.limit, request.limit);
    }

    function test_WhenTheEscrowIsOpenToAll() external {
        uint32 open = _create(_openTerms(), 10 * USD);
        (address anyone, uint256 key) = makeAddrAndKey("anyone");
        IComputeEscrow.SessionRequest memory request = _request(open, 1 * USD);
        bytes memory signature = _signOpen(key, request, anyone, 0);
        _relay(request, anyone, signature);
        _refused(request, anyone, signature);
    }

    function test_WhenTheAgentIsAContractWallet() external {
        ContractWallet wallet = new ContractWallet(agent);
        vm.prank(creator);
        escrow.addAgent(escrowId, address(wallet));
        IComputeEscrow.SessionRequest memory request = _request(escrowId, 1 * USD);
        // A wallet with the same key on the same list: what was signed for one is nothing for the other.
        _refused(request, address(wallet), _signOpen(agentKey, request, agent, 0));
        _relay(request, address(wallet), _signOpen(agentKey, request, address(wallet), 0));
        bytes memory signature = _signOpen(agentKey, request, address(wallet), 1);
        wallet.setKey(stranger);
        _refused(request, address(wallet), signature);
    }
}
