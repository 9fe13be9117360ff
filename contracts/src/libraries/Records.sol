// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {PackedTerms} from "./PackedTerms.sol";

// What ComputeFutures stores, besides one Meter an account. Layouts: docs/contracts.md.

/// @dev The first word is what batches, openings and withdrawals touch; the address is only for readers.
struct OperatorState {
    uint40 lastBatch;
    uint64 earnings;
    uint32 lastSequence;
    uint32 termsVersion; // 168 bits
    address operator; // next word
}

/// @dev Whose an account is, and whether and when they leave. One word.
struct Holder {
    address owner;
    uint40 refundableAt;
    uint32 termsVersion;
    bool closed; // 240 bits
}

/// @dev Terms of one operator at one version.
struct TermsRecord {
    PackedTerms packed;
    bytes32 rateCardHash;
}
