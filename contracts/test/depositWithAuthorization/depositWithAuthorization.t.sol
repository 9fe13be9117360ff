// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeFutures} from "../../src/interfaces/IComputeFutures.sol";
import {BaseTest} from "../utils/BaseTest.sol";
import {ContractWallet} from "../utils/ContractWallet.sol";

contract DepositWithAuthorizationTest is BaseTest {
    address internal relayer = makeAddr("relayer");

    function setUp() public override {
        super.setUp();
        vm.prank(owner);
        USDC.approve(address(futures), 0);
    }

    function _submit(IComputeFutures.DepositAuthorization memory a, bytes memory signature)
        private
        returns (uint64 accountId)
    {
        vm.prank(relayer);
        accountId = futures.depositWithAuthorization(a, signature);
    }

    function _allow() private {
        vm.prank(owner);
        USDC.approve(address(futures), type(uint256).max);
    }

    function testFuzz_RevertWhen_TheSignatureIsOfAnythingElse(uint8 field, uint56 other) external {
        _allow();
        uint64 mine = _open();
        uint64 mine2 = _open();
        IComputeFutures.DepositAuthorization memory a = _authorization(mine, 10 * USD, 5 * USD);
        bytes memory signature = _sign3009(ownerKey, a);
        field = field % 6;
        if (field == 0) a.amount = 10 * USD + 1;
        if (field == 1) a.ceiling = other == a.ceiling ? 0 : other;
        if (field == 2) (a.operatorIndex, a.accountId) = (otherIndex, 0);
        if (field == 3) a.accountId = mine2;
        if (field == 4) a.salt = keccak256(abi.encode(other));
        if (field == 5) a.validBefore += 1;
        vm.expectRevert("FiatTokenV2: invalid signature");
        _submit(a, signature);
    }

    function test_RevertWhen_TheSignatureIsAnothers() external {
        IComputeFutures.DepositAuthorization memory a = _authorization(0, 10 * USD, 0);
        bytes memory signature = _sign3009(delegateKey, a);
        vm.expectRevert("FiatTokenV2: invalid signature");
        _submit(a, signature);
    }

    function test_RevertWhen_TheAuthorisationIsUsed() external {
        IComputeFutures.DepositAuthorization memory a = _authorization(0, 10 * USD, 0);
        bytes memory signature = _sign3009(ownerKey, a);
        _submit(a, signature);
        assertTrue(USDC.authorizationState(owner, _nonce(a)));
        vm.expectRevert("FiatTokenV2: authorization is used or canceled");
        _submit(a, signature);
    }

    function test_RevertWhen_TheAuthorisationIsExpiredOrNotYetValid() external {
        IComputeFutures.DepositAuthorization memory a = _authorization(0, 10 * USD, 0);
        a.validBefore = block.timestamp;
        bytes memory signature = _sign3009(ownerKey, a);
        vm.expectRevert("FiatTokenV2: authorization is expired");
        _submit(a, signature);
        a.validBefore = block.timestamp + 1 days;
        a.validAfter = block.timestamp;
        signature = _sign3009(ownerKey, a);
        vm.expectRevert("FiatTokenV2: authorization is not yet valid");
        _submit(a, signature);
    }

    function test_RevertWhen_TheAuthorisationIsCancelled() external {
        IComputeFutures.DepositAuthorization memory a = _authorization(0, 10 * USD, 0);
        bytes memory signature = _sign3009(ownerKey, a);
        bytes32 body =
            keccak256(abi.encode(keccak256("CancelAuthorization(address authorizer,bytes32 nonce)"), owner, _nonce(a)));
        USDC.cancelAuthorization(
            owner, _nonce(a), _sign(ownerKey, keccak256(abi.encodePacked("\x19\x01", USDC.DOMAIN_SEPARATOR(), body)))
        );
        vm.expectRevert("FiatTokenV2: authorization is used or canceled");
        _submit(a, signature);
    }

    function test_RevertWhen_SomebodySpendsTheSignatureAtTheToken() external {
        IComputeFutures.DepositAuthorization memory a = _authorization(0, 10 * USD, 0);
        bytes memory signature = _sign3009(ownerKey, a);
        vm.startPrank(stranger);
        vm.expectRevert("FiatTokenV2: caller must be the payee");
        USDC.receiveWithAuthorization(
            owner, address(futures), a.amount, a.validAfter, a.validBefore, _nonce(a), signature
        );
        vm.expectRevert("FiatTokenV2: invalid signature");
        USDC.transferWithAuthorization(
            owner, address(futures), a.amount, a.validAfter, a.validBefore, _nonce(a), signature
        );
    }

    function test_WhenItOpensAnAccount() external {
        IComputeFutures.DepositAuthorization memory a = _authorization(0, 50 * USD, 20 * USD);
        uint64 expected = (uint64(operatorIndex) << 32) | 1;
        vm.expectEmit(address(futures));
        emit IComputeFutures.AccountOpened(expected, owner, operatorIndex, 1);
        vm.expectEmit(address(futures));
        emit IComputeFutures.Deposited(expected, owner, 50 * USD, 50 * USD, 1000, 1000, 0);
        vm.expectEmit(address(futures));
        emit IComputeFutures.CeilingRaised(expected, owner, 20 * USD);
        assertEq(_submit(a, _sign3009(ownerKey, a)), expected);
        assertEq(_account(expected).owner, owner);
        assertEq(_account(expected).credit, 50 * USD);
        assertEq(_account(expected).ceiling, 20 * USD);
        assertEq(USDC.balanceOf(address(futures)), 50 * USD);
    }

    function testFuzz_WhenItOpensAnAccount_TheNonceIsWhatTheViewSays(uint56 ceiling, bytes32 salt) external {
        IComputeFutures.DepositAuthorization memory a = _authorization(0, 10 * USD, ceiling);
        a.salt = salt;
        _submit(a, _sign3009(ownerKey, a));
        assertTrue(USDC.authorizationState(owner, futures.depositNonce(operatorIndex, owner, 0, ceiling, salt)));
    }

    function test_RevertWhen_ItTopsUp_GivenAnAccountOfAnotherOwner() external {
        vm.prank(stranger);
        uint64 theirs = futures.deposit(operatorIndex, stranger, 10 * USD, 0);
        IComputeFutures.DepositAuthorization memory a = _authorization(theirs, 10 * USD, 20 * USD);
        bytes memory signature = _sign3009(ownerKey, a);
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_NotOwner.selector, theirs, owner));
        _submit(a, signature);
    }

    function test_RevertWhen_ItTopsUp_GivenAnAccountOfAnotherOperator() external {
        _allow();
        uint64 accountId = _open();
        IComputeFutures.DepositAuthorization memory a = _authorization(accountId, 10 * USD, 20 * USD);
        a.operatorIndex = otherIndex;
        bytes memory signature = _sign3009(ownerKey, a);
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_UnknownAccount.selector, accountId));
        _submit(a, signature);
    }

    function testFuzz_WhenItTopsUp_GivenTheOwnersAccount(uint56 ceiling) external {
        _allow();
        uint64 accountId = _open(20 * USD, 5 * USD);
        IComputeFutures.DepositAuthorization memory a = _authorization(accountId, 30 * USD, ceiling);
        assertEq(_submit(a, _sign3009(ownerKey, a)), accountId);
        assertEq(_account(accountId).credit, 50 * USD);
        assertEq(_account(accountId).discountBps, 1000);
        assertEq(_account(accountId).ceiling, ceiling > 5 * USD ? ceiling : 5 * USD);
    }

    function test_WhenTheOwnerIsAContractWallet() external {
        ContractWallet wallet = new ContractWallet(owner);
        _mint(address(wallet), 100 * USD);
        IComputeFutures.DepositAuthorization memory a = _authorization(0, 100 * USD, 40 * USD);
        a.owner = address(wallet);
        bytes memory signature = _sign3009(ownerKey, a);
        uint64 accountId = _submit(a, signature);
        assertEq(_account(accountId).owner, address(wallet));
        assertEq(_account(accountId).ceiling, 40 * USD);
    }
}
