// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

import {IComputeEscrow} from "../../../src/interfaces/IComputeEscrow.sol";
import {IProviderRegistry} from "../../../src/interfaces/IProviderRegistry.sol";
import {MarketTest} from "../utils/MarketTest.sol";

/// @notice The rules of the market as numbers (tests/vectors/market.json), the same that the Rust crates and the Solana programs
/// check: here through the contracts.
/// @dev Structs stand in the alphabetical order in which vm.parseJson encodes them.
contract MarketVectorsTest is MarketTest {
    struct DomainVector {
        uint256 chainId;
        address contract_;
        bytes32 separator;
    }

    struct NonceVector {
        address creator;
        uint256 escrowId;
        bytes32 nonce;
        bytes32 salt;
    }

    struct OpenVector {
        bytes32 agent;
        uint256 chainId;
        bytes32 contentHash;
        uint256 deadline;
        bytes32 digest;
        uint256 escrowId;
        uint256 limit;
        bytes32 meter;
        uint256 nonce;
        uint256 providerId;
        bytes signature;
        bytes32 structHash;
    }

    struct CostVector {
        uint256 chainId;
        uint256 cost;
        bytes32 digest;
        uint256 providerId;
        bytes32 r;
        uint256 receiptCount;
        bytes32 receiptsRoot;
        uint256 sessionId;
        bytes signature;
        bytes32 structHash;
        bytes32 vs;
    }

    struct ReceiptVector {
        uint256 chainId;
        uint256 cost;
        bytes32 digest;
        bytes32 executionId;
        uint256 inputTokens;
        uint256 issuedAt;
        uint256 latencyMs;
        bytes32 modelHash;
        bytes32 outputHash;
        uint256 outputTokens;
        bytes32 requestHash;
        uint256 sequence;
        uint256 sessionId;
        bytes signature;
        bytes32 structHash;
    }

    struct TermsVector {
        bytes32[] agents;
        bytes32 createNonce;
        bytes32 creator;
        address depositAddress;
        uint256 expiry;
        bytes32 meter;
        bool openToAll;
        bytes32 salt;
        uint256 sessionLimit;
        bytes32 structHash;
    }

    struct Step {
        string action;
        uint256 agent;
        uint256 amount;
        uint256 deadline;
        uint256 earningsAfter;
        string error;
        uint256 nonce;
        uint256 nonceAfter;
        uint256 paid;
        uint256 reservedAfter;
        uint256 session;
        uint256 stateAfter;
        uint256 uncovered;
        uint256 unreservedAfter;
    }

    string private json;
    address[3] private agents;
    uint256[3] private agentKeys;

    function setUp() public override {
        super.setUp();
        json = vm.readFile("tests/vectors/market.json");
        for (uint256 i; i < 3; ++i) {
            (agents[i], agentKeys[i]) = makeAddrAndKey(string.concat("life agent ", vm.toString(i)));
        }
    }

    function _address(bytes32 word) private pure returns (address) {
        assertEq(uint256(word) >> 160, 0);
        return address(uint160(uint256(word)));
    }

    /// @dev ComputeEscrow at the address of the vectors, on this chain, with an empty ledger.
    function _deployAt(uint256 chainId) private {
        address where = vm.parseJsonAddress(json, ".evm.contract");
        vm.chainId(chainId);
        deployCodeTo("ComputeEscrow.sol:ComputeEscrow", abi.encode(USDC, registry), where);
        escrow = IComputeEscrow(where);
        vm.prank(creator);
        USDC.approve(where, type(uint256).max);
    }

    // ---------------------------------------------------------------- content

    function test_Contents() external view {
        uint256 count;
        for (string memory at_ = ".contents[0]"; vm.keyExistsJson(json, at_);) {
            assertEq(registry.hashContent(_contentAt(at_)), vm.parseJsonBytes32(json, string.concat(at_, ".hash")));
            at_ = string.concat(".contents[", vm.toString(++count), "]");
        }
        assertGt(count, 2);
    }

    function _contentAt(string memory at_) private view returns (IProviderRegistry.Content memory content) {
        content.endpoint = vm.parseJsonString(json, string.concat(at_, ".endpoint"));
        content.providerType =
            IProviderRegistry.ProviderType(vm.parseJsonUint(json, string.concat(at_, ".providerType")));
        content.rateLimit = uint32(vm.parseJsonUint(json, string.concat(at_, ".rateLimit")));
        content.minimumCharge = uint48(vm.parseJsonUint(json, string.concat(at_, ".minimumCharge")));
        content.features = vm.parseJsonStringArray(json, string.concat(at_, ".features"));
        uint256 count = vm.parseJsonUint(json, string.concat(at_, ".modelCount"));
        content.models = new IProviderRegistry.Model[](count);
        for (uint256 i; i < count; ++i) {
            string memory model = string.concat(at_, ".models[", vm.toString(i), "]");
            content.models[i] = IProviderRegistry.Model(
                vm.parseJsonString(json, string.concat(model, ".name")),
                uint48(vm.parseJsonUint(json, string.concat(model, ".inputPrice"))),
                uint48(vm.parseJsonUint(json, string.concat(model, ".outputPrice"))),
                uint32(vm.parseJsonUint(json, string.concat(model, ".maxContext")))
            );
        }
    }

    // ------------------------------------------------------------- typed data

    function test_Domains() external view {
        DomainVector[] memory all = abi.decode(vm.parseJson(json, ".evm.domains"), (DomainVector[]));
        assertGt(all.length, 2);
        for (uint256 i; i < all.length; ++i) {
            assertEq(_domain(all[i].chainId, all[i].contract_), all[i].separator);
        }
    }

    /// @dev The contract itself accepts what it can: escrow 1 of a new ledger, first nonce.
    function test_OpenSessions() external {
        address signer = vm.parseJsonAddress(json, ".evm.signer");
        OpenVector[] memory all = abi.decode(vm.parseJson(json, ".evm.openSessions"), (OpenVector[]));
        assertGt(all.length, 2);
        uint256 accepted;
        uint256 clean = vm.snapshotState();
        for (uint256 i; i < all.length; ++i) {
            vm.revertToState(clean);
            OpenVector memory v = all[i];
            _deployAt(v.chainId);
            IComputeEscrow.SessionRequest memory request = IComputeEscrow.SessionRequest(
                uint32(v.escrowId),
                uint32(v.providerId),
                v.contentHash,
                _address(v.meter),
                uint48(v.limit),
                uint40(v.deadline)
            );
            assertEq(_address(v.agent), signer);
            assertEq(_hashOpen(request, signer, uint32(v.nonce)), v.structHash);
            assertEq(_digest(address(escrow), v.structHash), v.digest);
            assertEq(ECDSA.recover(v.digest, v.signature), signer);
            if (v.escrowId != 1) continue;
            IComputeEscrow.EscrowTerms memory terms = _openTerms();
            terms.meter = request.meter;
            _create(terms, 100 * USD);
            vm.mockCall(
                address(registry),
                abi.encodeCall(IProviderRegistry.current, (request.providerId)),
                abi.encode(uint32(1), v.contentHash)
            );
            escrow.openSessionWithSignature(request, signer, v.signature);
            vm.clearMockedCalls();
            accepted++;
        }
        assertEq(accepted, 2);
    }

    /// @dev The contract itself accepts those of the first session.
    function test_SessionCosts() external {
        address signer = vm.parseJsonAddress(json, ".evm.signer");
        CostVector[] memory all = abi.decode(vm.parseJson(json, ".evm.sessionCosts"), (CostVector[]));
        assertGt(all.length, 2);
        uint256 accepted;
        uint256 clean = vm.snapshotState();
        for (uint256 i; i < all.length; ++i) {
            vm.revertToState(clean);
            CostVector memory v = all[i];
            _deployAt(v.chainId);
            IComputeEscrow.SessionClose memory row = IComputeEscrow.SessionClose(
                uint64(v.sessionId), uint48(v.cost), uint32(v.receiptCount), v.receiptsRoot, v.r, v.vs
            );
            assertEq(_hashCost(row, uint32(v.providerId)), v.structHash);
            assertEq(_digest(address(escrow), v.structHash), v.digest);
            assertEq(ECDSA.recover(v.digest, v.signature), signer);
            if (v.sessionId != (1 << 32) + 1) continue;
            IComputeEscrow.SessionRequest memory request = _request(_create(), SESSION_LIMIT);
            request.meter = signer;
            assertEq(_open(request), row.sessionId);
            escrow.closeSession(row);
            assertEq(escrow.earnings(providerId), v.cost);
            accepted++;
        }
        assertEq(accepted, 4);
    }

    function test_SessionReceipts() external {
        address signer = vm.parseJsonAddress(json, ".evm.signer");
        ReceiptVector[] memory all = abi.decode(vm.parseJson(json, ".evm.sessionReceipts"), (ReceiptVector[]));
        assertGt(all.length, 2);
        bytes32 typeHash = keccak256(
            "SessionReceipt(uint64 sessionId,uint32 sequence,bytes32 executionId,bytes32 modelHash,bytes32 requestHash,bytes32 outputHash,uint32 inputTokens,uint32 outputTokens,uint48 cost,uint32 latencyMs,uint64 issuedAt)"
        );
        for (uint256 i; i < all.length; ++i) {
            ReceiptVector memory v = all[i];
            _deployAt(v.chainId);
            bytes memory head = abi.encode(typeHash, v.sessionId, v.sequence, v.executionId, v.modelHash);
            bytes memory middle = abi.encode(v.requestHash, v.outputHash, v.inputTokens, v.outputTokens);
            bytes memory tail = abi.encode(v.cost, v.latencyMs, v.issuedAt);
            assertEq(keccak256(bytes.concat(head, middle, tail)), v.structHash);
            assertEq(_digest(address(escrow), v.structHash), v.digest);
            assertEq(ECDSA.recover(v.digest, v.signature), signer);
        }
    }

    // ------------------------------------------------------------------ terms

    function test_Terms() external {
        TermsVector[] memory all = abi.decode(vm.parseJson(json, ".evm.terms"), (TermsVector[]));
        assertGt(all.length, 2);
        _deployAt(8453);
        _replaceVault(vm.parseJsonAddress(json, ".evm.vaultImplementation"));
        for (uint256 i; i < all.length; ++i) {
            TermsVector memory v = all[i];
            IComputeEscrow.EscrowTerms memory terms = IComputeEscrow.EscrowTerms({
                creator: _address(v.creator),
                expiry: uint40(v.expiry),
                sessionLimit: uint48(v.sessionLimit),
                meter: _address(v.meter),
                openToAll: v.openToAll,
                agents: new address[](v.agents.length)
            });
            for (uint256 j; j < v.agents.length; ++j) {
                terms.agents[j] = _address(v.agents[j]);
            }
            assertEq(escrow.hashTerms(terms), v.structHash);
            assertEq(escrow.createNonce(terms, v.salt), v.createNonce);
            assertEq(escrow.depositAddress(terms), v.depositAddress);
        }
    }

    function test_FundNonces() external view {
        NonceVector[] memory all = abi.decode(vm.parseJson(json, ".evm.fundNonces"), (NonceVector[]));
        assertGt(all.length, 1);
        for (uint256 i; i < all.length; ++i) {
            assertEq(escrow.fundNonce(uint32(all[i].escrowId), all[i].creator, all[i].salt), all[i].nonce);
        }
    }

    /// @dev Puts another address where the constructor put an immutable.
    function _replaceVault(address to) private {
        bytes memory code = address(escrow).code;
        bytes20 wanted = bytes20(escrow.vaultImplementation());
        for (uint256 i; i + 20 <= code.length; ++i) {
            bytes20 here;
            assembly ("memory-safe") {
                here := and(mload(add(add(code, 0x20), i)), not(sub(shl(96, 1), 1)))
            }
            if (here != wanted) continue;
            for (uint256 j; j < 20; ++j) {
                code[i + j] = bytes20(to)[j];
            }
        }
        vm.etch(address(escrow), code);
        assertEq(escrow.vaultImplementation(), to);
    }

    // ------------------------------------------------------------------ lives

    function test_Lives() external {
        uint256 count;
        for (string memory at_ = ".lives[0]"; vm.keyExistsJson(json, at_);) {
            _live(at_);
            at_ = string.concat(".lives[", vm.toString(++count), "]");
        }
        assertGt(count, 8);
    }

    function _live(string memory at_) private {
        string memory name = vm.parseJsonString(json, string.concat(at_, ".name"));
        Step[] memory steps = abi.decode(vm.parseJson(json, string.concat(at_, ".steps")), (Step[]));
        assertGt(steps.length, 0);
        vm.warp(vm.parseJsonUint(json, string.concat(at_, ".start")));
        IComputeEscrow.EscrowTerms memory terms = IComputeEscrow.EscrowTerms({
            creator: creator,
            expiry: uint40(vm.parseJsonUint(json, string.concat(at_, ".expiry"))),
            sessionLimit: uint48(vm.parseJsonUint(json, string.concat(at_, ".sessionLimit"))),
            meter: meter,
            openToAll: vm.parseJsonBool(json, string.concat(at_, ".openToAll")),
            agents: new address[](0)
        });
        if (!terms.openToAll) {
            terms.agents = new address[](1);
            terms.agents[0] = agents[0];
        }
        (providerId, contentHash) = _register(providerOwner, 100); // with nothing earned yet
        uint32 id = escrow.escrowCount() + 1;
        for (uint256 i; i < steps.length; ++i) {
            Step memory s = steps[i];
            string memory where = string.concat(name, ", step ", vm.toString(i), " ", s.action);
            uint256 paid = USDC.balanceOf(creator) + USDC.balanceOf(providerOwner);
            if (bytes(s.error).length != 0) {
                vm.expectPartialRevert(_selector(s.error));
            }
            _do(id, terms, s);
            IComputeEscrow.Escrow memory e = escrow.escrow(id);
            assertEq(e.unreserved, s.unreservedAfter, where);
            assertEq(e.reserved, s.reservedAfter, where);
            assertEq(escrow.earnings(providerId), s.earningsAfter, where);
            (, uint32 nonce) = escrow.agentOf(id, agents[s.agent]);
            assertEq(nonce, s.nonceAfter, where);
            uint64 session = (uint64(id) << 32) | uint64(s.session == 0 ? e.sessionCount : s.session);
            assertEq(uint8(_state(session)), s.stateAfter, where);
            if (s.paid != 0) {
                assertEq(USDC.balanceOf(creator) + USDC.balanceOf(providerOwner), paid + s.paid, where);
            }
        }
    }

    function _do(uint32 id, IComputeEscrow.EscrowTerms memory terms, Step memory s) private {
        bytes32 action = keccak256(bytes(s.action));
        uint64 session = (uint64(id) << 32) | uint64(s.session);
        address who = agents[s.agent];
        if (action == keccak256("wait")) {
            vm.warp(block.timestamp + s.amount);
        } else if (action == keccak256("open") || action == keccak256("openSigned")) {
            IComputeEscrow.SessionRequest memory request =
                IComputeEscrow.SessionRequest(id, providerId, contentHash, meter, uint48(s.amount), uint40(s.deadline));
            if (action == keccak256("open")) {
                vm.prank(who);
                escrow.openSession(request);
            } else {
                bytes memory signature = _signOpen(agentKeys[s.agent], request, who, uint32(s.nonce));
                escrow.openSessionWithSignature(request, who, signature);
            }
        } else if (action == keccak256("close")) {
            IComputeEscrow.SessionClose memory row =
                IComputeEscrow.SessionClose(session, uint48(s.amount), 1, ROOT, 0, 0);
            _signCost(meterKey, row, providerId, address(escrow));
            escrow.closeSession(row);
        } else if (action == keccak256("lapse")) {
            escrow.lapseSession(session);
        } else if (action == keccak256("expire")) {
            escrow.expire(id);
        } else if (action == keccak256("withdraw")) {
            _withdraw(uint64(s.amount));
        } else {
            vm.startPrank(creator);
            if (action == keccak256("create")) assertEq(escrow.create(terms, uint56(s.amount)), id);
            else if (action == keccak256("fund")) escrow.fund(id, uint56(s.amount));
            else if (action == keccak256("refund")) escrow.refund(id, uint56(s.amount));
            else if (action == keccak256("addAgent")) escrow.addAgent(id, who);
            else if (action == keccak256("removeAgent")) escrow.removeAgent(id, who);
            else revert(s.action);
            vm.stopPrank();
        }
    }

    function _selector(string memory error) private pure returns (bytes4) {
        bytes32 name = keccak256(bytes(error));
        if (name == keccak256("NothingToFund")) return IComputeEscrow.ComputeEscrow_NothingToFund.selector;
        if (name == keccak256("Expired")) return IComputeEscrow.ComputeEscrow_Expired.selector;
        if (name == keccak256("InvalidAgent")) return IComputeEscrow.ComputeEscrow_InvalidAgent.selector;
        if (name == keccak256("AgentUnchanged")) return IComputeEscrow.ComputeEscrow_AgentUnchanged.selector;
        if (name == keccak256("NotAgent")) return IComputeEscrow.ComputeEscrow_NotAgent.selector;
        if (name == keccak256("InvalidLimit")) return IComputeEscrow.ComputeEscrow_InvalidLimit.selector;
        if (name == keccak256("InvalidDeadline")) return IComputeEscrow.ComputeEscrow_InvalidDeadline.selector;
        if (name == keccak256("InsufficientUnreserved")) {
            return IComputeEscrow.ComputeEscrow_InsufficientUnreserved.selector;
        }
        if (name == keccak256("InvalidAgentSignature")) {
            return IComputeEscrow.ComputeEscrow_InvalidAgentSignature.selector;
        }
        if (name == keccak256("SessionNotOpen")) return IComputeEscrow.ComputeEscrow_SessionNotOpen.selector;
        if (name == keccak256("DeadlinePassed")) return IComputeEscrow.ComputeEscrow_DeadlinePassed.selector;
        if (name == keccak256("DeadlineNotPassed")) return IComputeEscrow.ComputeEscrow_DeadlineNotPassed.selector;
        if (name == keccak256("NothingToRefund")) return IComputeEscrow.ComputeEscrow_NothingToRefund.selector;
        if (name == keccak256("EscrowClosed")) return IComputeEscrow.ComputeEscrow_EscrowClosed.selector;
        if (name == keccak256("NotExpired")) return IComputeEscrow.ComputeEscrow_NotExpired.selector;
        if (name == keccak256("InsufficientEarnings")) {
            return IComputeEscrow.ComputeEscrow_InsufficientEarnings.selector;
        }
        revert(error);
    }
}
