// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeFutures} from "../../src/interfaces/IComputeFutures.sol";
import {ITransferFromVault} from "../peers/ITransferFromVault.sol";
import {BaseTest} from "../utils/BaseTest.sol";

/// @notice Gas of every verb as a whole transaction (`forge test --isolate`), with Circle's USDC. Written to
/// contracts/snapshots/ComputeFutures.json; contracts/snapshots/README.md says what each pays for.
/// @dev The chain is a used one: account, operator and contract have been through each step before, the contract holds
/// USDC, allowances are set. Without --isolate the limits are not checked (calls share warm storage).
contract GasTest is BaseTest {
    string private constant FILE = "ComputeFutures";
    uint256 private constant ONE_SLOT = 22_100;

    ITransferFromVault private peer;
    uint64[] private accounts;
    uint256 private peerId;

    function setUp() public override {
        super.setUp();
        peer = ITransferFromVault(vm.deployCode("TransferFromVault.sol:TransferFromVault", abi.encode(USDC)));
        vm.startPrank(owner);
        USDC.approve(address(peer), type(uint256).max);
        peerId = peer.deposit(10 * USD);
        vm.stopPrank();
        for (uint256 i; i < 50; ++i) {
            accounts.push(_open(20 * USD, NO_LIMIT));
        }
        _post(_rows(50)); // every account has been charged before, the operator has earnings
    }

    modifier isolated() {
        // In an isolated run every call is a transaction of its own: the second look at a slot is as cold as the first.
        this.probe();
        uint256 first = vm.lastCallGas().gasTotalUsed;
        if (first < 21_000) {
            vm.skip(true, "gas needs --isolate");
        }
        _;
    }

    function probe() external {}

    function _rows(uint256 count) private view returns (IComputeFutures.Debit[] memory rows) {
        rows = new IComputeFutures.Debit[](count);
        for (uint256 i; i < count; ++i) {
            // The list price of 20 jobs at $0.027.
            rows[i] = IComputeFutures.Debit(accounts[i], 540_000, 500);
        }
    }

    function _snapshot(string memory name) private returns (uint256) {
        return vm.snapshotGasLastCall(FILE, name);
    }

    function test_PostDebits() external isolated {
        _post(_rows(1));
        _snapshot("postDebits_1_row");
        _post(_rows(50));
        uint256 gas = _snapshot("postDebits_50_rows");
        assertLe(gas, 550_000, "1,000 jobs over 50 accounts: 550 gas a job");
    }

    function test_Deposit() external isolated {
        vm.prank(owner);
        peer.deposit(10 * USD);
        uint256 limit = _snapshot("peer_deposit") + ONE_SLOT;
        vm.prank(owner);
        futures.deposit(operatorIndex, owner, 20 * USD, 20 * USD);
        assertLe(_snapshot("deposit"), limit);
    }

    function test_DepositWithAuthorization() external isolated {
        IComputeFutures.DepositAuthorization memory a = _authorization(0, 20 * USD, 20 * USD);
        bytes memory signature = _sign3009(ownerKey, a, address(peer));
        bytes32 nonce = _nonce(a);
        vm.prank(stranger);
        peer.depositWithAuthorization(owner, a.amount, a.validAfter, a.validBefore, nonce, signature);
        uint256 limit = _snapshot("peer_depositWithAuthorization") + ONE_SLOT;

        a.salt = keccak256("another nonce");
        signature = _sign3009(ownerKey, a);
        vm.prank(stranger);
        futures.depositWithAuthorization(a, signature);
        uint256 gasless = _snapshot("depositWithAuthorization");
        assertLe(gasless, limit);

        a = _authorization(accounts[0], 10 * USD, 0);
        signature = _sign3009(ownerKey, a);
        vm.prank(stranger);
        futures.depositWithAuthorization(a, signature);
        _snapshot("depositWithAuthorization_topUp");

        // What a transferFrom-based vault needs first, and a gasless deposit does not.
        vm.prank(delegate);
        USDC.approve(address(peer), 20 * USD);
        uint256 approval = _snapshot("peer_approve");
        vm.prank(owner);
        peer.deposit(20 * USD);
        assertLe(gasless, approval + vm.lastCallGas().gasTotalUsed);
    }

    function test_TopUp() external isolated {
        vm.prank(owner);
        peer.topUp(peerId, 10 * USD);
        uint256 limit = _snapshot("peer_topUp") + ONE_SLOT;
        vm.prank(owner);
        futures.topUp(accounts[0], 10 * USD, 0);
        assertLe(_snapshot("topUp"), limit);
        // The same, into a higher tier.
        vm.prank(owner);
        futures.topUp(accounts[0], 30 * USD, 0);
        assertLe(_snapshot("topUp_higher_tier"), limit);
    }

    function test_Sweep() external isolated {
        vm.prank(owner);
        peer.topUp(peerId, 10 * USD);
        uint256 limit = vm.lastCallGas().gasTotalUsed + ONE_SLOT;
        IComputeFutures.DepositTerms memory terms = _depositTerms(NO_LIMIT, 1000);
        address at_ = futures.depositAddress(terms);
        _mint(at_, 20 * USD);
        vm.prank(stranger);
        futures.sweep(terms);
        _snapshot("sweep_first");
        _mint(at_, 20 * USD);
        vm.prank(stranger);
        futures.sweep(terms);
        assertLe(_snapshot("sweep"), limit);
    }

    function test_Refund() external isolated {
        vm.prank(owner);
        peer.refund(peerId);
        uint256 limit = _snapshot("peer_refund") + ONE_SLOT;
        vm.prank(owner);
        futures.requestRefund(accounts[0]);
        _snapshot("requestRefund");
        vm.warp(block.timestamp + REFUND_DELAY);
        vm.prank(owner);
        futures.refund(accounts[0]);
        assertLe(_snapshot("refund"), limit);
        vm.prank(operator);
        futures.closeAccount(accounts[1]);
        assertLe(_snapshot("closeAccount"), limit);
    }

    function test_RaiseCeiling() external isolated {
        uint64 accountId = _open(20 * USD, 5 * USD);
        vm.prank(owner);
        futures.raiseCeiling(accountId, 6 * USD);
        _snapshot("raiseCeiling");
        bytes memory signature = _signCeiling(ownerKey, accountId, 7 * USD);
        vm.prank(stranger);
        futures.raiseCeilingWithSignature(accountId, 7 * USD, signature);
        _snapshot("raiseCeilingWithSignature");
        vm.prank(owner);
        futures.setDelegate(accountId, delegate);
        _snapshot("setDelegate");
    }

    function test_Operator() external isolated {
        IComputeFutures.Terms memory terms = _terms();
        vm.prank(operator);
        futures.setTerms(terms);
        _snapshot("setTerms");
        vm.prank(operator);
        futures.withdrawEarnings(operator, 1 * USD);
        _snapshot("withdrawEarnings_first");
        vm.prank(operator);
        futures.withdrawEarnings(operator, 1 * USD);
        _snapshot("withdrawEarnings");
    }
}
