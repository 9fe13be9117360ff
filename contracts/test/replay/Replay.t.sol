// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeFutures} from "../../src/interfaces/IComputeFutures.sol";
import {BaseTest} from "../utils/BaseTest.sol";

contract ReplayTest is BaseTest {
    uint64 internal accountId;

    function setUp() public override {
        super.setUp();
        accountId = _open(20 * USD, 0);
    }

    function _refused(uint64 id, bytes memory signature) private {
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_InvalidSignature.selector, id));
        futures.raiseCeilingWithSignature(id, 5 * USD, signature);
    }

    function test_SpendCeiling_GivenAnotherChain() external {
        bytes memory signature = _signCeiling(ownerKey, accountId, 5 * USD);
        // The same contract with the same state on a fork: the domain follows the chain id.
        vm.chainId(84532);
        _refused(accountId, signature);
        futures.raiseCeilingWithSignature(accountId, 5 * USD, _signCeiling(ownerKey, accountId, 5 * USD));
        vm.chainId(8453);
        futures.raiseCeilingWithSignature(accountId, 6 * USD, _signCeiling(ownerKey, accountId, 6 * USD));
    }

    function test_SpendCeiling_GivenAnotherDeployment() external {
        bytes memory signature = _signCeiling(ownerKey, accountId, 5 * USD);
        futures = _deploy(address(USDC));
        _register(operator);
        vm.startPrank(owner);
        USDC.approve(address(futures), type(uint256).max);
        assertEq(futures.deposit(operatorIndex, owner, 20 * USD, 0), accountId);
        vm.stopPrank();
        _refused(accountId, signature);
    }

    function test_SpendCeiling_GivenAnotherAccountOrOperator() external {
        bytes memory signature = _signCeiling(ownerKey, accountId, 5 * USD);
        _refused(_open(20 * USD, 0), signature);
        vm.prank(owner);
        uint64 sameSequence = futures.deposit(otherIndex, owner, 20 * USD, 0);
        assertEq(uint32(sameSequence), uint32(accountId));
        _refused(sameSequence, signature);
    }

    function test_SpendCeiling_GivenTheSameAccountAgain() external {
        bytes memory signature = _signCeiling(ownerKey, accountId, 5 * USD);
        futures.raiseCeilingWithSignature(accountId, 5 * USD, signature);
        _expectRevert(IComputeFutures.ComputeFutures_CeilingNotRaised.selector);
        futures.raiseCeilingWithSignature(accountId, 5 * USD, signature);
        _close(accountId);
        _expectRevert(IComputeFutures.ComputeFutures_AccountClosed.selector);
        futures.raiseCeilingWithSignature(accountId, 5 * USD, signature);
    }

    function test_DepositAuthorization_GivenAnotherChain() external {
        IComputeFutures.DepositAuthorization memory a = _authorization(0, 10 * USD, 5 * USD);
        bytes memory signature = _sign3009(ownerKey, a);
        vm.chainId(84532);
        vm.expectRevert("FiatTokenV2: invalid signature");
        futures.depositWithAuthorization(a, signature);
    }

    function test_DepositAuthorization_GivenAnotherDeployment() external {
        IComputeFutures.DepositAuthorization memory a = _authorization(0, 10 * USD, 5 * USD);
        bytes memory signature = _sign3009(ownerKey, a);
        futures = _deploy(address(USDC));
        _register(operator);
        vm.expectRevert("FiatTokenV2: invalid signature");
        futures.depositWithAuthorization(a, signature);
    }

    function test_DepositAuthorization_GivenAnotherAccountOrOperator() external {
        IComputeFutures.DepositAuthorization memory a = _authorization(accountId, 10 * USD, 5 * USD);
        bytes memory signature = _sign3009(ownerKey, a);
        a.accountId = _open(20 * USD, 0);
        vm.expectRevert("FiatTokenV2: invalid signature");
        futures.depositWithAuthorization(a, signature);
        a.accountId = 0;
        vm.expectRevert("FiatTokenV2: invalid signature");
        futures.depositWithAuthorization(a, signature);
        a.operatorIndex = otherIndex;
        vm.expectRevert("FiatTokenV2: invalid signature");
        futures.depositWithAuthorization(a, signature);
    }

    function test_DepositAuthorization_GivenTheSameAccountAgain() external {
        IComputeFutures.DepositAuthorization memory a = _authorization(accountId, 10 * USD, 5 * USD);
        bytes memory signature = _sign3009(ownerKey, a);
        futures.depositWithAuthorization(a, signature);
        vm.expectRevert("FiatTokenV2: authorization is used or canceled");
        futures.depositWithAuthorization(a, signature);
        assertEq(_account(accountId).credit, 30 * USD);
    }
}
