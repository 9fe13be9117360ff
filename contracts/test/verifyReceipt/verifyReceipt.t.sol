// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeFutures} from "../../src/interfaces/IComputeFutures.sol";
import {BaseTest} from "../utils/BaseTest.sol";

contract VerifyReceiptTest is BaseTest {
    function _leaf(bytes32 receiptHash) private pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(receiptHash))));
    }

    function _pair(bytes32 a, bytes32 b) private pure returns (bytes32) {
        return a < b ? keccak256(abi.encode(a, b)) : keccak256(abi.encode(b, a));
    }

    /// @dev A complete tree of 2^depth receipts and the proof of one of them.
    function _tree(uint256 depth, uint256 index, bytes32 seed)
        private
        pure
        returns (bytes32 root, bytes32 receiptHash, bytes32[] memory proof)
    {
        bytes32[] memory level = new bytes32[](1 << depth);
        for (uint256 i; i < level.length; ++i) {
            level[i] = _leaf(keccak256(abi.encode(seed, i)));
        }
        receiptHash = keccak256(abi.encode(seed, index));
        proof = new bytes32[](depth);
        for (uint256 d; d < depth; ++d) {
            proof[d] = level[index ^ 1];
            for (uint256 i; i < level.length >> (d + 1); ++i) {
                level[i] = _pair(level[2 * i], level[2 * i + 1]);
            }
            index >>= 1;
        }
        root = level[0];
    }

    function _postRoot(bytes32 root) private {
        uint40 number = futures.operator(operatorIndex).lastBatch + 1;
        vm.prank(operator);
        futures.postDebits(number, root, 1, new IComputeFutures.Debit[](0));
    }

    function testFuzz_WhenTheBatchWasNotPosted(uint40 number, bytes32 receiptHash) external {
        assertFalse(futures.verifyReceipt(operatorIndex, number, receiptHash, new bytes32[](0)));
        _postRoot(bytes32(0));
        assertFalse(futures.verifyReceipt(operatorIndex, 1, receiptHash, new bytes32[](0)));
    }

    function testFuzz_WhenTheReceiptIsInTheBatch(uint256 depth, uint256 index, bytes32 seed) external {
        depth = bound(depth, 0, 6);
        index = bound(index, 0, (1 << depth) - 1);
        (bytes32 root, bytes32 receiptHash, bytes32[] memory proof) = _tree(depth, index, seed);
        _postRoot(root);
        assertTrue(futures.verifyReceipt(operatorIndex, 1, receiptHash, proof));
    }

    function testFuzz_WhenAnythingDiffers(bytes32 seed, bytes32 other) external {
        (bytes32 root, bytes32 receiptHash, bytes32[] memory proof) = _tree(3, 5, seed);
        vm.assume(other != receiptHash && other != proof[1]);
        _postRoot(root);
        _postRoot(other);
        assertFalse(futures.verifyReceipt(operatorIndex, 1, other, proof));
        assertFalse(futures.verifyReceipt(operatorIndex, 2, receiptHash, proof));
        assertFalse(futures.verifyReceipt(otherIndex, 1, receiptHash, proof));
        proof[1] = other;
        assertFalse(futures.verifyReceipt(operatorIndex, 1, receiptHash, proof));
    }

    function test_WhenAnInnerNodeIsTakenForAReceipt() external {
        (bytes32 root,, bytes32[] memory proof) = _tree(2, 0, "seed");
        _postRoot(root);
        bytes32[] memory rest = new bytes32[](1);
        rest[0] = proof[1];
        bytes32 inner = _pair(_leaf(keccak256(abi.encode(bytes32("seed"), uint256(0)))), proof[0]);
        assertEq(_pair(inner, proof[1]), root);
        assertFalse(futures.verifyReceipt(operatorIndex, 1, inner, rest));
        // Nor the root itself.
        assertFalse(futures.verifyReceipt(operatorIndex, 1, root, new bytes32[](0)));
    }
}
