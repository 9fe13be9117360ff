// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Vm} from "forge-std/Vm.sol";

import {IComputeEscrow} from "../../../src/interfaces/IComputeEscrow.sol";
import {MarketTest} from "../utils/MarketTest.sol";

contract CloseSessionTest is MarketTest {
    uint32 private escrowId;
    uint64 private sessionId;

    function setUp() public override {
        super.setUp();
        escrowId = _create();
        sessionId = _open(escrowId, 5 * USD);
    }

    function _refused(IComputeEscrow.SessionClose memory row) private {
        vm.expectRevert(
            abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_InvalidMeterSignature.selector, row.sessionId)
        );
        escrow.closeSession(row);
        _assertMoney(escrowId, 95 * USD, 5 * USD);
    }

    function test_RevertWhen_TheSessionIsUnknown() external {
        IComputeEscrow.SessionClose memory row = _closeRow(sessionId + 1, 1);
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_SessionNotOpen.selector, sessionId + 1));
        escrow.closeSession(row);
    }

    /// I-5: whatever root it keeps now, a closed session does not look like an open one.
    function testFuzz_RevertWhen_ItIsClosed(bytes32 root, uint48 cost) external {
        IComputeEscrow.SessionClose memory row = _closeRow(sessionId, 1 * USD);
        row.receiptsRoot = root;
        _signCost(meterKey, row, providerId, address(escrow));
        escrow.closeSession(row);
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_SessionNotOpen.selector, sessionId));
        escrow.closeSession(row);
        row.cost = cost;
        _signCost(meterKey, row, providerId, address(escrow));
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_SessionNotOpen.selector, sessionId));
        escrow.closeSession(row);
        assertEq(escrow.earnings(providerId), 1 * USD);
    }

    function testFuzz_RevertWhen_TheDeadlineHasPassed(uint40 late, bool lapsed) external {
        IComputeEscrow.SessionClose memory row = _closeRow(sessionId, 1 * USD);
        uint40 deadline = escrow.session(sessionId).deadline;
        vm.warp(bound(late, uint256(deadline) + 1, type(uint40).max));
        if (lapsed) escrow.lapseSession(sessionId);
        vm.expectRevert(
            lapsed
                ? abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_SessionNotOpen.selector, sessionId)
                : abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_DeadlinePassed.selector, sessionId, deadline)
        );
        escrow.closeSession(row);
        assertEq(escrow.earnings(providerId), 0);
    }

    function testFuzz_RevertWhen_TheSignatureIsNotTheMeters(uint256 key) external {
        key = bound(key, 1, type(uint128).max);
        vm.assume(key != meterKey);
        _refused(_closeRow(sessionId, 1 * USD, key));
    }

    function test_RevertWhen_AnotherMeterAgentOrCreatorSigned() external {
        _refused(_closeRow(sessionId, 1 * USD, otherMeterKey));
        _refused(_closeRow(sessionId, 1 * USD, agentKey));
        _refused(_closeRow(sessionId, 1 * USD, creatorKey));
    }

    function testFuzz_RevertWhen_TheSignatureIsAnyBytes(bytes32 r, bytes32 vs) external {
        IComputeEscrow.SessionClose memory row = _closeRow(sessionId, 1 * USD);
        (row.r, row.vs) = (r, vs);
        _refused(row);
        (row.r, row.vs) = (0, 0);
        _refused(row);
    }

    function testFuzz_RevertWhen_AnythingIsAnotherThanSigned(uint48 cost, uint32 count, bytes32 root) external {
        vm.assume(cost != 1 * USD && count != 3 && root != ROOT);
        IComputeEscrow.SessionClose memory row = _closeRow(sessionId, 1 * USD);
        row.cost = cost;
        _refused(row);
        row = _closeRow(sessionId, 1 * USD);
        row.receiptCount = count;
        _refused(row);
        row = _closeRow(sessionId, 1 * USD);
        row.receiptsRoot = root;
        _refused(row);
        _signCost(meterKey, row, otherProviderId, address(escrow));
        _refused(row);
    }

    function testFuzz_WhenTheMeterSigned(address submitter, uint48 cost, uint32 count, bytes32 root) external {
        IComputeEscrow.SessionClose memory row = _closeRow(sessionId, uint48(bound(cost, 0, 5 * USD)));
        (row.receiptCount, row.receiptsRoot) = (count, root);
        _signCost(meterKey, row, providerId, address(escrow));
        vm.warp(escrow.session(sessionId).deadline); // the last second
        vm.recordLogs();
        vm.prank(submitter);
        escrow.closeSession(row);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs.length, 1); // no shortfall
        assertEq(logs[0].topics[0], IComputeEscrow.SessionClosed.selector);
        assertEq(uint256(logs[0].topics[1]), sessionId);
        assertEq(uint256(logs[0].topics[2]), providerId);
        assertEq(logs[0].data, abi.encode(row.cost, count, root));
        _assertMoney(escrowId, 100 * USD - row.cost, 0);
        assertEq(escrow.earnings(providerId), row.cost);
        assertEq(escrow.earnings(otherProviderId), 0);
        IComputeEscrow.Session memory s = escrow.session(sessionId);
        assertEq(uint8(s.state), uint8(IComputeEscrow.SessionState.Closed));
        assertEq(s.receiptsRoot, bytes32(bytes31(root)));
        assertEq(USDC.balanceOf(address(escrow)), 100 * USD);
    }

    /// I-10: the provider gets what was promised, the rest is seen.
    function testFuzz_WhenTheCostIsAboveTheLimit(uint48 cost) external {
        cost = uint48(bound(cost, 5 * USD + 1, type(uint48).max));
        IComputeEscrow.SessionClose memory row = _closeRow(sessionId, cost);
        vm.expectEmit(address(escrow));
        emit IComputeEscrow.SessionClosed(sessionId, providerId, 5 * USD, 3, ROOT);
        vm.expectEmit(address(escrow));
        emit IComputeEscrow.SessionShortfall(sessionId, cost - 5 * USD);
        escrow.closeSession(row);
        _assertMoney(escrowId, 95 * USD, 0);
        assertEq(escrow.earnings(providerId), 5 * USD);
    }

    function test_WhenTheSignatureIsInItsOtherForm() external {
        // (r, n - s) with the other parity is signed by the same key; the session closes once all the same.
        IComputeEscrow.SessionClose memory row = _closeRow(sessionId, 1 * USD);
        uint256 s = uint256(row.vs) & ~(uint256(1) << 255);
        uint256 twin = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141 - s;
        // A high s does not fit the compact form: its top bit is the parity.
        assertEq(twin >> 255, 1);
        row.vs = bytes32(twin);
        _refused(row);
    }
}
