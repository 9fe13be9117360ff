// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeEscrow} from "../interfaces/IComputeEscrow.sol";

/// @notice One session in one storage word (low bits first). Open or lapsed: state 8 | meterIndex 32 | providerId 32 |
/// providerVersion 32 | limit 48 | deadline 40. Closed: state 8 | the first 31 bytes of the receipts' root.
type SessionWord is uint256;

using SessionWordLib for SessionWord global;

/// @title Packing of a session
library SessionWordLib {
    uint256 private constant STATE = 0xff;

    function open(uint32 meterIndex_, uint32 providerId_, uint32 providerVersion_, uint48 limit_, uint40 deadline_)
        internal
        pure
        returns (SessionWord)
    {
        return SessionWord.wrap(
            uint256(IComputeEscrow.SessionState.Open) | uint256(meterIndex_) << 8 | uint256(providerId_) << 40
                | uint256(providerVersion_) << 72 | uint256(limit_) << 104 | uint256(deadline_) << 152
        );
    }

    function closed(bytes32 receiptsRoot_) internal pure returns (SessionWord) {
        return SessionWord.wrap(uint256(receiptsRoot_) & ~STATE | uint256(IComputeEscrow.SessionState.Closed));
    }

    function lapsed(SessionWord word) internal pure returns (SessionWord) {
        return SessionWord.wrap(SessionWord.unwrap(word) & ~STATE | uint256(IComputeEscrow.SessionState.Lapsed));
    }

    function state(SessionWord word) internal pure returns (IComputeEscrow.SessionState) {
        return IComputeEscrow.SessionState(SessionWord.unwrap(word) & STATE);
    }

    function isOpen(SessionWord word) internal pure returns (bool) {
        return SessionWord.unwrap(word) & STATE == uint256(IComputeEscrow.SessionState.Open);
    }

    function meterIndex(SessionWord word) internal pure returns (uint32) {
        return uint32(SessionWord.unwrap(word) >> 8);
    }

    function providerId(SessionWord word) internal pure returns (uint32) {
        return uint32(SessionWord.unwrap(word) >> 40);
    }

    function providerVersion(SessionWord word) internal pure returns (uint32) {
        return uint32(SessionWord.unwrap(word) >> 72);
    }

    function limit(SessionWord word) internal pure returns (uint48) {
        return uint48(SessionWord.unwrap(word) >> 104);
    }

    function deadline(SessionWord word) internal pure returns (uint40) {
        return uint40(SessionWord.unwrap(word) >> 152);
    }

    /// @notice Of a closed session; its last byte is zero.
    function receiptsRoot(SessionWord word) internal pure returns (bytes32) {
        return bytes32(SessionWord.unwrap(word) & ~STATE);
    }

    /// @notice Whether a closed session kept this root.
    function keeps(SessionWord word, bytes32 root) internal pure returns (bool) {
        return
            word.state() == IComputeEscrow.SessionState.Closed && uint256(word.receiptsRoot()) == uint256(root) & ~STATE;
    }
}
