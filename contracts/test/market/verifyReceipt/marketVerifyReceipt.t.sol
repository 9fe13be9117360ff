// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeEscrow} from "../../../src/interfaces/IComputeEscrow.sol";
import {MarketTest} from "../utils/MarketTest.sol";

contract MarketVerifyReceiptTest is MarketTest {
    uint64 private sessionId;
    bytes32[2] private hashes = [keccak256("first"), keccak256("second")];

    function setUp() public override {
        super.setUp();
        sessionId = _open(_create(), 5 * USD);
    }

    function _leaf(bytes32 hash) private pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(hash))));
    }

    function _root() private view returns (bytes32) {
        (bytes32 a, bytes32 b) = (_leaf(hashes[0]), _leaf(hashes[1]));
        return keccak256(a < b ? abi.encode(a, b) : abi.encode(b, a));
    }

    function _proof(uint256 i) private view returns (bytes32[] memory proof) {
        proof = new bytes32[](1);
        proof[0] = _leaf(hashes[1 - i]);
    }

    function _closeWith(bytes32 root) private {
        IComputeEscrow.SessionClose memory row = _closeRow(sessionId, 1 * USD);
        row.receiptsRoot = root;
        _signCost(meterKey, row, providerId, address(escrow));
        escrow.closeSession(row);
    }

    function test_WhenTheReceiptIsOfTheSession() external {
        _closeWith(_root());
        assertTrue(escrow.verifyReceipt(sessionId, hashes[0], _proof(0)));
        assertTrue(escrow.verifyReceipt(sessionId, hashes[1], _proof(1)));
    }

    function testFuzz_WhenThereIsOneReceipt(bytes32 hash) external {
        _closeWith(_leaf(hash));
        assertTrue(escrow.verifyReceipt(sessionId, hash, new bytes32[](0)));
    }

    function testFuzz_WhenAnythingDiffers(bytes32 other, uint64 session) external {
        vm.assume(other != hashes[0] && other != _proof(0)[0] && session != sessionId);
        _closeWith(_root());
        assertFalse(escrow.verifyReceipt(sessionId, other, _proof(0)));
        assertFalse(escrow.verifyReceipt(session, hashes[0], _proof(0)));
        assertFalse(escrow.verifyReceipt(sessionId, hashes[0], new bytes32[](0)));
        bytes32[] memory proof = new bytes32[](1);
        proof[0] = other;
        assertFalse(escrow.verifyReceipt(sessionId, hashes[0], proof));
    }

    function test_WhenAnInnerNodeIsTakenForAReceipt() external {
        _closeWith(_root());
        assertFalse(escrow.verifyReceipt(sessionId, _root(), new bytes32[](0)));
        assertFalse(escrow.verifyReceipt(sessionId, _leaf(hashes[0]), _proof(0)));
    }

    /// An open session's word is no root, whoever finds something that hashes near it.
    function test_WhenTheSessionIsOpenOrLapsed() external {
        assertFalse(escrow.verifyReceipt(sessionId, hashes[0], _proof(0)));
        vm.warp(block.timestamp + 2 hours);
        escrow.lapseSession(sessionId);
        assertFalse(escrow.verifyReceipt(sessionId, hashes[0], _proof(0)));
    }
}
