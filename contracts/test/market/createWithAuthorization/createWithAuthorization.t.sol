// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeEscrow} from "../../../src/interfaces/IComputeEscrow.sol";
import {ContractWallet} from "../../utils/ContractWallet.sol";
import {MarketTest} from "../utils/MarketTest.sol";

contract CreateWithAuthorizationTest is MarketTest {
    function _signed(IComputeEscrow.EscrowTerms memory terms, uint56 amount)
        private
        view
        returns (IComputeEscrow.FundingAuthorization memory a, bytes memory signature)
    {
        a = _authorization(amount);
        signature = _sign3009(creatorKey, terms.creator, address(escrow), a, escrow.createNonce(terms, a.salt));
    }

    function _refused(
        IComputeEscrow.EscrowTerms memory terms,
        IComputeEscrow.FundingAuthorization memory a,
        bytes memory signature
    ) private {
        vm.expectRevert("FiatTokenV2: invalid signature");
        vm.prank(stranger);
        escrow.createWithAuthorization(terms, a, signature);
    }

    /// Whoever carries the signature can change nothing about what it is for (T-1).
    function test_RevertWhen_AnyTermIsAnother() external {
        (IComputeEscrow.FundingAuthorization memory a, bytes memory signature) = _signed(_terms(), 20 * USD);
        IComputeEscrow.EscrowTerms memory terms = _terms();
        terms.expiry++;
        _refused(terms, a, signature);
        terms = _terms();
        terms.sessionLimit++;
        _refused(terms, a, signature);
        terms = _terms();
        terms.meter = meter;
        _refused(terms, a, signature);
        terms = _terms();
        terms.agents[0] = stranger;
        _refused(terms, a, signature);
        terms = _terms();
        terms.agents = new address[](0);
        _refused(terms, a, signature);
        _refused(_openTerms(), a, signature);
        terms = _terms();
        terms.creator = stranger;
        _refused(terms, a, signature);
        a.amount--;
        _refused(_terms(), a, signature);
        a.amount++;
        a.salt = bytes32(0);
        _refused(_terms(), a, signature);
    }

    function test_RevertWhen_ItWasUsedBefore() external {
        (IComputeEscrow.FundingAuthorization memory a, bytes memory signature) = _signed(_terms(), 20 * USD);
        escrow.createWithAuthorization(_terms(), a, signature);
        vm.expectRevert("FiatTokenV2: authorization is used or canceled");
        escrow.createWithAuthorization(_terms(), a, signature);
    }

    function test_RevertWhen_TheSignatureIsToFund() external {
        IComputeEscrow.FundingAuthorization memory a = _authorization(20 * USD);
        uint32 escrowId = _create();
        bytes memory signature =
            _sign3009(creatorKey, creator, address(escrow), a, escrow.fundNonce(escrowId, creator, a.salt));
        _refused(_terms(), a, signature);
    }

    function test_RevertWhen_ThereIsNothingToFund() external {
        (IComputeEscrow.FundingAuthorization memory a, bytes memory signature) = _signed(_terms(), 0);
        vm.expectRevert(IComputeEscrow.ComputeEscrow_NothingToFund.selector);
        escrow.createWithAuthorization(_terms(), a, signature);
    }

    function testFuzz_WhenTheCreatorSigned(uint56 amount) external {
        amount = uint56(bound(amount, 1, 10_000 * USD));
        (IComputeEscrow.FundingAuthorization memory a, bytes memory signature) = _signed(_terms(), amount);
        vm.expectEmit(address(escrow));
        emit IComputeEscrow.EscrowCreated(1, creator, EXPIRY, SESSION_LIMIT, address(0), false);
        vm.expectEmit(address(escrow));
        emit IComputeEscrow.AgentAdded(1, agent);
        vm.expectEmit(address(escrow));
        emit IComputeEscrow.EscrowFunded(1, creator, amount, amount);
        vm.prank(stranger);
        assertEq(escrow.createWithAuthorization(_terms(), a, signature), 1);
        assertEq(escrow.escrow(1).creator, creator);
        _assertMoney(1, amount, 0);
        assertEq(USDC.balanceOf(creator), 10_000 * USD - amount);
    }

    function test_WhenTheCreatorIsAContractWallet() external {
        IComputeEscrow.EscrowTerms memory terms = _terms();
        terms.creator = address(new ContractWallet(creator));
        _mint(terms.creator, 20 * USD);
        (IComputeEscrow.FundingAuthorization memory a, bytes memory signature) = _signed(terms, 20 * USD);
        uint32 escrowId = escrow.createWithAuthorization(terms, a, signature);
        assertEq(escrow.escrow(escrowId).creator, terms.creator);
    }
}
