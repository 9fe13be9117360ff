// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC5267} from "@openzeppelin/contracts/interfaces/IERC5267.sol";

import {IComputeFutures} from "../../src/interfaces/IComputeFutures.sol";
import {BaseTest} from "../utils/BaseTest.sol";

contract ConstructorTest is BaseTest {
    function test_RevertWhen_TheTokenHasNoCode() external {
        _expectInvalidToken(makeAddr("no code"));
    }

    function test_RevertWhen_TheTokenDoesNotAnswerDecimals() external {
        _expectInvalidToken(address(this));
    }

    function testFuzz_RevertWhen_TheTokenHasNotSixDecimals(uint8 decimals) external {
        vm.assume(decimals != 6);
        address token = makeAddr("token");
        vm.mockCall(token, abi.encodeWithSignature("decimals()"), abi.encode(decimals));
        _expectInvalidToken(token);
    }

    function test_WhenTheTokenHasSixDecimals() external view {
        assertEq(futures.token(), address(USDC));
        assertGt(futures.vaultImplementation().code.length, 0);
        assertLe(address(futures).code.length, 24_576);
        assertEq(futures.operatorIndexOf(address(this)), 0);
        (, string memory name, string memory version, uint256 chainId, address verifyingContract,,) =
            IERC5267(address(futures)).eip712Domain();
        assertEq(name, "ComputeFutures");
        assertEq(version, "1");
        assertEq(chainId, 8453);
        assertEq(verifyingContract, address(futures));
    }

    function test_WhenTheTokenHasSixDecimals_NoOperatorYet() external {
        assertEq(_deploy(address(USDC)).operatorCount(), 0);
    }

    function _expectInvalidToken(address token) private {
        bytes memory initCode = abi.encodePacked(vm.getCode("ComputeFutures.sol:ComputeFutures"), abi.encode(token));
        vm.expectRevert(abi.encodeWithSelector(IComputeFutures.ComputeFutures_InvalidToken.selector, token));
        assembly ("memory-safe") {
            pop(create(0, add(initCode, 0x20), mload(initCode)))
        }
    }
}
