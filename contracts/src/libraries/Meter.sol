// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice Everything a debit touches, in one storage word (low bits first):
/// credit 56 | charged 56 | ceiling 56 | remainder 16 | discountBps 16 | previousDiscountBps 16 | discountFromBatch 40.
type Meter is uint256;

using MeterLib for Meter global;

/// @title The money rules of one account (I-2, I-3), pure
/// @dev Amounts are micro-USDC. 56 bits hold 72 billion USDC.
library MeterLib {
    /// @notice 100% in basis points, and the divisor whose modulus the meter carries.
    uint256 internal constant BPS = 10_000;

    uint256 private constant U56 = type(uint56).max;
    /// @dev What a debit leaves alone: all but `charged` and `remainder`.
    uint256 private constant KEPT = ~(U56 << 56 | uint256(type(uint16).max) << 168);

    function open(uint256 credit_, uint256 ceiling_, uint256 discountBps_) internal pure returns (Meter) {
        return Meter.wrap(credit_ | ceiling_ << 112 | discountBps_ << 184 | discountBps_ << 200);
    }

    function credit(Meter meter) internal pure returns (uint56) {
        return uint56(Meter.unwrap(meter));
    }

    function charged(Meter meter) internal pure returns (uint56) {
        return uint56(Meter.unwrap(meter) >> 56);
    }

    function ceiling(Meter meter) internal pure returns (uint56) {
        return uint56(Meter.unwrap(meter) >> 112);
    }

    function remainder(Meter meter) internal pure returns (uint16) {
        return uint16(Meter.unwrap(meter) >> 168);
    }

    function discountBps(Meter meter) internal pure returns (uint16) {
        return uint16(Meter.unwrap(meter) >> 184);
    }

    function previousDiscountBps(Meter meter) internal pure returns (uint16) {
        return uint16(Meter.unwrap(meter) >> 200);
    }

    function discountFromBatch(Meter meter) internal pure returns (uint40) {
        return uint40(Meter.unwrap(meter) >> 216);
    }

    /// @notice The least discount the contract applies in this batch (I-3).
    function floorBps(Meter meter, uint256 batchNumber) internal pure returns (uint256) {
        return batchNumber < meter.discountFromBatch() ? meter.previousDiscountBps() : meter.discountBps();
    }

    /// @notice Deposited and not charged.
    function unspent(Meter meter) internal pure returns (uint56) {
        return meter.credit() - meter.charged();
    }

    /// @param credit_ New total; the caller has checked that it fits 56 bits.
    function withCredit(Meter meter, uint256 credit_) internal pure returns (Meter) {
        return Meter.wrap(Meter.unwrap(meter) & ~U56 | credit_);
    }

    function withCeiling(Meter meter, uint56 ceiling_) internal pure returns (Meter) {
        return Meter.wrap(Meter.unwrap(meter) & ~(U56 << 112) | uint256(ceiling_) << 112);
    }

    /// @notice A top-up earned a higher tier. It binds from two batches after the next, so that receipts already signed at
    /// the old rate (one batch in flight, one being filled) are charged as signed, and not a batch longer.
    function withRaisedDiscount(Meter meter, uint16 discountBps_, uint40 lastBatch) internal pure returns (Meter) {
        uint256 previous = meter.floorBps(lastBatch + 1);
        uint40 fromBatch = lastBatch + 3;
        uint256 low = Meter.unwrap(meter) & (1 << 184) - 1;
        return Meter.wrap(low | uint256(discountBps_) << 184 | previous << 200 | uint256(fromBatch) << 216);
    }

    /// @notice One row of a batch: net = (list * (10000 - bps) + remainder) / 10000, remainder carried (I-3), clamped to
    /// min(credit, ceiling) - charged (I-2). A clamp zeroes the remainder: the fraction belongs to the shortfall.
    /// @param statedBps What the receipts state; raised to the floor, lowered to 10,000.
    /// @return next The meter after the row; not to be stored where nothing was ever deposited.
    /// @return bps The discount applied.
    /// @return net What was charged.
    /// @return uncovered What was not, net of discount.
    function debit(Meter meter, uint256 batchNumber, uint256 listAmount, uint256 statedBps)
        internal
        pure
        returns (Meter next, uint256 bps, uint256 net, uint256 uncovered)
    {
        unchecked {
            bps = meter.floorBps(batchNumber);
            if (statedBps > bps) bps = statedBps > BPS ? BPS : statedBps;

            uint256 scaled = listAmount * (BPS - bps) + meter.remainder();
            net = scaled / BPS;
            uint256 rest = scaled - net * BPS;

            uint256 limit = meter.credit();
            uint256 charged_ = meter.charged();
            if (meter.ceiling() < limit) limit = meter.ceiling();
            // Credit and ceiling are never below what was charged; were they, nothing would be.
            uint256 allowed = limit > charged_ ? limit - charged_ : 0;
            if (net > allowed) {
                uncovered = net - allowed;
                net = allowed;
                rest = 0;
            }
            next = Meter.wrap(Meter.unwrap(meter) & KEPT | charged_ + net << 56 | rest << 168);
        }
    }
}
