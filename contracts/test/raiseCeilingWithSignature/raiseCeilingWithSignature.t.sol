// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeFutures} from "../../src/interfaces/IComputeFutures.sol";
import {BaseTest} from "../utils/BaseTest.sol";
import {ContractWallet} from "../utils/ContractWallet.sol";

contract RaiseCeilingWithSignatureTest is BaseTest {
    uint64 internal accountId;

    function setUp() public override {
        super.setUp();
        accountId = _open(20 * USD, 0);
    }

    function _raise(uint64 id, uint56 ceiling, bytes memory signature) private {
        vm.prank(stranger);
        futures.raiseCeilingWithSignature(id, ceiling, signature);
    }

    function _expectInvalid() private {
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_InvalidSignature.selector, accountId));
    }

    function test_RevertWhen_TheAccountIsUnknownOrClosed() external {
        bytes memory signature = _signCeiling(ownerKey, 7, 1);
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_UnknownAccount.selector, 7));
        _raise(7, 1, signature);
        signature = _signCeiling(ownerKey, accountId, 1);
        _close(accountId);
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_AccountClosed.selector, accountId));
        _raise(accountId, 1, signature);
    }

    function testFuzz_RevertWhen_TheSignatureIsNeithersOwn(uint256 key) external {
        key = bound(key, 1, type(uint128).max);
        vm.assume(key != ownerKey);
        bytes memory signature = _signCeiling(key, accountId, 5 * USD);
        _expectInvalid();
        _raise(accountId, 5 * USD, signature);
    }

    function testFuzz_RevertWhen_TheSignatureIsAnyBytes(bytes memory signature) external {
        _expectInvalid();
        _raise(accountId, 5 * USD, signature);
    }

    function test_RevertWhen_TheSignatureIsMalleable() external {
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(ownerKey, _ceilingDigest(_domain(block.chainid, address(futures)), accountId, 5 * USD));
        bytes32 highS = bytes32(0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141 - uint256(s));
        _expectInvalid();
        _raise(accountId, 5 * USD, abi.encodePacked(r, highS, v == 27 ? uint8(28) : uint8(27)));
    }

    function testFuzz_RevertWhen_TheSignatureIsForAnotherCeilingOrAccount(uint56 signed, uint56 sent) external {
        vm.assume(signed != sent);
        bytes memory signature = _signCeiling(ownerKey, accountId, signed);
        _expectInvalid();
        _raise(accountId, sent, signature);

        uint64 second = _open(20 * USD, 0);
        signature = _signCeiling(ownerKey, second, sent);
        _expectInvalid();
        _raise(accountId, sent, signature);
    }

    function test_RevertWhen_TheCeilingIsNotAbove() external {
        bytes memory signature = _signCeiling(ownerKey, accountId, 5 * USD);
        _raise(accountId, 5 * USD, signature);
        vm.expectRevert(
            abi.encodeWithSelector(IComputeFutures.ComputeFutures_CeilingNotRaised.selector, 5 * USD, 5 * USD)
        );
        _raise(accountId, 5 * USD, signature);
    }

    function test_RevertWhen_TheDelegateWasReplaced() external {
        vm.prank(owner);
        futures.setDelegate(accountId, delegate);
        bytes memory signature = _signCeiling(delegateKey, accountId, 5 * USD);
        vm.prank(owner);
        futures.setDelegate(accountId, stranger);
        _expectInvalid();
        _raise(accountId, 5 * USD, signature);
    }

    function test_RevertWhen_NoDelegateIsSet_AndTheSignatureRecoversToZero() external {
        _expectInvalid();
        _raise(accountId, 5 * USD, abi.encodePacked(bytes32(uint256(1)), bytes32(uint256(1)), uint8(99)));
        _expectInvalid();
        _raise(accountId, 5 * USD, new bytes(65));
    }

    function testFuzz_WhenOwnerOrDelegateSigned(uint56 ceiling, bool byDelegate) external {
        ceiling = uint56(bound(ceiling, 1, NO_LIMIT));
        vm.prank(owner);
        futures.setDelegate(accountId, delegate);
        bytes memory signature = _signCeiling(byDelegate ? delegateKey : ownerKey, accountId, ceiling);
        vm.expectEmit(address(futures));
        emit IComputeFutures.CeilingRaised(accountId, byDelegate ? delegate : owner, ceiling);
        _raise(accountId, ceiling, signature);
        assertEq(_account(accountId).ceiling, ceiling);
    }

    function test_WhenTheOwnerIsAContractWallet() external {
        ContractWallet wallet = new ContractWallet(delegate);
        vm.prank(stranger);
        accountId = futures.deposit(operatorIndex, address(wallet), 20 * USD, 0);
        bytes memory signature = _signCeiling(delegateKey, accountId, 5 * USD);
        vm.expectEmit(address(futures));
        emit IComputeFutures.CeilingRaised(accountId, address(wallet), 5 * USD);
        _raise(accountId, 5 * USD, signature);

        signature = _signCeiling(delegateKey, accountId, 6 * USD);
        wallet.setKey(stranger);
        _expectInvalid();
        _raise(accountId, 6 * USD, signature);
    }

    function test_WhenTheDelegateIsAContractWallet() external {
        ContractWallet wallet = new ContractWallet(delegate);
        vm.prank(owner);
        futures.setDelegate(accountId, address(wallet));
        _raise(accountId, 5 * USD, _signCeiling(delegateKey, accountId, 5 * USD));
        assertEq(_account(accountId).ceiling, 5 * USD);
    }
}
