// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Budget} from "./Budget.sol";
import {SessionWord} from "./SessionWord.sol";

// What ComputeEscrow stores. Layouts: docs/adr/014-marketplace.md.

/// @dev Two words: closing a session touches the first alone, opening one reads the second.
struct EscrowRecord {
    Budget budget;
    address creator; // next word
    uint32 meterIndex; // zero: agents choose
    bool openToAll; // 200 bits
}

/// @dev Removal clears `allowed` alone: a nonce never comes back (I-5).
struct AgentRecord {
    uint32 nonce;
    bool allowed; // 40 bits
}

struct SessionRecord {
    SessionWord word;
}
