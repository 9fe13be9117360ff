// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";

import {IComputeFutures} from "../../src/interfaces/IComputeFutures.sol";
import {IUsdc} from "../utils/IUsdc.sol";

/// @notice People with keys, and what they sign.
abstract contract Actors is Test {
    IUsdc public constant USDC = IUsdc(0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913);
    bytes32 private constant RECEIVE_TYPEHASH = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );

    IComputeFutures public immutable FUTURES;
    mapping(address => uint256) private _keys;

    constructor(IComputeFutures futures) {
        FUTURES = futures;
    }

    function _actor(string memory name) internal returns (address who) {
        uint256 key;
        (who, key) = makeAddrAndKey(name);
        _keys[who] = key;
    }

    function _sign3009(IComputeFutures.DepositAuthorization memory a) internal view returns (bytes memory) {
        bytes32 nonce = FUTURES.depositNonce(a.operatorIndex, a.owner, a.accountId, a.ceiling, a.salt);
        bytes32 body = keccak256(
            abi.encode(
                RECEIVE_TYPEHASH, a.owner, address(FUTURES), uint256(a.amount), a.validAfter, a.validBefore, nonce
            )
        );
        return _sign(a.owner, USDC.DOMAIN_SEPARATOR(), body);
    }

    function _domain() internal view returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("ComputeFutures"),
                keccak256("1"),
                block.chainid,
                address(FUTURES)
            )
        );
    }

    function _sign(address who, bytes32 domain, bytes32 body) internal view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(_keys[who], keccak256(abi.encodePacked("\x19\x01", domain, body)));
        return abi.encodePacked(r, s, v);
    }
}
