// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {MarketTest} from "../utils/MarketTest.sol";

/// @notice I-9: no owner, no pause, no upgrade. Whoever adds a verb has to add it here and say who may use it.
contract MarketNoAdminTest is MarketTest {
    bytes1 private constant CALLCODE = 0xf2;
    bytes1 private constant DELEGATECALL = 0xf4;
    bytes1 private constant SELFDESTRUCT = 0xff;

    function test_TheVerbsOfComputeEscrow() external view {
        // Alphabetical, as in the committed ABI. Of an escrow: its creator. Of a session: its agent opens, the meter's signature
        // closes. Of earnings: the provider's owner. The rest anyone, to the creator's benefit.
        string[16] memory expected = [
            "addAgent",
            "closeSession",
            "closeSessions",
            "create",
            "createWithAuthorization",
            "expire",
            "fund",
            "fundWithAuthorization",
            "lapseSession",
            "lapseSessions",
            "openSession",
            "openSessionWithSignature",
            "recover",
            "refund",
            "removeAgent",
            "sweep"
        ];
        string[] memory verbs = _verbs("contracts/abi/ComputeEscrow.json");
        assertEq(verbs.length, expected.length + 1, "verbs");
        for (uint256 i; i < expected.length; ++i) {
            assertEq(verbs[i], expected[i]);
        }
        assertEq(verbs[expected.length], "withdraw");
    }

    function test_TheVerbsOfProviderRegistry() external view {
        string[] memory verbs = _verbs("contracts/abi/ProviderRegistry.json");
        assertEq(verbs.length, 3);
        assertEq(verbs[0], "register");
        assertEq(verbs[1], "retire");
        assertEq(verbs[2], "update");
    }

    function test_TheCode() external view {
        _cannotBeReplaced(address(escrow).code);
        _cannotBeReplaced(address(registry).code);
        _cannotBeReplaced(escrow.vaultImplementation().code);
    }

    function _verbs(string memory path) private view returns (string[] memory) {
        return abi.decode(
            vm.parseJson(
                vm.readFile(path),
                "$.abi[?(@.type == 'function' && @.stateMutability != 'view' && @.stateMutability != 'pure')].name"
            ),
            (string[])
        );
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
