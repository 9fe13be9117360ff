// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeEscrow} from "../../../src/interfaces/IComputeEscrow.sol";
import {MarketTest} from "../utils/MarketTest.sol";

contract FundWithAuthorizationTest is MarketTest {
    uint32 private escrowId;

    function setUp() public override {
        super.setUp();
        escrowId = _create();
    }

    function _signed(uint32 id)
        private
        view
        returns (IComputeEscrow.FundingAuthorization memory a, bytes memory signature)
    {
        a = _authorization(20 * USD);
        signature = _sign3009(creatorKey, creator, address(escrow), a, escrow.fundNonce(id, creator, a.salt));
    }

    function test_RevertWhen_ItIsForAnotherEscrowPayerAmountOrSalt() external {
        uint32 second = _create();
        (IComputeEscrow.FundingAuthorization memory a, bytes memory signature) = _signed(escrowId);
        vm.expectRevert("FiatTokenV2: invalid signature");
        escrow.fundWithAuthorization(second, creator, a, signature);
        vm.expectRevert("FiatTokenV2: invalid signature");
        escrow.fundWithAuthorization(escrowId, stranger, a, signature);
        a.amount++;
        vm.expectRevert("FiatTokenV2: invalid signature");
        escrow.fundWithAuthorization(escrowId, creator, a, signature);
        a.amount--;
        a.salt = bytes32(0);
        vm.expectRevert("FiatTokenV2: invalid signature");
        escrow.fundWithAuthorization(escrowId, creator, a, signature);
    }

    /// Ids are counted, so after a reorganisation one may be another creator's (T-15).
    function test_RevertWhen_TheEscrowIsAnotherCreatorsNow() external {
        (IComputeEscrow.FundingAuthorization memory a, bytes memory signature) = _signed(escrowId + 1);
        IComputeEscrow.EscrowTerms memory terms = _terms();
        terms.creator = stranger;
        assertEq(_create(terms, 1 * USD), escrowId + 1);
        vm.expectRevert("FiatTokenV2: invalid signature");
        escrow.fundWithAuthorization(escrowId + 1, creator, a, signature);
    }

    function test_RevertWhen_ItIsToCreate() external {
        IComputeEscrow.FundingAuthorization memory a = _authorization(20 * USD);
        bytes memory signature =
            _sign3009(creatorKey, creator, address(escrow), a, escrow.createNonce(_terms(), a.salt));
        vm.expectRevert("FiatTokenV2: invalid signature");
        escrow.fundWithAuthorization(escrowId, creator, a, signature);
    }

    function test_RevertWhen_ItWasUsedBefore() external {
        (IComputeEscrow.FundingAuthorization memory a, bytes memory signature) = _signed(escrowId);
        escrow.fundWithAuthorization(escrowId, creator, a, signature);
        vm.expectRevert("FiatTokenV2: authorization is used or canceled");
        escrow.fundWithAuthorization(escrowId, creator, a, signature);
    }

    function test_RevertWhen_TheEscrowIsUnknownOrHasExpired() external {
        (IComputeEscrow.FundingAuthorization memory a, bytes memory signature) = _signed(9);
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_UnknownEscrow.selector, 9));
        escrow.fundWithAuthorization(9, creator, a, signature);
        (a, signature) = _signed(escrowId);
        vm.warp(uint256(EXPIRY) + 1);
        vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_Expired.selector, escrowId, EXPIRY));
        escrow.fundWithAuthorization(escrowId, creator, a, signature);
    }

    function test_WhenThePayerSigned() external {
        (IComputeEscrow.FundingAuthorization memory a, bytes memory signature) = _signed(escrowId);
        vm.expectEmit(address(escrow));
        emit IComputeEscrow.EscrowFunded(escrowId, creator, 20 * USD, 120 * USD);
        vm.prank(stranger);
        escrow.fundWithAuthorization(escrowId, creator, a, signature);
        _assertMoney(escrowId, 120 * USD, 0);
        assertEq(USDC.balanceOf(creator), 9_880 * USD);
    }
}
