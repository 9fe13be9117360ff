// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Vm, VmSafe} from "forge-std/Vm.sol";

import {IComputeEscrow} from "../../../src/interfaces/IComputeEscrow.sol";
import {MarketTest} from "../utils/MarketTest.sol";

contract CloseSessionsTest is MarketTest {
    uint32 private escrowId;

    function setUp() public override {
        super.setUp();
        escrowId = _create();
    }

    function _rejected(uint64 sessionId, IComputeEscrow.Rejection reason) private {
        vm.expectEmit(address(escrow));
        emit IComputeEscrow.SessionRejected(sessionId, stranger, reason);
    }

    function _post(IComputeEscrow.SessionClose[] memory rows) private returns (uint256) {
        vm.prank(stranger);
        return escrow.closeSessions(rows);
    }

    function test_WhenThereAreNone() external {
        assertEq(_post(new IComputeEscrow.SessionClose[](0)), 0);
    }

    /// I-6: one of each fault, with good rows before, between and after.
    function test_ABadRow_GivenEveryKind() external {
        IComputeEscrow.SessionRequest memory request = _request(escrowId, 1 * USD);
        request.deadline = uint40(block.timestamp + 1 minutes);
        uint64 late = _open(request);
        IComputeEscrow.SessionClose[] memory rows = new IComputeEscrow.SessionClose[](9);
        rows[0] = _closeRow(_open(escrowId, 1 * USD), 100);
        rows[1] = _closeRow(77, 100); // never opened
        rows[2] = rows[0]; // closed a row ago
        rows[3] = _closeRow(_open(escrowId, 1 * USD), 200);
        rows[4] = _closeRow(late, 300);
        rows[5] = _closeRow(_open(escrowId, 1 * USD), 400, otherMeterKey);
        rows[6] = _closeRow(_open(escrowId, 1 * USD), 5 * USD); // above its limit
        rows[7] = _closeRow(_open(escrowId, 1 * USD), 500);
        (rows[7].r, rows[7].vs) = (bytes32(uint256(1)), bytes32(type(uint256).max)); // recovers to nobody
        rows[8] = _closeRow(_open(escrowId, 1 * USD), 600);
        vm.warp(block.timestamp + 2 minutes);

        vm.expectEmit(address(escrow));
        emit IComputeEscrow.SessionClosed(rows[0].sessionId, providerId, 100, 3, ROOT);
        _rejected(77, IComputeEscrow.Rejection.NotOpen);
        _rejected(rows[2].sessionId, IComputeEscrow.Rejection.NotOpen);
        vm.expectEmit(address(escrow));
        emit IComputeEscrow.SessionClosed(rows[3].sessionId, providerId, 200, 3, ROOT);
        _rejected(late, IComputeEscrow.Rejection.DeadlinePassed);
        _rejected(rows[5].sessionId, IComputeEscrow.Rejection.InvalidSignature);
        vm.expectEmit(address(escrow));
        emit IComputeEscrow.SessionClosed(rows[6].sessionId, providerId, 1 * USD, 3, ROOT);
        vm.expectEmit(address(escrow));
        emit IComputeEscrow.SessionShortfall(rows[6].sessionId, 4 * USD);
        _rejected(rows[7].sessionId, IComputeEscrow.Rejection.InvalidSignature);
        vm.expectEmit(address(escrow));
        emit IComputeEscrow.SessionClosed(rows[8].sessionId, providerId, 600, 3, ROOT);
        assertEq(_post(rows), 4);

        assertEq(escrow.earnings(providerId), 1 * USD + 900);
        // Still reserved: the late one and the two that were not signed.
        _assertMoney(escrowId, 100 * USD - 3 * USD - (1 * USD + 900), 3 * USD);
    }

    /// I-6: whatever a row says, the good one beside it is paid.
    function testFuzz_ABadRow_GivenAnyRowWhatsoever(IComputeEscrow.SessionClose memory any, bool first) external {
        uint64 sessionId = _open(escrowId, 1 * USD);
        vm.assume(any.sessionId != sessionId);
        IComputeEscrow.SessionClose[] memory rows = new IComputeEscrow.SessionClose[](2);
        rows[first ? 1 : 0] = any;
        rows[first ? 0 : 1] = _closeRow(sessionId, 100);
        assertEq(_post(rows), 1);
        assertEq(escrow.earnings(providerId), 100);
    }

    function testFuzz_WhenAllAreGood(uint256 seed, uint8 count) external {
        count = uint8(bound(count, 1, 20));
        uint32[2] memory escrows = [escrowId, _create(_openTerms(), 100 * USD)];
        IComputeEscrow.SessionClose[] memory rows = new IComputeEscrow.SessionClose[](count);
        uint256[3] memory earned;
        uint256[2] memory spent;
        for (uint256 i; i < count; ++i) {
            uint256 random = uint256(keccak256(abi.encode(seed, i)));
            IComputeEscrow.SessionRequest memory request = _request(escrows[random % 2], 4 * USD);
            if (random % 3 == 0) (request.providerId, request.contentHash) = (otherProviderId, otherContentHash);
            uint48 cost = uint48(bound(random / 6, 0, 4 * USD));
            rows[i] = _closeRow(_open(request), cost);
            earned[request.providerId] += cost;
            spent[random % 2] += cost;
        }
        assertEq(_post(rows), count);
        assertEq(escrow.earnings(providerId), earned[providerId]);
        assertEq(escrow.earnings(otherProviderId), earned[otherProviderId]);
        _assertMoney(escrows[0], 100 * USD - spent[0], 0);
        _assertMoney(escrows[1], 100 * USD - spent[1], 0);
    }

    /// No row calls out, not to a meter that is a contract either.
    function test_NoRowCallsAnybody() external {
        IComputeEscrow.SessionRequest memory request = _request(escrowId, 1 * USD);
        request.meter = address(this); // has code; isValidSignature is never asked
        IComputeEscrow.SessionClose[] memory rows = new IComputeEscrow.SessionClose[](2);
        rows[0] = _closeRow(_open(request), 100);
        rows[1] = _closeRow(_open(escrowId, 1 * USD), 100);
        vm.startStateDiffRecording();
        assertEq(_post(rows), 1);
        Vm.AccountAccess[] memory accesses = vm.stopAndReturnStateDiff();
        for (uint256 i; i < accesses.length; ++i) {
            if (accesses[i].kind == VmSafe.AccountAccessKind.Resume || accesses[i].accessor != address(escrow)) {
                continue;
            }
            assertTrue(accesses[i].account == address(escrow) || accesses[i].account == address(1), "called out");
        }
    }
}
