// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";

import {IComputeFutures} from "../../src/interfaces/IComputeFutures.sol";
import {IUsdc} from "../utils/IUsdc.sol";
import {Handler} from "./Handler.sol";
import {AccountModel, OperatorModel, ReceiptModel} from "./Model.sol";

/// @notice The promises I-1 to I-7 after every sequence of calls (README.md in this folder).
contract InvariantsTest is Test {
    IUsdc private constant USDC = IUsdc(0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913);

    IComputeFutures private futures;
    Handler private handler;

    function setUp() external {
        vm.chainId(8453);
        vm.warp(1_800_000_000);
        vm.loadAllocs("contracts/fixtures/usdc.alloc.json");
        futures = IComputeFutures(vm.deployCode("ComputeFutures.sol:ComputeFutures", abi.encode(USDC)));
        handler = new Handler(futures);

        bytes4[] memory verbs = new bytes4[](21);
        verbs[0] = Handler.setTerms.selector;
        verbs[1] = Handler.postDebits.selector;
        verbs[2] = Handler.postDebitsOutOfOrder.selector;
        verbs[3] = Handler.closeAccount.selector;
        verbs[4] = Handler.withdrawEarnings.selector;
        verbs[5] = Handler.deposit.selector;
        verbs[6] = Handler.topUp.selector;
        verbs[7] = Handler.depositWithAuthorization.selector;
        verbs[8] = Handler.sweep.selector;
        verbs[9] = Handler.recover.selector;
        verbs[10] = Handler.payDepositAddress.selector;
        verbs[11] = Handler.donate.selector;
        verbs[12] = Handler.raiseCeiling.selector;
        verbs[13] = Handler.raiseCeilingWithSignature.selector;
        verbs[14] = Handler.raiseCeilingByAnother.selector;
        verbs[15] = Handler.setDelegate.selector;
        verbs[16] = Handler.requestRefund.selector;
        verbs[17] = Handler.refund.selector;
        verbs[18] = Handler.wait.selector;
        // Debits are what everything else is about: as often as three verbs.
        verbs[19] = Handler.postDebits.selector;
        verbs[20] = Handler.postDebits.selector;
        targetSelector(FuzzSelector(address(handler), verbs));
        targetContract(address(handler));
    }

    /// I-1, exactly: what the contract holds is unspent credit, earnings and what was sent to it by mistake.
    function invariant_I1_Solvency() external view {
        assertEq(USDC.balanceOf(address(futures)), _owed() + handler.donated());
    }

    /// I-2: charged <= ceiling that owner or delegate signed, and <= credit.
    function invariant_I2_Ceiling() external view {
        for (uint256 i; i < handler.accountCount(); ++i) {
            uint64 id = handler.accounts(i);
            IComputeFutures.Account memory a = futures.account(id);
            AccountModel memory m = handler.model(id);
            assertLe(a.charged, a.ceiling);
            assertLe(a.charged, a.credit);
            assertEq(a.ceiling, m.ceiling);
            assertEq(a.delegate, m.delegate);
        }
    }

    /// I-3: what was charged is the discounted list amounts, to the last ten-thousandth of a micro-USDC.
    function invariant_I3_Discount() external view {
        for (uint256 i; i < handler.accountCount(); ++i) {
            uint64 id = handler.accounts(i);
            IComputeFutures.Account memory a = futures.account(id);
            AccountModel memory m = handler.model(id);
            assertEq(uint256(a.charged) * 10_000 + a.remainder, m.listTimesRate);
            assertEq(a.charged, m.charged);
            assertEq(a.remainder, m.remainder);
            assertLt(a.remainder, 10_000);
            assertEq(a.discountBps, m.discountBps);
            assertEq(a.previousDiscountBps, m.previousDiscountBps);
            assertEq(a.discountFromBatch, m.discountFromBatch);
            assertLe(a.previousDiscountBps, a.discountBps);
            assertLe(a.discountFromBatch, handler.operatorModel(m.operatorIndex).lastBatch + 3);
        }
    }

    /// I-4: refunds went to owners only, whole; no delay moved; `charged` is what it was.
    function invariant_I4_Exit() external view {
        for (uint256 i; i < handler.ownerCount(); ++i) {
            address owner = handler.owners(i);
            assertEq(USDC.balanceOf(owner), handler.purse(owner));
        }
        for (uint256 i; i < handler.accountCount(); ++i) {
            uint64 id = handler.accounts(i);
            IComputeFutures.Account memory a = futures.account(id);
            AccountModel memory m = handler.model(id);
            assertEq(a.owner, m.owner);
            assertEq(a.refundableAt, m.refundableAt);
            assertEq(a.closed, m.closed);
            assertEq(a.credit, m.credit);
            assertEq(a.termsVersion, m.termsVersion);
            if (a.closed) assertEq(a.credit, a.charged);
        }
    }

    /// I-5 and I-6: every batch posted once, in order, whatever rows it had; every charge became earnings once.
    function invariant_I5_I6_Once() external view {
        for (uint32 index = 1; index <= 2; ++index) {
            IComputeFutures.Operator memory o = futures.operator(index);
            OperatorModel memory m = handler.operatorModel(index);
            assertEq(o.lastBatch, m.lastBatch);
            assertEq(o.earnings, m.earned - m.withdrawn);
            assertEq(o.lastSequence, m.accounts.length);
            assertEq(USDC.balanceOf(m.operator), m.withdrawn);
        }
    }

    /// I-7: every receipt is in its batch, and an account's receipts add up to what it was charged.
    function invariant_I7_Receipts() external view {
        uint256 count = handler.receiptCount();
        // The newest of them and one older: all were the newest once.
        for (uint256 i = count > 6 ? count - 6 : 0; i < count; ++i) {
            _verify(handler.receipt(i));
        }
        if (count != 0) _verify(handler.receipt(uint256(keccak256(abi.encode(count))) % count));
        for (uint256 i; i < handler.accountCount(); ++i) {
            uint64 id = handler.accounts(i);
            assertEq(futures.account(id).charged, handler.model(id).receipts);
        }
    }

    /// @dev I-4 at the end of every run: with no operator's help everyone gets out, and only what was donated remains.
    function afterInvariant() external {
        for (uint256 i; i < handler.accountCount(); ++i) {
            uint64 id = handler.accounts(i);
            IComputeFutures.Account memory a = futures.account(id);
            if (a.closed || a.refundableAt != 0) continue;
            vm.prank(a.owner);
            futures.requestRefund(id);
        }
        vm.warp(block.timestamp + 30 days);
        for (uint256 i; i < handler.accountCount(); ++i) {
            uint64 id = handler.accounts(i);
            if (!futures.account(id).closed) handler.exit(id);
        }
        for (uint256 i; i < handler.ownerCount(); ++i) {
            assertEq(USDC.balanceOf(handler.owners(i)), handler.purse(handler.owners(i)));
        }
        for (uint32 index = 1; index <= 2; ++index) {
            uint64 earnings = futures.operator(index).earnings;
            address operator = futures.operator(index).operator;
            vm.prank(operator);
            futures.withdrawEarnings(operator, earnings);
        }
        assertEq(USDC.balanceOf(address(futures)), handler.donated());
    }

    function _owed() private view returns (uint256 owed) {
        for (uint256 i; i < handler.accountCount(); ++i) {
            IComputeFutures.Account memory a = futures.account(handler.accounts(i));
            owed += a.credit - a.charged;
        }
        for (uint32 index = 1; index <= 2; ++index) {
            owed += futures.operator(index).earnings;
        }
    }

    function _verify(ReceiptModel memory r) private view {
        assertTrue(futures.verifyReceipt(r.operatorIndex, r.batchNumber, r.receiptHash, r.proof));
    }
}
