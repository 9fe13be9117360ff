// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Script} from "forge-std/Script.sol";
import {console} from "forge-std/console.sol";

import {ComputeFutures} from "../src/ComputeFutures.sol";

/// @notice Deploys ComputeFutures at the same address whoever runs it: CREATE2 through the deterministic deployment proxy.
/// Running it again says that it is already there.
///
///   forge script contracts/script/Deploy.s.sol --rpc-url $RPC --broadcast --private-key $KEY
///
/// USDC is known for Base and Base Sepolia; elsewhere set `USDC`.
contract Deploy is Script {
    address public constant FACTORY = 0x4e59b44847b379578588920cA78FbF26c0B4956C;
    bytes32 public constant SALT = keccak256("ComputeFutures v1");

    error Deploy_NoFactory(address factory);
    error Deploy_WrongAddress(address expected, address actual);

    function run() external returns (address deployed) {
        address token = usdc();
        deployed = predict(token);
        if (deployed.code.length != 0) {
            console.log("ComputeFutures is already at", deployed);
            return deployed;
        }
        if (FACTORY.code.length == 0) revert Deploy_NoFactory(FACTORY);
        vm.startBroadcast();
        address actual = address(new ComputeFutures{salt: SALT}(IERC20(token)));
        vm.stopBroadcast();
        if (actual != deployed) revert Deploy_WrongAddress(deployed, actual);
        console.log("ComputeFutures deployed at", deployed);
    }

    /// @notice Where `run` puts it for this token.
    function predict(address token) public pure returns (address) {
        return vm.computeCreate2Address(
            SALT, keccak256(abi.encodePacked(type(ComputeFutures).creationCode, abi.encode(token))), FACTORY
        );
    }

    function usdc() public view returns (address) {
        if (block.chainid == 8453) return 0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913;
        if (block.chainid == 84532) return 0x036CbD53842c5426634e7929541eC2318f3dCF7e;
        return vm.envAddress("USDC");
    }
}
