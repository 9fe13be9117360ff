// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeFutures} from "../../src/interfaces/IComputeFutures.sol";
import {BaseTest} from "../utils/BaseTest.sol";

contract SetTermsTest is BaseTest {
    IComputeFutures.Terms internal valid;

    function _expectInvalid(string memory reason) private {
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_InvalidTerms.selector, reason));
    }

    function testFuzz_RevertWhen_TheRefundDelayIsAbove30Days(uint32 delay) external {
        IComputeFutures.Terms memory terms = _terms();
        terms.refundDelay = uint32(bound(delay, 30 days + 1, type(uint32).max));
        _expectInvalid("refundDelay");
        futures.setTerms(terms);
    }

    function testFuzz_RevertWhen_TheMinimumDepositIsZeroOrAbove48Bits(uint56 minimum) external {
        IComputeFutures.Terms memory terms = _terms();
        terms.minimumDeposit = minimum <= type(uint48).max ? 0 : minimum;
        _expectInvalid("minimumDeposit");
        futures.setTerms(terms);
    }

    function test_RevertWhen_ThereAreMoreThanThreeTiers() external {
        IComputeFutures.Terms memory terms = _terms();
        terms.tiers = new IComputeFutures.Tier[](4);
        for (uint16 i; i < 4; ++i) {
            terms.tiers[i] = IComputeFutures.Tier(i, i + 1);
        }
        _expectInvalid("tiers.length");
        futures.setTerms(terms);
    }

    function test_RevertWhen_TheTiersThresholdsDoNotRiseOrExceed48Bits() external {
        IComputeFutures.Terms memory terms = _terms();
        terms.tiers[1].minimumDeposit = terms.tiers[0].minimumDeposit;
        _expectInvalid("tiers.minimumDeposit");
        futures.setTerms(terms);

        terms = _terms();
        terms.tiers[2].minimumDeposit = uint56(type(uint48).max) + 1;
        _expectInvalid("tiers.minimumDeposit");
        futures.setTerms(terms);
    }

    function test_RevertWhen_TheTiersDiscountsDoNotRiseOrStartAtZeroOrReach100Percent() external {
        IComputeFutures.Terms memory terms = _terms();
        terms.tiers[0].discountBps = 0;
        _expectInvalid("tiers.discountBps");
        futures.setTerms(terms);

        terms = _terms();
        terms.tiers[2].discountBps = terms.tiers[1].discountBps;
        _expectInvalid("tiers.discountBps");
        futures.setTerms(terms);

        terms = _terms();
        terms.tiers[2].discountBps = 10_000;
        _expectInvalid("tiers.discountBps");
        futures.setTerms(terms);
    }

    function test_WhenTheTermsAreValid_GivenAFirstCall() external {
        IComputeFutures.Terms memory terms = _terms();
        address newcomer = makeAddr("newcomer");
        vm.expectEmit(address(futures));
        emit IComputeFutures.TermsSet(3, newcomer, 1, REFUND_DELAY, 1 * USD, terms.rateCardHash, terms.tiers);
        vm.prank(newcomer);
        (uint32 index, uint32 version) = futures.setTerms(terms);
        assertEq(index, 3);
        assertEq(version, 1);
        assertEq(futures.operatorCount(), 3);
        assertEq(futures.operatorIndexOf(newcomer), 3);
        IComputeFutures.Operator memory state = futures.operator(3);
        assertEq(state.operator, newcomer);
        assertEq(state.termsVersion, 1);
        assertEq(state.lastSequence, 0);
        assertEq(state.lastBatch, 0);
        assertEq(state.earnings, 0);
    }

    function test_WhenTheTermsAreValid_GivenARegisteredOperator() external {
        uint64 accountId = _open();
        IComputeFutures.Terms memory terms = _terms();
        terms.refundDelay = 30 days;
        terms.tiers = new IComputeFutures.Tier[](0);
        vm.prank(operator);
        (uint32 index, uint32 version) = futures.setTerms(terms);
        assertEq(index, operatorIndex);
        assertEq(version, 2);
        assertEq(futures.operatorCount(), 2);

        // The account that was open keeps its delay and its tiers.
        assertEq(_account(accountId).termsVersion, 1);
        vm.prank(owner);
        futures.topUp(accountId, 100 * USD, 0);
        assertEq(_account(accountId).discountBps, 1500);
        assertEq(_requestRefund(accountId), block.timestamp + REFUND_DELAY);

        // One opened now has the new ones.
        uint64 later = _open();
        assertEq(_account(later).termsVersion, 2);
        assertEq(_account(later).discountBps, 0);
        assertEq(_requestRefund(later), block.timestamp + 30 days);
    }

    function testFuzz_WhenTheTermsAreValid_TheyReadBackAsSet(
        uint32 delay,
        uint48 minimum,
        bytes32 rateCard,
        uint8 count,
        uint48[3] memory thresholds,
        uint16[3] memory discounts
    ) external {
        IComputeFutures.Terms memory terms;
        terms.refundDelay = uint32(bound(delay, 0, 30 days));
        terms.minimumDeposit = uint56(bound(minimum, 1, type(uint48).max));
        terms.rateCardHash = rateCard;
        terms.tiers = new IComputeFutures.Tier[](count % 4);
        for (uint256 i; i < terms.tiers.length; ++i) {
            uint256 leastMinimum = i == 0 ? 0 : terms.tiers[i - 1].minimumDeposit + 1;
            uint256 leastBps = i == 0 ? 1 : terms.tiers[i - 1].discountBps + 1;
            terms.tiers[i].minimumDeposit = uint56(bound(thresholds[i], leastMinimum, type(uint48).max - 2 + i));
            terms.tiers[i].discountBps = uint16(bound(discounts[i], leastBps, 9997 + i));
        }
        (uint32 index, uint32 version) = futures.setTerms(terms);
        assertEq(abi.encode(futures.terms(index, version)), abi.encode(terms));
    }

    function test_UnknownTermsReadAsZero() external view {
        IComputeFutures.Terms memory none = futures.terms(99, 1);
        assertEq(none.minimumDeposit, 0);
        assertEq(none.tiers.length, 0);
    }
}
