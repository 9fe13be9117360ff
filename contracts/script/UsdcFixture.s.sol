// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Script} from "forge-std/Script.sol";

interface IFiatTokenSetup {
    function initialize(
        string calldata name,
        string calldata symbol,
        string calldata currency,
        uint8 decimals,
        address masterMinter,
        address pauser,
        address blacklister,
        address owner
    ) external;
    function initializeV2(string calldata name) external;
    function initializeV2_1(address lostAndFound) external;
    function initializeV2_2(address[] calldata blacklist, string calldata symbol) external;
    function configureMinter(address minter, uint256 allowance) external returns (bool);
}

/// @notice Sets Circle's USDC up as it stands on Base and dumps the state. Run by fixtures.mjs, which links the bytecode.
contract UsdcFixture is Script {
    bytes32 private constant ADMIN_SLOT = keccak256("org.zeppelinos.proxy.admin");
    bytes32 private constant IMPLEMENTATION_SLOT = keccak256("org.zeppelinos.proxy.implementation");

    function run() external {
        vm.chainId(8453);
        string memory json = vm.readFile("contracts/out/circle.json");
        address token = vm.parseJsonAddress(json, ".token");
        address implementation = vm.parseJsonAddress(json, ".implementation");
        address minter = vm.parseJsonAddress(json, ".roles.minter");

        vm.etch(vm.parseJsonAddress(json, ".signatureChecker"), vm.parseJsonBytes(json, ".code.SignatureChecker"));
        vm.etch(implementation, vm.parseJsonBytes(json, ".code.FiatTokenV2_2"));
        vm.etch(token, vm.parseJsonBytes(json, ".code.FiatTokenProxy"));
        vm.store(token, ADMIN_SLOT, _word(vm.parseJsonAddress(json, ".roles.proxyAdmin")));
        vm.store(token, IMPLEMENTATION_SLOT, _word(implementation));

        IFiatTokenSetup usdc = IFiatTokenSetup(token);
        usdc.initialize(
            "USD Coin",
            "USDC",
            "USD",
            6,
            vm.parseJsonAddress(json, ".roles.masterMinter"),
            vm.parseJsonAddress(json, ".roles.pauser"),
            vm.parseJsonAddress(json, ".roles.blacklister"),
            vm.parseJsonAddress(json, ".roles.owner")
        );
        usdc.initializeV2("USD Coin");
        usdc.initializeV2_1(vm.parseJsonAddress(json, ".roles.lostAndFound"));
        usdc.initializeV2_2(new address[](0), "USDC");
        vm.prank(vm.parseJsonAddress(json, ".roles.masterMinter"));
        usdc.configureMinter(minter, type(uint256).max);
        vm.deal(minter, 1_000 ether);

        vm.dumpState("contracts/out/circle.state.json");
    }

    function _word(address account) private pure returns (bytes32) {
        return bytes32(uint256(uint160(account)));
    }
}
