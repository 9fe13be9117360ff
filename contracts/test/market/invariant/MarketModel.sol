// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

// What the handler knows without asking the contracts: the promises, written a second time and plainly.

struct EscrowModel {
    address creator;
    address meter; // zero: agents choose
    bool openToAll;
    bool closed;
    uint256 expiry;
    uint256 sessionLimit;
    uint256 unreserved;
    uint256 reserved;
    // For the promises that look back.
    uint256 funded;
    uint256 spent;
    uint256 returned;
    uint32 sessions;
}

struct SessionModel {
    uint32 escrowId;
    uint32 providerId;
    uint32 providerVersion;
    address agent;
    address meter;
    uint256 limit;
    uint256 deadline;
    uint8 state; // as IComputeEscrow.SessionState
    uint256 cost;
    bytes32 receipt;
    bytes32 sibling;
}

struct ProviderModel {
    address owner;
    uint32 version;
    bool retired;
    bytes32 hash;
    uint256 earned; // sum of the costs of its sessions
    uint256 withdrawn;
}
