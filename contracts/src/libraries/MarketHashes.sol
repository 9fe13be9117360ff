// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeEscrow} from "../interfaces/IComputeEscrow.sol";

/// @title EIP-712 struct hashes of what agents, meters and creators sign towards ComputeEscrow, pure
/// @dev Addresses are 32 bytes in them, so that Solana's keys hash the same way (ADR 014).
library MarketHashes {
    bytes32 private constant OPEN_SESSION_TYPEHASH = keccak256(
        "OpenSession(uint32 escrowId,bytes32 agent,uint32 nonce,uint32 providerId,bytes32 contentHash,bytes32 meter,uint48 limit,uint40 deadline)"
    );
    bytes32 private constant SESSION_COST_TYPEHASH = keccak256(
        "SessionCost(uint64 sessionId,uint32 providerId,uint48 cost,uint32 receiptCount,bytes32 receiptsRoot)"
    );
    bytes32 private constant ESCROW_TERMS_TYPEHASH = keccak256(
        "EscrowTerms(bytes32 creator,uint40 expiry,uint48 sessionLimit,bytes32 meter,bool openToAll,bytes32[] agents)"
    );

    function openSession(IComputeEscrow.SessionRequest calldata request, address agent, uint32 nonce)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(
            abi.encode(
                OPEN_SESSION_TYPEHASH,
                request.escrowId,
                agent,
                nonce,
                request.providerId,
                request.contentHash,
                request.meter,
                request.limit,
                request.deadline
            )
        );
    }

    /// @dev keccak256(abi.encode(typehash, sessionId, providerId, cost, receiptCount, receiptsRoot)), written to scratch memory: the
    /// last three lie in this order in the row.
    function sessionCost(IComputeEscrow.SessionClose calldata row, uint32 providerId)
        internal
        pure
        returns (bytes32 hash)
    {
        bytes32 typeHash = SESSION_COST_TYPEHASH;
        assembly ("memory-safe") {
            let at := mload(0x40)
            mstore(at, typeHash)
            calldatacopy(add(at, 0x20), row, 0x20)
            mstore(add(at, 0x40), providerId)
            calldatacopy(add(at, 0x60), add(row, 0x20), 0x60)
            hash := keccak256(at, 0xc0)
        }
    }

    function terms(IComputeEscrow.EscrowTerms calldata terms_) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                ESCROW_TERMS_TYPEHASH,
                terms_.creator,
                terms_.expiry,
                terms_.sessionLimit,
                terms_.meter,
                terms_.openToAll,
                // Each padded to 32 bytes, one after the other.
                keccak256(abi.encodePacked(terms_.agents))
            )
        );
    }
}
