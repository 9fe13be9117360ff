// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";

import {IComputeEscrow} from "../../../src/interfaces/IComputeEscrow.sol";
import {IProviderRegistry} from "../../../src/interfaces/IProviderRegistry.sol";
import {IUsdc} from "../../utils/IUsdc.sol";

/// @notice Circle's USDC at its Base address, the registry with two providers, ComputeEscrow, and the words market tests speak.
abstract contract MarketTest is Test {
    IUsdc internal constant USDC = IUsdc(0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913);
    address internal constant MINTER = 0x3bEA5F24710dC4faC252Ce13110eec72561a6105;
    address internal constant PAUSER = 0x00A1ecD8957Afae4CB836099ad007FFAC879A46f;
    address internal constant BLACKLISTER = 0x6281Ae0BE737BAEa872AfaB96A1c70C180e45227;

    uint48 internal constant USD = 1e6;
    uint56 internal constant ALL = type(uint56).max;
    uint48 internal constant SESSION_LIMIT = 10 * USD;
    uint40 internal constant START = 1_800_000_000;
    uint40 internal constant EXPIRY = START + 20 days;
    bytes32 internal constant ROOT = keccak256("receipts");

    bytes32 internal constant RECEIVE_TYPEHASH = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );

    IProviderRegistry internal registry;
    IComputeEscrow internal escrow;
    address internal creator;
    uint256 internal creatorKey;
    address internal agent;
    uint256 internal agentKey;
    address internal otherAgent = makeAddr("other agent");
    address internal meter;
    uint256 internal meterKey;
    address internal otherMeter;
    uint256 internal otherMeterKey;
    address internal providerOwner = makeAddr("provider owner");
    address internal otherProviderOwner = makeAddr("other provider owner");
    address internal stranger = makeAddr("stranger");
    uint32 internal providerId;
    uint32 internal otherProviderId;
    bytes32 internal contentHash;
    bytes32 internal otherContentHash;

    function setUp() public virtual {
        vm.chainId(8453);
        vm.warp(START);
        vm.loadAllocs("contracts/fixtures/usdc.alloc.json");
        (creator, creatorKey) = makeAddrAndKey("creator");
        (agent, agentKey) = makeAddrAndKey("agent");
        (meter, meterKey) = makeAddrAndKey("meter");
        (otherMeter, otherMeterKey) = makeAddrAndKey("other meter");
        registry = IProviderRegistry(vm.deployCode("ProviderRegistry.sol:ProviderRegistry"));
        escrow = _deploy(address(USDC));
        (providerId, contentHash) = _register(providerOwner, 100);
        (otherProviderId, otherContentHash) = _register(otherProviderOwner, 200);
        _fundWallet(creator, 10_000 * USD);
        _fundWallet(stranger, 10_000 * USD);
    }

    // ------------------------------------------------------------------ setup

    /// @dev The artifact, so that tests run what is deployed, whatever they are compiled with.
    function _deploy(address token) internal returns (IComputeEscrow) {
        return IComputeEscrow(vm.deployCode("ComputeEscrow.sol:ComputeEscrow", abi.encode(token, registry)));
    }

    function _content(uint48 price) internal pure returns (IProviderRegistry.Content memory content) {
        content.endpoint = "https://provider.example/v1";
        content.providerType = IProviderRegistry.ProviderType.Cloud;
        content.rateLimit = 60;
        content.minimumCharge = 10;
        content.features = new string[](2);
        content.features[0] = "streaming";
        content.features[1] = "json";
        content.models = new IProviderRegistry.Model[](2);
        content.models[0] = IProviderRegistry.Model("llama-3.3-70b", price, 3 * price, 131_072);
        content.models[1] = IProviderRegistry.Model("qwen-2.5-7b", price / 2, price, 32_768);
    }

    function _register(address who, uint48 price) internal returns (uint32 id, bytes32 hash) {
        vm.prank(who);
        return registry.register(_content(price));
    }

    function _mint(address to, uint256 amount) internal {
        vm.prank(MINTER);
        USDC.mint(to, amount);
    }

    /// @dev Tokens and an allowance for them.
    function _fundWallet(address to, uint256 amount) internal {
        _mint(to, amount);
        vm.prank(to);
        USDC.approve(address(escrow), type(uint256).max);
    }

    /// @dev For one agent, any meter.
    function _terms() internal view returns (IComputeEscrow.EscrowTerms memory terms) {
        terms.creator = creator;
        terms.expiry = EXPIRY;
        terms.sessionLimit = SESSION_LIMIT;
        terms.agents = new address[](1);
        terms.agents[0] = agent;
    }

    /// @dev For anyone, one meter.
    function _openTerms() internal view returns (IComputeEscrow.EscrowTerms memory terms) {
        terms = _terms();
        terms.meter = meter;
        terms.openToAll = true;
        terms.agents = new address[](0);
    }

    function _create(IComputeEscrow.EscrowTerms memory terms, uint56 amount) internal returns (uint32) {
        vm.prank(terms.creator);
        return escrow.create(terms, amount);
    }

    /// @dev $100 for one agent.
    function _create() internal returns (uint32) {
        return _create(_terms(), 100 * USD);
    }

    // ------------------------------------------------------------------ verbs

    function _request(uint32 escrowId, uint48 limit) internal view returns (IComputeEscrow.SessionRequest memory) {
        return IComputeEscrow.SessionRequest({
            escrowId: escrowId,
            providerId: providerId,
            contentHash: contentHash,
            meter: meter,
            limit: limit,
            deadline: uint40(block.timestamp + 1 hours)
        });
    }

    function _open(IComputeEscrow.SessionRequest memory request) internal returns (uint64) {
        vm.prank(agent);
        return escrow.openSession(request);
    }

    function _open(uint32 escrowId, uint48 limit) internal returns (uint64) {
        return _open(_request(escrowId, limit));
    }

    function _closeRow(uint64 sessionId, uint48 cost) internal view returns (IComputeEscrow.SessionClose memory) {
        return _closeRow(sessionId, cost, meterKey);
    }

    /// @dev Signed for the provider of the session.
    function _closeRow(uint64 sessionId, uint48 cost, uint256 key)
        internal
        view
        returns (IComputeEscrow.SessionClose memory row)
    {
        row = IComputeEscrow.SessionClose(sessionId, cost, 3, ROOT, 0, 0);
        _signCost(key, row, escrow.session(sessionId).providerId, address(escrow));
    }

    function _close(uint64 sessionId, uint48 cost) internal {
        IComputeEscrow.SessionClose memory row = _closeRow(sessionId, cost);
        vm.prank(stranger);
        escrow.closeSession(row);
    }

    function _withdraw(uint64 amount) internal {
        vm.prank(providerOwner);
        escrow.withdraw(providerId, providerOwner, amount);
    }

    // ------------------------------------------------------------- signatures

    function _domain(uint256 chainId, address verifyingContract) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("ComputeEscrow"),
                keccak256("1"),
                chainId,
                verifyingContract
            )
        );
    }

    function _digest(address verifyingContract, bytes32 structHash) internal view returns (bytes32) {
        return keccak256(abi.encodePacked("\x19\x01", _domain(block.chainid, verifyingContract), structHash));
    }

    function _hashOpen(IComputeEscrow.SessionRequest memory request, address who, uint32 nonce)
        internal
        pure
        returns (bytes32)
    {
        bytes32 typeHash = keccak256(
            "OpenSession(uint32 escrowId,bytes32 agent,uint32 nonce,uint32 providerId,bytes32 contentHash,bytes32 meter,uint48 limit,uint40 deadline)"
        );
        bytes memory head = abi.encode(typeHash, request.escrowId, who, nonce, request.providerId);
        bytes memory tail = abi.encode(request.contentHash, request.meter, request.limit, request.deadline);
        return keccak256(bytes.concat(head, tail));
    }

    function _hashCost(IComputeEscrow.SessionClose memory row, uint32 provider) internal pure returns (bytes32) {
        bytes32 typeHash = keccak256(
            "SessionCost(uint64 sessionId,uint32 providerId,uint48 cost,uint32 receiptCount,bytes32 receiptsRoot)"
        );
        return keccak256(abi.encode(typeHash, row.sessionId, provider, row.cost, row.receiptCount, row.receiptsRoot));
    }

    function _signOpen(uint256 key, IComputeEscrow.SessionRequest memory request, address who, uint32 nonce)
        internal
        view
        returns (bytes memory)
    {
        return _sign(key, _digest(address(escrow), _hashOpen(request, who, nonce)));
    }

    /// @dev Writes the compact signature into the row.
    function _signCost(uint256 key, IComputeEscrow.SessionClose memory row, uint32 provider, address where)
        internal
        view
    {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, _digest(where, _hashCost(row, provider)));
        (row.r, row.vs) = (r, bytes32(uint256(s) | (uint256(v - 27) << 255)));
    }

    function _sign(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function _authorization(uint56 amount) internal view returns (IComputeEscrow.FundingAuthorization memory) {
        return IComputeEscrow.FundingAuthorization(amount, 0, block.timestamp + 1 hours, keccak256("salt"));
    }

    /// @dev The payer's EIP-3009 signature for `to`.
    function _sign3009(
        uint256 key,
        address payer,
        address to,
        IComputeEscrow.FundingAuthorization memory a,
        bytes32 nonce
    ) internal view returns (bytes memory) {
        bytes32 body = keccak256(
            abi.encode(RECEIVE_TYPEHASH, payer, to, uint256(a.amount), a.validAfter, a.validBefore, nonce)
        );
        return _sign(key, keccak256(abi.encodePacked("\x19\x01", USDC.DOMAIN_SEPARATOR(), body)));
    }

    // ----------------------------------------------------------------- checks

    /// @dev What the escrow contract owes for this escrow.
    function _assertMoney(uint32 escrowId, uint256 unreserved, uint256 reserved) internal view {
        IComputeEscrow.Escrow memory e = escrow.escrow(escrowId);
        assertEq(e.unreserved, unreserved, "unreserved");
        assertEq(e.reserved, reserved, "reserved");
    }

    function _state(uint64 sessionId) internal view returns (IComputeEscrow.SessionState) {
        return escrow.session(sessionId).state;
    }

    function _assertState(uint64 sessionId, IComputeEscrow.SessionState state) internal view {
        assertEq(uint8(_state(sessionId)), uint8(state), "state");
    }
}
