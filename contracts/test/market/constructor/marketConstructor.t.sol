// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC5267} from "@openzeppelin/contracts/interfaces/IERC5267.sol";

import {IComputeEscrow} from "../../../src/interfaces/IComputeEscrow.sol";
import {MarketTest} from "../utils/MarketTest.sol";

contract MarketConstructorTest is MarketTest {
    function _expectRefused(address token, address registry_, bytes memory error) private {
        bytes memory initCode =
            abi.encodePacked(vm.getCode("ComputeEscrow.sol:ComputeEscrow"), abi.encode(token, registry_));
        vm.expectRevert(error);
        assembly ("memory-safe") {
            pop(create(0, add(initCode, 0x20), mload(initCode)))
        }
    }

    function testFuzz_RevertWhen_TheTokenHasNotSixDecimals(uint8 decimals) external {
        vm.assume(decimals != 6);
        address token = makeAddr("token");
        _expectRefused(
            token, address(registry), abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_InvalidToken.selector, token)
        );
        vm.mockCall(token, abi.encodeWithSignature("decimals()"), abi.encode(decimals));
        _expectRefused(
            token, address(registry), abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_InvalidToken.selector, token)
        );
    }

    function test_RevertWhen_TheRegistryHasNoCode() external {
        _expectRefused(
            address(USDC),
            stranger,
            abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_InvalidRegistry.selector, stranger)
        );
    }

    function test_WhenBothAreThere() external view {
        assertEq(escrow.token(), address(USDC));
        assertEq(escrow.registry(), address(registry));
        assertGt(escrow.vaultImplementation().code.length, 0);
        assertEq(escrow.escrowCount(), 0);
        assertLe(address(escrow).code.length, 24_576);
        (, string memory name, string memory version, uint256 chainId, address verifyingContract,,) =
            IERC5267(address(escrow)).eip712Domain();
        assertEq(name, "ComputeEscrow");
        assertEq(version, "1");
        assertEq(chainId, 8453);
        assertEq(verifyingContract, address(escrow));
    }
}
