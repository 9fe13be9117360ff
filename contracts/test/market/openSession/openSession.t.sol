// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeEscrow} from "../../../src/interfaces/IComputeEscrow.sol";
import {IProviderRegistry} from "../../../src/interfaces/IProviderRegistry.sol";
import {MarketTest} from "../utils/MarketTest.sol";

contract OpenSessionTest is MarketTest {
    uint32 private escrowId;

    function setUp() public override {
        super.setUp();
        escrowId = _create();
    }

    function test_RevertWhen_TheEscrowIsUnknown() external {
        IComputeEscrow.SessionRequest memory request = _request(9, 1 * USD);
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_UnknownEscrow.selector, 9));
        _open(request);
    }

    function testFuzz_RevertWhen_TheCallerIsNotOnTheList(address caller, uint8 which) external {
        if (which % 3 == 0) caller = creator;
        if (which % 3 == 1) caller = providerOwner;
        vm.assume(caller != agent);
        IComputeEscrow.SessionRequest memory request = _request(escrowId, 1 * USD);
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_NotAgent.selector, escrowId, caller));
        vm.prank(caller);
        escrow.openSession(request);
    }

    function testFuzz_RevertWhen_TheMeterIsZeroOrNotThePinnedOne(address other) external {
        IComputeEscrow.SessionRequest memory request = _request(escrowId, 1 * USD);
        request.meter = address(0);
        vm.expectRevert(
            abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_InvalidMeter.selector, escrowId, address(0))
        );
        _open(request);

        vm.assume(other != meter);
        uint32 open = _create(_openTerms(), 10 * USD);
        request = _request(open, 1 * USD);
        request.meter = other;
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_InvalidMeter.selector, open, other));
        _open(request);
    }

    /// I-11: not at a price the agent has not seen, however it came to be.
    function testFuzz_RevertWhen_TheContentIsAnother(bytes32 hash) external {
        vm.assume(hash != contentHash);
        IComputeEscrow.SessionRequest memory request = _request(escrowId, 1 * USD);
        request.contentHash = hash;
        vm.expectRevert(
            abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_ProviderChanged.selector, providerId, contentHash, hash)
        );
        _open(request);

        request.contentHash = contentHash;
        vm.prank(providerOwner);
        (, bytes32 raised) = registry.update(providerId, _content(10_000));
        vm.expectRevert(
            abi.encodeWithSelector(
                IComputeEscrow.ComputeEscrow_ProviderChanged.selector, providerId, raised, contentHash
            )
        );
        _open(request);
    }

    function test_RevertWhen_TheProviderIsUnknown() external {
        IComputeEscrow.SessionRequest memory request = _request(escrowId, 1 * USD);
        (request.providerId, request.contentHash) = (9, bytes32(0));
        vm.expectRevert(
            abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_ProviderChanged.selector, 9, bytes32(0), bytes32(0))
        );
        _open(request);
    }

    function testFuzz_RevertWhen_TheLimitIsZeroOrAboveTheEscrows(uint48 limit) external {
        limit = uint48(bound(limit, SESSION_LIMIT + 1, type(uint48).max));
        IComputeEscrow.SessionRequest memory request = _request(escrowId, limit);
        vm.expectRevert(
            abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_InvalidLimit.selector, limit, SESSION_LIMIT)
        );
        _open(request);
        request.limit = 0;
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_InvalidLimit.selector, 0, SESSION_LIMIT));
        _open(request);
    }

    function testFuzz_RevertWhen_TheDeadlineIsPastOrBeyondTheExpiry(uint40 deadline) external {
        IComputeEscrow.SessionRequest memory request = _request(escrowId, 1 * USD);
        request.deadline = uint40(bound(deadline, EXPIRY + 1, type(uint40).max));
        vm.expectRevert(
            abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_InvalidDeadline.selector, request.deadline, EXPIRY)
        );
        _open(request);
        request.deadline = uint40(bound(deadline, 0, block.timestamp - 1));
        vm.expectRevert(
            abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_InvalidDeadline.selector, request.deadline, EXPIRY)
        );
        _open(request);
        request.deadline = EXPIRY;
        _open(request);
        request.deadline = uint40(block.timestamp);
        _open(request);
    }

    /// I-4: nobody holds a budget longer than 30 days.
    function test_RevertWhen_TheDeadlineIsBeyond30Days() external {
        IComputeEscrow.EscrowTerms memory terms = _terms();
        terms.expiry = START + 3650 days;
        IComputeEscrow.SessionRequest memory request = _request(_create(terms, 10 * USD), 1 * USD);
        request.deadline = START + 30 days + 1;
        vm.expectRevert(
            abi.encodeWithSelector(
                IComputeEscrow.ComputeEscrow_InvalidDeadline.selector, request.deadline, START + 30 days
            )
        );
        _open(request);
        request.deadline--;
        _open(request);
    }

    function testFuzz_RevertWhen_TheEscrowHasExpired(uint40 deadline, bool emptied) external {
        vm.warp(uint256(EXPIRY) + 1);
        if (emptied) escrow.expire(escrowId);
        IComputeEscrow.SessionRequest memory request = _request(escrowId, 1 * USD);
        request.deadline = deadline;
        _expectPartialRevert();
        _open(request);
    }

    function _expectPartialRevert() private {
        vm.expectPartialRevert(IComputeEscrow.ComputeEscrow_InvalidDeadline.selector);
    }

    function testFuzz_RevertWhen_LessIsUnreserved(uint56 budget, uint48 limit) external {
        budget = uint56(bound(budget, 1, SESSION_LIMIT - 1));
        limit = uint48(bound(limit, budget + 1, SESSION_LIMIT));
        IComputeEscrow.SessionRequest memory request = _request(_create(_terms(), budget), limit);
        vm.expectRevert(
            abi.encodeWithSelector(
                IComputeEscrow.ComputeEscrow_InsufficientUnreserved.selector, request.escrowId, budget, limit
            )
        );
        _open(request);
    }

    /// The budget word is written so that the next session would be number 2^32.
    function test_RevertWhen_SequencesAreExhausted() external {
        bytes32 slot = keccak256(abi.encode(escrowId, 3));
        vm.store(address(escrow), slot, vm.load(address(escrow), slot) | bytes32(uint256(type(uint32).max) << 200));
        assertEq(escrow.escrow(escrowId).sessionCount, type(uint32).max);
        IComputeEscrow.SessionRequest memory request = _request(escrowId, 1 * USD);
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_SessionsExhausted.selector, escrowId));
        _open(request);
    }

    function testFuzz_WhenTheAgentOpens(uint48 limit, uint40 deadline, address meter_) external {
        vm.assume(meter_ != address(0));
        IComputeEscrow.SessionRequest memory request = _request(escrowId, uint48(bound(limit, 1, SESSION_LIMIT)));
        request.deadline = uint40(bound(deadline, block.timestamp, EXPIRY));
        request.meter = meter_;
        (request.providerId, request.contentHash) = (otherProviderId, otherContentHash);
        uint64 expected = (uint64(escrowId) << 32) | 1;
        vm.expectEmit(address(escrow));
        emit IComputeEscrow.SessionOpened(
            expected, agent, otherProviderId, 1, otherContentHash, meter_, request.limit, request.deadline, false
        );
        assertEq(_open(request), expected);

        IComputeEscrow.Session memory s = escrow.session(expected);
        assertEq(uint8(s.state), uint8(IComputeEscrow.SessionState.Open));
        assertEq(s.providerId, otherProviderId);
        assertEq(s.providerVersion, 1);
        assertEq(s.meter, meter_);
        assertEq(s.limit, request.limit);
        assertEq(s.deadline, request.deadline);
        assertEq(s.receiptsRoot, bytes32(0));
        _assertMoney(escrowId, 100 * USD - request.limit, request.limit);
        (, uint32 nonce) = escrow.agentOf(escrowId, agent);
        assertEq(nonce, 0);
        assertEq(USDC.balanceOf(address(escrow)), 100 * USD);
    }

    function test_WhenTheAgentOpensManyOnes() external {
        for (uint32 i = 1; i <= 10; ++i) {
            assertEq(_open(escrowId, SESSION_LIMIT), (uint64(escrowId) << 32) | i);
            _assertMoney(escrowId, 100 * USD - i * SESSION_LIMIT, i * SESSION_LIMIT);
        }
        IComputeEscrow.SessionRequest memory request = _request(escrowId, 1);
        vm.expectRevert(
            abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_InsufficientUnreserved.selector, escrowId, 0, 1)
        );
        _open(request);
        assertEq(escrow.escrow(escrowId).sessionCount, 10);
    }

    function testFuzz_WhenTheEscrowIsOpenToAll(address anyone) external {
        uint32 open = _create(_openTerms(), 10 * USD);
        IComputeEscrow.SessionRequest memory request = _request(open, 1 * USD);
        vm.prank(anyone);
        uint64 sessionId = escrow.openSession(request);
        _assertState(sessionId, IComputeEscrow.SessionState.Open);
    }
}
