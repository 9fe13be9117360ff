// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeFutures} from "../../src/interfaces/IComputeFutures.sol";
import {BaseTest} from "../utils/BaseTest.sol";

/// @notice I-9: no owner, no pause, no upgrade. Whoever adds a verb has to add it here and say who may use it.
contract NoAdminTest is BaseTest {
    bytes1 private constant CALLCODE = 0xf2;
    bytes1 private constant DELEGATECALL = 0xf4;
    bytes1 private constant SELFDESTRUCT = 0xff;

    function test_TheVerbs() external view {
        // Alphabetical, as in the committed ABI. Of an account: its owner, delegate or operator. Of a deposit address: anyone, to
        // its owner's benefit. setTerms and withdrawEarnings concern the caller alone.
        string[14] memory expected = [
            "closeAccount",
            "deposit",
            "depositWithAuthorization",
            "postDebits",
            "raiseCeiling",
            "raiseCeilingWithSignature",
            "recover",
            "refund",
            "requestRefund",
            "setDelegate",
            "setTerms",
            "sweep",
            "topUp",
            "withdrawEarnings"
        ];
        string memory json = vm.readFile("contracts/abi/ComputeFutures.json");
        string[] memory verbs = abi.decode(
            vm.parseJson(
                json,
                "$.abi[?(@.type == 'function' && @.stateMutability != 'view' && @.stateMutability != 'pure')].name"
            ),
            (string[])
        );
        assertEq(verbs.length, expected.length, "verbs");
        for (uint256 i; i < verbs.length; ++i) {
            assertEq(verbs[i], expected[i]);
        }
    }

    function test_TheCode() external view {
        _cannotBeReplaced(address(futures).code);
        _cannotBeReplaced(futures.vaultImplementation().code);
    }

    /// @dev The deployer of this test is the test contract.
    function test_TheDeployer() external {
        uint64 accountId = _open(100 * USD, NO_LIMIT);
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_NotOperator.selector, address(this)));
        futures.withdrawEarnings(address(this), 0);
        vm.expectRevert(
            abi.encodeWithSelector(IComputeFutures.ComputeFutures_NotOwner.selector, accountId, address(this))
        );
        futures.requestRefund(accountId);
        vm.expectRevert(
            abi.encodeWithSelector(IComputeFutures.ComputeFutures_NotSpender.selector, accountId, address(this))
        );
        futures.raiseCeiling(accountId, NO_LIMIT);
        vm.expectRevert(
            abi.encodeWithSelector(IComputeFutures.ComputeFutures_NotAccountOperator.selector, accountId, address(this))
        );
        futures.closeAccount(accountId);
    }

    /// @dev Walks the instructions: what PUSHes carry is data, and so is the compiler's note at the end.
    function _cannotBeReplaced(bytes memory code) private pure {
        uint256 note = uint16(bytes2(bytes.concat(code[code.length - 2], code[code.length - 1]))) + 2;
        assertLt(note, code.length);
        for (uint256 i; i < code.length - note; ++i) {
            uint8 instruction = uint8(code[i]);
            assertTrue(
                code[i] != DELEGATECALL && code[i] != CALLCODE && code[i] != SELFDESTRUCT,
                string.concat("instruction at ", vm.toString(i))
            );
            if (instruction >= 0x60 && instruction <= 0x7f) i += instruction - 0x5f;
        }
    }
}
