// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice What the handler knows of one account without asking the contract: the promises, written a second time and
/// plainly (wide integers, no packing).
struct AccountModel {
    address owner;
    address delegate;
    uint32 operatorIndex;
    uint32 termsVersion;
    uint256 credit;
    uint256 charged;
    uint256 ceiling; // the highest that owner or delegate ever signed or sent
    uint256 remainder;
    uint256 discountBps;
    uint256 previousDiscountBps;
    uint256 discountFromBatch;
    uint256 refundableAt;
    bool closed;
    // For the promises that look back.
    uint256 paidOut;
    uint256 listTimesRate; // sum of list * (10000 - bps) of all rows that were covered, less what clamps dropped
    uint256 receipts; // sum of the charges on receipts
}

struct OperatorModel {
    address operator;
    uint32 termsVersion;
    uint256 lastBatch;
    uint256 earned; // charges and fees, ever
    uint256 withdrawn;
    uint64[] accounts;
}

struct ReceiptModel {
    uint32 operatorIndex;
    uint40 batchNumber;
    bytes32 receiptHash;
    bytes32[] proof;
}

library ModelLib {
    /// @notice One row, as DESIGN §4 says it: discount with carried remainder, clamp, shortfall.
    function debit(AccountModel storage a, uint256 batch, uint256 list, uint256 stated)
        internal
        returns (uint256 net, uint256 uncovered)
    {
        uint256 floor = batch < a.discountFromBatch ? a.previousDiscountBps : a.discountBps;
        uint256 bps = stated > 10_000 ? 10_000 : stated;
        if (bps < floor) bps = floor;
        uint256 due = list * (10_000 - bps) + a.remainder;
        if (a.credit == 0) return (0, due / 10_000); // nothing there, nothing to remember
        uint256 cap = a.credit < a.ceiling ? a.credit : a.ceiling;
        uint256 allowed = cap - a.charged;
        if (due / 10_000 > allowed) {
            net = allowed;
            uncovered = due / 10_000 - allowed;
            a.listTimesRate = (a.charged + net) * 10_000; // the fraction belongs to the shortfall
            a.remainder = 0;
        } else {
            net = due / 10_000;
            a.listTimesRate += list * (10_000 - bps);
            a.remainder = due % 10_000;
        }
        a.charged += net;
    }

    function topUp(AccountModel storage a, uint256 amount, uint256 tierBps, uint256 lastBatch) internal {
        a.credit += amount;
        if (tierBps > a.discountBps) {
            a.previousDiscountBps = lastBatch + 1 < a.discountFromBatch ? a.previousDiscountBps : a.discountBps;
            a.discountBps = tierBps;
            a.discountFromBatch = lastBatch + 3;
        }
    }
}
