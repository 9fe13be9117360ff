// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";

import {IComputeEscrow} from "../../../src/interfaces/IComputeEscrow.sol";
import {IProviderRegistry} from "../../../src/interfaces/IProviderRegistry.sol";
import {IUsdc} from "../../utils/IUsdc.sol";

/// @notice People with keys, and what they sign.
abstract contract MarketActors is Test {
    IUsdc public constant USDC = IUsdc(0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913);
    address private constant MINTER = 0x3bEA5F24710dC4faC252Ce13110eec72561a6105;
    bytes32 private constant RECEIVE_TYPEHASH = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );

    IProviderRegistry public immutable REGISTRY;
    IComputeEscrow public immutable ESCROW;
    /// Minted to, less paid in, plus returned: what each creator must hold.
    mapping(address => uint256) public purse;
    mapping(address => uint256) private _keys;

    constructor(IProviderRegistry registry, IComputeEscrow escrow) {
        REGISTRY = registry;
        ESCROW = escrow;
    }

    function _actor(string memory name) internal returns (address who) {
        uint256 key;
        (who, key) = makeAddrAndKey(name);
        _keys[who] = key;
    }

    function _mint(address to, uint256 amount) internal {
        vm.prank(MINTER);
        USDC.mint(to, amount);
    }

    /// @dev Gives a creator what it is about to pay.
    function _give(address to, uint256 amount) internal {
        _mint(to, amount);
        purse[to] += amount;
    }

    function _sign3009(address payer, IComputeEscrow.FundingAuthorization memory a, bytes32 nonce)
        internal
        view
        returns (bytes memory)
    {
        bytes32 body = keccak256(
            abi.encode(RECEIVE_TYPEHASH, payer, address(ESCROW), uint256(a.amount), a.validAfter, a.validBefore, nonce)
        );
        (uint8 v, bytes32 r, bytes32 s) = _sign(payer, USDC.DOMAIN_SEPARATOR(), body);
        return abi.encodePacked(r, s, v);
    }

    function _signOpen(IComputeEscrow.SessionRequest memory q, address agent, uint32 nonce)
        internal
        view
        returns (bytes memory)
    {
        bytes32 typeHash = keccak256(
            "OpenSession(uint32 escrowId,bytes32 agent,uint32 nonce,uint32 providerId,bytes32 contentHash,bytes32 meter,uint48 limit,uint40 deadline)"
        );
        bytes memory head = abi.encode(typeHash, q.escrowId, agent, nonce, q.providerId);
        bytes memory tail = abi.encode(q.contentHash, q.meter, q.limit, q.deadline);
        (uint8 v, bytes32 r, bytes32 s) = _sign(agent, _domain(), keccak256(bytes.concat(head, tail)));
        return abi.encodePacked(r, s, v);
    }

    /// @dev Writes the compact signature into the row.
    function _signCost(IComputeEscrow.SessionClose memory row, uint32 providerId, address meter) internal view {
        bytes32 typeHash = keccak256(
            "SessionCost(uint64 sessionId,uint32 providerId,uint48 cost,uint32 receiptCount,bytes32 receiptsRoot)"
        );
        bytes32 body =
            keccak256(abi.encode(typeHash, row.sessionId, providerId, row.cost, row.receiptCount, row.receiptsRoot));
        (uint8 v, bytes32 r, bytes32 s) = _sign(meter, _domain(), body);
        (row.r, row.vs) = (r, bytes32(uint256(s) | (uint256(v - 27) << 255)));
    }

    function _domain() private view returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("ComputeEscrow"),
                keccak256("1"),
                block.chainid,
                address(ESCROW)
            )
        );
    }

    function _sign(address who, bytes32 domain, bytes32 body) private view returns (uint8, bytes32, bytes32) {
        return vm.sign(_keys[who], keccak256(abi.encodePacked("\x19\x01", domain, body)));
    }
}
