// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeFutures} from "../interfaces/IComputeFutures.sol";

/// @notice What an operator's terms say about money and time, in one storage word (low bits first):
/// refundDelay 22 | minimumDeposit 48 | three tiers of (minimumDeposit 48 | discountBps 14), unused ones zero.
type PackedTerms is uint256;

using PackedTermsLib for PackedTerms global;

/// @title Packing and reading of terms
/// @dev 48 bits of micro-USDC are 281 million USDC: more than any threshold needs, and checked.
library PackedTermsLib {
    /// @notice Longest refund delay, in seconds (I-4).
    uint256 internal constant MAX_REFUND_DELAY = 30 days;
    /// @notice Highest amount that may stand in terms, in micro-USDC.
    uint256 internal constant MAX_THRESHOLD = type(uint48).max;

    uint256 private constant TIERS_AT = 70;
    uint256 private constant TIER_BITS = 62;
    uint256 private constant MAX_TIERS = 3;
    uint256 private constant BPS = 10_000;

    /// @notice Checks and packs; reverts with `ComputeFutures_InvalidTerms` and the name of the field at fault.
    function pack(IComputeFutures.Terms calldata terms) internal pure returns (PackedTerms) {
        if (terms.refundDelay > MAX_REFUND_DELAY) revert IComputeFutures.ComputeFutures_InvalidTerms("refundDelay");
        if (terms.minimumDeposit == 0 || terms.minimumDeposit > MAX_THRESHOLD) {
            revert IComputeFutures.ComputeFutures_InvalidTerms("minimumDeposit");
        }
        if (terms.tiers.length > MAX_TIERS) revert IComputeFutures.ComputeFutures_InvalidTerms("tiers.length");

        uint256 word = terms.refundDelay | uint256(terms.minimumDeposit) << 22;
        uint256 previousMinimum;
        uint256 previousBps;
        for (uint256 i; i < terms.tiers.length; ++i) {
            uint256 minimum = terms.tiers[i].minimumDeposit;
            uint256 bps = terms.tiers[i].discountBps;
            if (minimum > MAX_THRESHOLD || (i != 0 && minimum <= previousMinimum)) {
                revert IComputeFutures.ComputeFutures_InvalidTerms("tiers.minimumDeposit");
            }
            if (bps <= previousBps || bps >= BPS) {
                revert IComputeFutures.ComputeFutures_InvalidTerms("tiers.discountBps");
            }
            word |= (minimum | bps << 48) << TIERS_AT + i * TIER_BITS;
            (previousMinimum, previousBps) = (minimum, bps);
        }
        return PackedTerms.wrap(word);
    }

    function refundDelay(PackedTerms packed) internal pure returns (uint32) {
        return uint32(PackedTerms.unwrap(packed) & (1 << 22) - 1);
    }

    function minimumDeposit(PackedTerms packed) internal pure returns (uint56) {
        return uint48(PackedTerms.unwrap(packed) >> 22);
    }

    /// @notice The discount that `deposited` in total earns; zero below the first tier.
    function discountFor(PackedTerms packed, uint256 deposited) internal pure returns (uint16 discountBps) {
        for (uint256 i; i < MAX_TIERS; ++i) {
            (uint56 minimum, uint16 bps) = packed.tier(i);
            if (bps == 0 || deposited < minimum) break;
            discountBps = bps;
        }
    }

    function tier(PackedTerms packed, uint256 i) internal pure returns (uint56 minimum, uint16 discountBps) {
        uint256 word = PackedTerms.unwrap(packed) >> TIERS_AT + i * TIER_BITS;
        return (uint48(word), uint16(word >> 48 & (1 << 14) - 1));
    }

    /// @notice As given to `pack`.
    function tiers(PackedTerms packed) internal pure returns (IComputeFutures.Tier[] memory list) {
        uint256 count;
        for (; count < MAX_TIERS; ++count) {
            (, uint16 bps) = packed.tier(count);
            if (bps == 0) break;
        }
        list = new IComputeFutures.Tier[](count);
        for (uint256 i; i < count; ++i) {
            (list[i].minimumDeposit, list[i].discountBps) = packed.tier(i);
        }
    }
}
