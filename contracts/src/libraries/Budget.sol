// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice The money of one escrow and what decides about it, in one storage word (low bits first):
/// unreserved 56 | reserved 56 | sessionLimit 48 | expiry 40 | sessionCount 32 | closed 8.
type Budget is uint256;

using BudgetLib for Budget global;

/// @title The money rules of one escrow (I-1, I-4, I-10), pure
/// @dev Amounts are micro-USDC. Unreserved and reserved together fit 56 bits: money comes in by `fund` alone, which checks.
library BudgetLib {
    uint256 private constant U112 = type(uint112).max;
    uint256 private constant ONE_SESSION = 1 << 200;
    uint256 private constant CLOSED = 1 << 232;

    function create(uint48 sessionLimit_, uint40 expiry_) internal pure returns (Budget) {
        return Budget.wrap(uint256(sessionLimit_) << 112 | uint256(expiry_) << 160);
    }

    function unreserved(Budget budget) internal pure returns (uint56) {
        return uint56(Budget.unwrap(budget));
    }

    function reserved(Budget budget) internal pure returns (uint56) {
        return uint56(Budget.unwrap(budget) >> 56);
    }

    function sessionLimit(Budget budget) internal pure returns (uint48) {
        return uint48(Budget.unwrap(budget) >> 112);
    }

    function expiry(Budget budget) internal pure returns (uint40) {
        return uint40(Budget.unwrap(budget) >> 160);
    }

    function sessionCount(Budget budget) internal pure returns (uint32) {
        return uint32(Budget.unwrap(budget) >> 200);
    }

    function closed(Budget budget) internal pure returns (bool) {
        return Budget.unwrap(budget) & CLOSED != 0;
    }

    /// @notice What the escrow would hold with `amount` more; what does not fit 56 bits must be refused.
    function totalWith(Budget budget, uint256 amount) internal pure returns (uint256) {
        return uint256(budget.unreserved()) + budget.reserved() + amount;
    }

    /// @param amount The caller has checked `totalWith`.
    function fund(Budget budget, uint256 amount) internal pure returns (Budget) {
        return Budget.wrap(Budget.unwrap(budget) + amount);
    }

    /// @notice Opens the next session. The caller has checked that so much is unreserved, and that there is a next one.
    function reserve(Budget budget, uint48 limit) internal pure returns (Budget) {
        return Budget.wrap(Budget.unwrap(budget) - limit + (uint256(limit) << 56) + ONE_SESSION);
    }

    /// @notice Ends a session: its limit is no longer reserved, what it did not cost is free again (I-10).
    /// @param cost At most the limit.
    function release(Budget budget, uint256 limit, uint256 cost) internal pure returns (Budget) {
        return Budget.wrap(Budget.unwrap(budget) - (limit << 56) + (limit - cost));
    }

    /// @param amount At most what is unreserved.
    function refund(Budget budget, uint56 amount) internal pure returns (Budget) {
        return Budget.wrap(Budget.unwrap(budget) - amount);
    }

    /// @notice Over, and empty.
    function close(Budget budget) internal pure returns (Budget) {
        return Budget.wrap(Budget.unwrap(budget) & ~U112 | CLOSED);
    }
}
