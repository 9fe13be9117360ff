// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Script} from "forge-std/Script.sol";
import {console} from "forge-std/console.sol";

import {ComputeEscrow} from "../src/ComputeEscrow.sol";
import {ProviderRegistry} from "../src/ProviderRegistry.sol";
import {IProviderRegistry} from "../src/interfaces/IProviderRegistry.sol";

/// @notice Deploys ProviderRegistry and ComputeEscrow at the same addresses whoever runs it: CREATE2 through the deterministic
/// deployment proxy. Running it again says that they are already there.
///
///   forge script contracts/script/DeployMarket.s.sol --rpc-url $RPC --broadcast --private-key $KEY
///
/// USDC is known for Base and Base Sepolia; elsewhere set `USDC`.
contract DeployMarket is Script {
    address public constant FACTORY = 0x4e59b44847b379578588920cA78FbF26c0B4956C;
    bytes32 public constant SALT = keccak256("ComputeFutures v1");

    error DeployMarket_NoFactory(address factory);
    error DeployMarket_WrongAddress(address expected, address actual);

    function run() external returns (address registry, address escrow) {
        if (FACTORY.code.length == 0) revert DeployMarket_NoFactory(FACTORY);
        address token = usdc();
        (registry, escrow) = predict(token);
        if (registry.code.length != 0) {
            console.log("ProviderRegistry is already at", registry);
        } else {
            vm.broadcast();
            _require(registry, address(new ProviderRegistry{salt: SALT}()));
            console.log("ProviderRegistry deployed at", registry);
        }
        if (escrow.code.length != 0) {
            console.log("ComputeEscrow is already at", escrow);
        } else {
            vm.broadcast();
            _require(escrow, address(new ComputeEscrow{salt: SALT}(IERC20(token), IProviderRegistry(registry))));
            console.log("ComputeEscrow deployed at", escrow);
        }
    }

    /// @notice Where `run` puts them for this token.
    function predict(address token) public pure returns (address registry, address escrow) {
        registry = vm.computeCreate2Address(SALT, keccak256(type(ProviderRegistry).creationCode), FACTORY);
        bytes memory initCode = abi.encodePacked(type(ComputeEscrow).creationCode, abi.encode(token, registry));
        escrow = vm.computeCreate2Address(SALT, keccak256(initCode), FACTORY);
    }

    function usdc() public view returns (address) {
        if (block.chainid == 8453) return 0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913;
        if (block.chainid == 84532) return 0x036CbD53842c5426634e7929541eC2318f3dCF7e;
        return vm.envAddress("USDC");
    }

    function _require(address expected, address actual) private pure {
        if (actual != expected) revert DeployMarket_WrongAddress(expected, actual);
    }
}
