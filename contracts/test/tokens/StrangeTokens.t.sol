// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {IComputeFutures} from "../../src/interfaces/IComputeFutures.sol";
import {BaseTest} from "../utils/BaseTest.sol";
import {
    BonusToken,
    EighteenDecimals,
    FalseToken,
    FeeToken,
    LyingToken,
    PlainToken,
    ReentrantToken,
    SilentToken
} from "../utils/StrangeTokens.sol";

contract StrangeTokensTest is BaseTest {
    PlainToken internal token;

    function _use(address token_) private {
        token = PlainToken(token_);
        futures = _deploy(token_);
        operatorIndex = _register(operator);
        token.mint(owner, 1_000 * USD);
    }

    function _useApproved(address token_) private {
        _use(token_);
        vm.prank(owner);
        token.approve(address(futures), type(uint256).max);
    }

    function _expectMismatch(uint256 expected, uint256 received) private {
        vm.expectRevert(
            abi.encodeWithSelector(IComputeFutures.ComputeFutures_TokenAmountMismatch.selector, expected, received)
        );
    }

    function test_RevertWhen_TheTokenTakesAFee() external {
        _useApproved(address(new FeeToken()));
        _expectMismatch(100 * USD, 99 * USD);
        _open();
        IComputeFutures.DepositTerms memory terms = _depositTerms(NO_LIMIT, 0);
        token.mint(futures.depositAddress(terms), 100 * USD);
        _expectMismatch(100 * USD, 99 * USD);
        futures.sweep(terms);
    }

    function test_RevertWhen_TheTokenSendsMore() external {
        _useApproved(address(new BonusToken()));
        _expectMismatch(100 * USD, 100 * USD + 1);
        _open();
    }

    function test_RevertWhen_TheTokenAnswersFalse() external {
        _useApproved(address(new FalseToken()));
        vm.expectRevert(abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, token));
        _open();
    }

    function test_RevertWhen_TheTokenAnswersTrueAndMovesNothing() external {
        _useApproved(address(new LyingToken()));
        _expectMismatch(100 * USD, 0);
        _open();
        _expectMismatch(100 * USD, 0);
        futures.depositWithAuthorization(_authorization(0, 100 * USD, NO_LIMIT), "");
    }

    function test_WhenTheTokenAnswersNothing() external {
        _use(address(new SilentToken()));
        uint64 accountId = _open();
        _charge(accountId, 10 * USD);
        _close(accountId);
        vm.prank(operator);
        futures.withdrawEarnings(operator, 9 * USD);
        assertEq(token.balanceOf(owner), 991 * USD);
        assertEq(token.balanceOf(operator), 9 * USD);
    }

    function test_RevertWhen_TheTokenHas18Decimals() external {
        address eighteen = address(new EighteenDecimals());
        bytes memory initCode = abi.encodePacked(vm.getCode("ComputeFutures.sol:ComputeFutures"), abi.encode(eighteen));
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_InvalidToken.selector, eighteen));
        assembly ("memory-safe") {
            pop(create(0, add(initCode, 0x20), mload(initCode)))
        }
    }

    /// @dev The token is owner and operator at once, so that nothing but the guard stands in the way of the second call.
    function test_RevertWhen_TheTokenCallsBack() external {
        ReentrantToken evil = new ReentrantToken();
        _useApproved(address(evil));
        vm.startPrank(address(evil));
        (uint32 index,) = futures.setTerms(_terms());
        evil.mint(address(evil), 1_000 * USD);
        evil.approve(address(futures), type(uint256).max);
        uint64 a = futures.deposit(index, address(evil), 100 * USD, NO_LIMIT);
        uint64 b = futures.deposit(index, address(evil), 100 * USD, NO_LIMIT);
        futures.postDebits(1, ROOT, 1, _row(a, 10 * USD, 0));
        futures.requestRefund(b);
        vm.stopPrank();
        vm.warp(block.timestamp + REFUND_DELAY);
        IComputeFutures.DepositTerms memory terms = IComputeFutures.DepositTerms(index, address(evil), NO_LIMIT, 0);
        evil.mint(futures.depositAddress(terms), 50 * USD);
        IComputeFutures.DepositAuthorization memory auth = _authorization(0, 10 * USD, 0);
        (auth.operatorIndex, auth.owner) = (index, address(evil));

        bytes[8] memory calls = [
            abi.encodeCall(futures.deposit, (index, address(evil), 10 * USD, NO_LIMIT)),
            abi.encodeCall(futures.topUp, (a, 10 * USD, 0)),
            abi.encodeCall(futures.depositWithAuthorization, (auth, "")),
            abi.encodeCall(futures.sweep, (terms)),
            abi.encodeCall(futures.recover, (terms, address(evil))),
            abi.encodeCall(futures.refund, (b)),
            abi.encodeCall(futures.closeAccount, (a)),
            abi.encodeCall(futures.withdrawEarnings, (stranger, 1 * USD))
        ];
        uint256 state = vm.snapshotState();
        for (uint256 i; i < calls.length; ++i) {
            // Each from within a deposit …
            evil.arm(address(futures), calls[i]);
            _open();
            assertTrue(evil.called());
            assertFalse(evil.succeeded());
            assertEq(bytes4(evil.answer()), ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector);
            vm.revertToState(state);
            // … and a deposit from within each.
            evil.arm(address(futures), calls[0]);
            vm.prank(address(evil));
            (bool success,) = address(futures).call(calls[i]);
            assertTrue(success);
            assertTrue(evil.called());
            assertFalse(evil.succeeded());
            assertEq(bytes4(evil.answer()), ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector);
            vm.revertToState(state);
        }
    }
}
