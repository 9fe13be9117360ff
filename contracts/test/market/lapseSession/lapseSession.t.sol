// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeEscrow} from "../../../src/interfaces/IComputeEscrow.sol";
import {MarketTest} from "../utils/MarketTest.sol";

contract LapseSessionTest is MarketTest {
    uint32 private escrowId;
    uint64 private sessionId;
    uint40 private deadline;

    function setUp() public override {
        super.setUp();
        escrowId = _create();
        sessionId = _open(escrowId, 5 * USD);
        deadline = escrow.session(sessionId).deadline;
    }

    function _notOpen(uint64 id) private {
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_SessionNotOpen.selector, id));
        escrow.lapseSession(id);
    }

    function testFuzz_RevertWhen_TheDeadlineHasNotPassed(uint40 time) external {
        vm.warp(bound(time, block.timestamp, deadline));
        vm.expectRevert(
            abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_DeadlineNotPassed.selector, sessionId, deadline)
        );
        escrow.lapseSession(sessionId);
    }

    function test_RevertWhen_ItIsUnknownClosedOrLapsed() external {
        _notOpen(77);
        uint64 closed = _open(escrowId, 1 * USD);
        _close(closed, 1);
        vm.warp(uint256(deadline) + 1);
        _notOpen(closed);
        escrow.lapseSession(sessionId);
        _notOpen(sessionId);
        _assertMoney(escrowId, 100 * USD - 1, 0);
    }

    function test_RevertWhen_ItsEscrowWasEmptied() external {
        vm.warp(uint256(EXPIRY) + 1);
        escrow.expire(escrowId);
        _assertState(sessionId, IComputeEscrow.SessionState.Lapsed);
        _notOpen(sessionId);
        _assertMoney(escrowId, 0, 0);
    }

    function testFuzz_WhenTheDeadlineHasPassed(address anyone, uint40 late) external {
        vm.warp(bound(late, uint256(deadline) + 1, type(uint40).max));
        vm.expectEmit(address(escrow));
        emit IComputeEscrow.SessionLapsed(sessionId, 5 * USD);
        vm.prank(anyone);
        escrow.lapseSession(sessionId);
        _assertMoney(escrowId, 100 * USD, 0);
        IComputeEscrow.Session memory s = escrow.session(sessionId);
        assertEq(uint8(s.state), uint8(IComputeEscrow.SessionState.Lapsed));
        assertEq(s.limit, 5 * USD);
        assertEq(s.meter, meter);
        assertEq(escrow.earnings(providerId), 0);
    }

    /// I-6
    function test_WhenThereAreMany() external {
        uint64[] memory ids = new uint64[](5);
        IComputeEscrow.SessionRequest memory request = _request(escrowId, 2 * USD);
        request.deadline = deadline + 1;
        (ids[0], ids[1], ids[2], ids[3]) = (77, sessionId, sessionId, _open(request));
        ids[4] = _open(escrowId, 1 * USD);
        vm.warp(uint256(deadline) + 1);
        vm.expectEmit(address(escrow));
        emit IComputeEscrow.SessionRejected(77, stranger, IComputeEscrow.Rejection.NotOpen);
        vm.expectEmit(address(escrow));
        emit IComputeEscrow.SessionLapsed(sessionId, 5 * USD);
        vm.expectEmit(address(escrow));
        emit IComputeEscrow.SessionRejected(sessionId, stranger, IComputeEscrow.Rejection.NotOpen);
        vm.expectEmit(address(escrow));
        emit IComputeEscrow.SessionRejected(ids[3], stranger, IComputeEscrow.Rejection.DeadlineNotPassed);
        vm.expectEmit(address(escrow));
        emit IComputeEscrow.SessionLapsed(ids[4], 1 * USD);
        vm.prank(stranger);
        assertEq(escrow.lapseSessions(ids), 2);
        _assertMoney(escrowId, 98 * USD, 2 * USD);
    }
}
