// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {IComputeEscrow} from "../../../src/interfaces/IComputeEscrow.sol";
import {
    BonusToken,
    EighteenDecimals,
    FalseToken,
    FeeToken,
    LyingToken,
    PlainToken,
    ReentrantToken
} from "../../utils/StrangeTokens.sol";
import {MarketTest} from "../utils/MarketTest.sol";

contract MarketStrangeTokensTest is MarketTest {
    function _with(PlainToken token) private {
        escrow = _deploy(address(token));
        token.mint(creator, 1_000 * USD);
        vm.prank(creator);
        token.approve(address(escrow), type(uint256).max);
    }

    function _refused(uint256 expected, uint256 received) private {
        vm.expectRevert(
            abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_TokenAmountMismatch.selector, expected, received)
        );
    }

    function test_RevertWhen_TheTokenTakesAFee() external {
        FeeToken token = new FeeToken();
        _with(token);
        _refused(100 * USD, 99 * USD);
        _create();
        token.mint(escrow.depositAddress(_terms()), 100 * USD);
        _refused(100 * USD, 99 * USD);
        escrow.sweep(_terms());
    }

    function test_RevertWhen_TheTokenSendsMore() external {
        _with(new BonusToken());
        _refused(100 * USD, 100 * USD + 1);
        _create();
    }

    function test_RevertWhen_TheTokenMovesNothing() external {
        _with(new LyingToken());
        _refused(100 * USD, 0);
        _create();
        IComputeEscrow.FundingAuthorization memory a = _authorization(1 * USD);
        _refused(1 * USD, 0);
        escrow.createWithAuthorization(_terms(), a, "");
        _with(new FalseToken());
        vm.expectRevert();
        _create();
    }

    function test_RevertWhen_TheTokenHas18Decimals() external {
        address token = address(new EighteenDecimals());
        vm.expectRevert();
        this.deploy(token);
    }

    function deploy(address token) external {
        _deploy(token);
    }

    function test_RevertWhen_TheTokenCallsBack() external {
        ReentrantToken evil = new ReentrantToken();
        _with(evil);
        // The token is its own creator and provider, and may do all that these may.
        evil.mint(address(evil), 1_000 * USD);
        vm.startPrank(address(evil));
        evil.approve(address(escrow), type(uint256).max);
        (uint32 id, bytes32 hash) = registry.register(_content(1));
        IComputeEscrow.EscrowTerms memory terms = _terms();
        terms.creator = address(evil);
        terms.agents[0] = address(evil);
        uint32 mine = escrow.create(terms, 100 * USD);
        IComputeEscrow.SessionRequest memory request = _request(mine, 5 * USD);
        (request.providerId, request.contentHash) = (id, hash);
        uint64 sessionId = escrow.openSession(request);
        vm.stopPrank();
        _close(sessionId, 5 * USD);
        terms.expiry = uint40(block.timestamp);
        uint32 expired = _createAs(address(evil), terms);
        vm.warp(block.timestamp + 1);
        terms.expiry = EXPIRY;
        evil.mint(escrow.depositAddress(terms), 50 * USD);
        IComputeEscrow.FundingAuthorization memory auth = _authorization(10 * USD);

        bytes[8] memory calls = [
            abi.encodeCall(escrow.create, (terms, 10 * USD)),
            abi.encodeCall(escrow.fund, (mine, 10 * USD)),
            abi.encodeCall(escrow.createWithAuthorization, (terms, auth, "")),
            abi.encodeCall(escrow.fundWithAuthorization, (mine, address(evil), auth, "")),
            abi.encodeCall(escrow.sweep, (terms)),
            abi.encodeCall(escrow.refund, (mine, ALL)),
            abi.encodeCall(escrow.expire, (expired)),
            abi.encodeCall(escrow.withdraw, (id, stranger, 1 * USD))
        ];
        uint256 state = vm.snapshotState();
        for (uint256 i; i < calls.length; ++i) {
            _reenter(evil, calls[0], calls[i]);
            vm.revertToState(state);
            _reenter(evil, calls[i], calls[0]);
            vm.revertToState(state);
        }
        // recover pays out of the vault before anything else is known
        bytes memory recover = abi.encodeCall(escrow.recover, (terms, address(evil)));
        _reenter(evil, recover, calls[0]);
        vm.revertToState(state);
        _reenter(evil, calls[0], recover);
    }

    function _createAs(address who, IComputeEscrow.EscrowTerms memory terms) private returns (uint32) {
        vm.prank(who);
        return escrow.create(terms, 1 * USD);
    }

    /// @dev `inner` is called in the middle of `outer`'s transfer, and refused.
    function _reenter(ReentrantToken evil, bytes memory outer, bytes memory inner) private {
        evil.arm(address(escrow), inner);
        vm.prank(address(evil));
        (bool success,) = address(escrow).call(outer);
        assertTrue(success);
        assertTrue(evil.called());
        assertFalse(evil.succeeded());
        assertEq(bytes4(evil.answer()), ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector);
    }
}
