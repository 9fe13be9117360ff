// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeEscrow} from "../../../src/interfaces/IComputeEscrow.sol";
import {IProviderRegistry} from "../../../src/interfaces/IProviderRegistry.sol";
import {MarketActors} from "./MarketActors.sol";
import {EscrowModel, ProviderModel, SessionModel} from "./MarketModel.sol";

/// @notice Calls every verb of the market with arguments that must succeed, and keeps the model beside it.
/// @dev `fail_on_revert` is on: a call that reverts is a broken promise, not noise.
contract MarketHandler is MarketActors {
    uint256 private constant MAX_AMOUNT = 100e6;
    uint256 private constant MAX_ESCROWS = 12;
    uint256 private constant MAX_SESSIONS = 60;

    uint8 private constant OPEN = uint8(IComputeEscrow.SessionState.Open);
    uint8 private constant CLOSED = uint8(IComputeEscrow.SessionState.Closed);
    uint8 private constant LAPSED = uint8(IComputeEscrow.SessionState.Lapsed);

    address[] public creators;
    address[] public agents;
    address[] public meters;
    uint64[] public sessions;
    uint32 public escrows;
    uint32 public providers;
    uint256 public donated;
    mapping(uint32 => EscrowModel) private _escrows;
    mapping(uint64 => SessionModel) private _sessions;
    mapping(uint32 => ProviderModel) private _providers;
    mapping(uint32 escrowId => mapping(address => bool)) private _allowed;
    mapping(uint32 escrowId => mapping(address => uint32)) private _nonces;
    mapping(address vault => uint32) private _fed;
    uint256 private _salt;
    mapping(bytes32 verb => uint256) public calls;

    constructor(IProviderRegistry registry, IComputeEscrow escrow) MarketActors(registry, escrow) {
        for (uint256 i; i < 3; ++i) {
            creators.push(_actor(string.concat("creator ", vm.toString(i))));
            agents.push(_actor(string.concat("agent ", vm.toString(i))));
            meters.push(_actor(string.concat("meter ", vm.toString(i))));
            vm.prank(creators[i]);
            USDC.approve(address(escrow), type(uint256).max);
            _register(i);
        }
    }

    modifier counted(bytes32 verb) {
        calls[verb]++;
        _;
    }

    // --------------------------------------------------------------- registry

    function register(uint256 seed) external counted("register") {
        if (providers < 6) _register(seed);
    }

    function update(uint256 seed, uint48 price) external counted("update") {
        uint32 id = _provider(seed);
        ProviderModel storage p = _providers[id];
        if (p.retired) return;
        vm.prank(p.owner);
        (uint32 version, bytes32 hash) = REGISTRY.update(id, _content(price));
        assertEq(version, ++p.version);
        p.hash = hash;
    }

    function retire(uint256 seed) external counted("retire") {
        uint32 id = _provider(seed);
        // Somebody must be left to deal with.
        if (id <= 2 || _providers[id].retired) return;
        _providers[id].retired = true;
        vm.prank(_providers[id].owner);
        REGISTRY.retire(id);
    }

    // ----------------------------------------------------------------- budget

    function create(uint256 seed, uint256 amount, bool gasless) external counted("create") {
        if (escrows >= MAX_ESCROWS) return;
        IComputeEscrow.EscrowTerms memory terms = _terms(seed);
        amount = bound(amount, 1, MAX_AMOUNT);
        _give(terms.creator, amount);
        uint32 id;
        if (gasless) {
            IComputeEscrow.FundingAuthorization memory a = _authorization(amount);
            id = ESCROW.createWithAuthorization(
                terms, a, _sign3009(terms.creator, a, ESCROW.createNonce(terms, a.salt))
            );
        } else {
            vm.prank(terms.creator);
            id = ESCROW.create(terms, uint56(amount));
        }
        purse[terms.creator] -= amount;
        _created(id, terms);
        _funded(id, amount);
    }

    function fund(uint256 seed, uint256 payerSeed, uint256 amount, bool gasless) external counted("fund") {
        (bool found, uint32 id) = _running(seed);
        if (!found) return;
        address payer = creators[payerSeed % creators.length];
        amount = bound(amount, 1, MAX_AMOUNT);
        _give(payer, amount);
        if (gasless) {
            IComputeEscrow.FundingAuthorization memory a = _authorization(amount);
            ESCROW.fundWithAuthorization(
                id, payer, a, _sign3009(payer, a, ESCROW.fundNonce(id, _escrows[id].creator, a.salt))
            );
        } else {
            vm.prank(payer);
            ESCROW.fund(id, uint56(amount));
        }
        purse[payer] -= amount;
        _funded(id, amount);
    }

    function sweep(uint256 seed, uint256 amount) external counted("sweep") {
        IComputeEscrow.EscrowTerms memory terms = _terms(seed);
        terms.expiry = uint40(1_800_000_000 + 90 days); // few addresses, met again
        if (block.timestamp > terms.expiry) return;
        address vault = ESCROW.depositAddress(terms);
        if (_fed[vault] == 0 && escrows >= MAX_ESCROWS) return;
        _mint(vault, bound(amount, 1, MAX_AMOUNT));
        uint256 all = USDC.balanceOf(vault); // what earlier calls left there comes along
        uint32 id = ESCROW.sweep(terms);
        if (_fed[vault] == 0) {
            _fed[vault] = id;
            _created(id, terms);
        }
        assertEq(id, _fed[vault]);
        _funded(id, all);
    }

    function recover(uint256 seed, uint256 amount, bool sweepLater) external counted("recover") {
        IComputeEscrow.EscrowTerms memory terms = _terms(seed);
        terms.expiry = uint40(1_800_000_000 + 90 days);
        address vault = ESCROW.depositAddress(terms);
        _mint(vault, bound(amount, 1, MAX_AMOUNT));
        if (sweepLater) return;
        uint256 all = USDC.balanceOf(vault);
        if (block.timestamp <= terms.expiry) vm.prank(terms.creator);
        assertEq(ESCROW.recover(terms, address(USDC)), all);
        purse[terms.creator] += all;
    }

    /// @dev A transfer to the contract itself: nobody's budget.
    function donate(uint256 amount) external counted("donate") {
        amount = bound(amount, 1, MAX_AMOUNT);
        donated += amount;
        _mint(address(ESCROW), amount);
    }

    function setAgent(uint256 seed, uint256 agentSeed) external counted("setAgent") {
        (bool found, uint32 id) = _any(seed);
        if (!found || _escrows[id].openToAll) return;
        address agent = agents[agentSeed % agents.length];
        bool add = !_allowed[id][agent];
        _allowed[id][agent] = add;
        vm.prank(_escrows[id].creator);
        if (add) ESCROW.addAgent(id, agent);
        else ESCROW.removeAgent(id, agent);
    }

    // --------------------------------------------------------------- sessions

    function openSession(uint256 seed, uint256 limit, uint256 time, bool signed) external counted("openSession") {
        (bool found, uint32 id) = _running(seed);
        if (!found || sessions.length >= MAX_SESSIONS) return;
        IComputeEscrow.SessionRequest memory request = _request(id, seed / 7, limit, time);
        if (request.limit == 0) return;
        address agent = agents[seed % agents.length];
        bool allowed = _escrows[id].openToAll || _allowed[id][agent];
        if (!allowed) {
            vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_NotAgent.selector, id, agent));
            vm.prank(agent);
            ESCROW.openSession(request);
            return;
        }
        uint64 session;
        if (signed) {
            bytes memory signature = _signOpen(request, agent, _nonces[id][agent]++);
            session = ESCROW.openSessionWithSignature(request, agent, signature);
        } else {
            vm.prank(agent);
            session = ESCROW.openSession(request);
        }
        _opened(session, request, agent);
    }

    /// @dev With a limit of zero when nothing can be reserved.
    function _request(uint32 id, uint256 seed, uint256 limit, uint256 time)
        private
        view
        returns (IComputeEscrow.SessionRequest memory request)
    {
        EscrowModel storage e = _escrows[id];
        request.escrowId = id;
        request.providerId = _provider(seed);
        if (_providers[request.providerId].retired) request.providerId = 1;
        request.contentHash = _providers[request.providerId].hash;
        request.meter = e.meter != address(0) ? e.meter : meters[(seed / 7) % meters.length];
        uint256 most = e.unreserved < e.sessionLimit ? e.unreserved : e.sessionLimit;
        if (most != 0) request.limit = uint48(bound(limit, 1, most));
        uint256 latest = block.timestamp + 30 days < e.expiry ? block.timestamp + 30 days : e.expiry;
        request.deadline = uint40(bound(time, block.timestamp, latest));
    }

    struct RowSeed {
        uint256 session;
        uint48 cost;
        uint8 kind;
    }

    /// @dev Any rows (I-6): open, over, late, never opened, signed by another, beyond the limit.
    function closeSessions(RowSeed[6] memory seeds, uint256 count) external counted("closeSessions") {
        IComputeEscrow.SessionClose[] memory rows = new IComputeEscrow.SessionClose[](bound(count, 0, seeds.length));
        uint256 expected;
        for (uint256 i; i < rows.length; ++i) {
            (IComputeEscrow.SessionClose memory row, bool good) = _row(seeds[i]);
            rows[i] = row;
            if (good) {
                expected++;
                _closed(row);
            }
        }
        assertEq(ESCROW.closeSessions(rows), expected);
    }

    function closeSession(RowSeed memory seed) external counted("closeSession") {
        (IComputeEscrow.SessionClose memory row, bool good) = _row(seed);
        if (good) _closed(row);
        else vm.expectRevert();
        ESCROW.closeSession(row);
    }

    function lapseSessions(uint256[4] memory seeds) external counted("lapseSessions") {
        uint64[] memory ids = new uint64[](seeds.length);
        uint256 expected;
        for (uint256 i; i < ids.length; ++i) {
            ids[i] = sessions.length == 0 ? uint64(seeds[i]) : sessions[seeds[i] % sessions.length];
            if (!_lapsable(ids[i])) continue;
            expected++;
            _lapsed(ids[i]);
        }
        assertEq(ESCROW.lapseSessions(ids), expected);
    }

    function lapseSession(uint256 seed) external counted("lapseSession") {
        if (sessions.length == 0) return;
        uint64 id = sessions[seed % sessions.length];
        if (_lapsable(id)) _lapsed(id);
        else vm.expectRevert();
        ESCROW.lapseSession(id);
    }

    // ------------------------------------------------------------------- exit

    function refund(uint256 seed, uint56 amount) external counted("refund") {
        (bool found, uint32 id) = _any(seed);
        if (!found || _escrows[id].unreserved == 0) return;
        EscrowModel storage e = _escrows[id];
        if (amount == 0) amount = type(uint56).max;
        uint256 paid = amount < e.unreserved ? amount : e.unreserved;
        vm.prank(e.creator);
        assertEq(ESCROW.refund(id, amount), paid);
        e.unreserved -= paid;
        _returned(e, paid);
    }

    /// @dev I-4 both ways: not a second too early, and not a second later than promised.
    function expire(uint256 seed, bool force) external counted("expire") {
        (bool found, uint32 id) = _any(seed);
        if (!found || _escrows[id].closed) return;
        EscrowModel storage e = _escrows[id];
        if (block.timestamp <= e.expiry) {
            vm.expectRevert(abi.encodeWithSelector(IComputeEscrow.ComputeEscrow_NotExpired.selector, id, e.expiry));
            ESCROW.expire(id);
            if (!force || e.expiry > block.timestamp + 10 days) return;
            vm.warp(e.expiry + 1);
        }
        exit(id);
    }

    function withdraw(uint256 seed, uint256 amount) external counted("withdraw") {
        uint32 id = _provider(seed);
        ProviderModel storage p = _providers[id];
        amount = bound(amount, 0, p.earned - p.withdrawn);
        p.withdrawn += amount;
        vm.prank(p.owner);
        ESCROW.withdraw(id, p.owner, uint64(amount));
    }

    function wait(uint256 time) external counted("wait") {
        vm.warp(block.timestamp + bound(time, 1, 2 days));
    }

    /// @notice Empties an escrow whose time has come; the invariant test calls it for all at the end.
    function exit(uint32 id) public {
        EscrowModel storage e = _escrows[id];
        uint256 paid = e.unreserved + e.reserved;
        assertEq(ESCROW.expire(id), paid, "everything");
        (e.unreserved, e.reserved, e.closed) = (0, 0, true);
        _returned(e, paid);
        for (uint256 i; i < sessions.length; ++i) {
            SessionModel storage s = _sessions[sessions[i]];
            if (s.escrowId == id && s.state == OPEN) s.state = LAPSED;
        }
    }

    // ------------------------------------------------------------------ views

    function sessionCount() external view returns (uint256) {
        return sessions.length;
    }

    function creatorCount() external view returns (uint256) {
        return creators.length;
    }

    function escrowModel(uint32 id) external view returns (EscrowModel memory) {
        return _escrows[id];
    }

    function sessionModel(uint64 id) external view returns (SessionModel memory) {
        return _sessions[id];
    }

    function providerModel(uint32 id) external view returns (ProviderModel memory) {
        return _providers[id];
    }

    // ------------------------------------------------------------------ model

    function _register(uint256 seed) private {
        address owner = makeAddr(string.concat("provider owner ", vm.toString(seed % 2)));
        vm.prank(owner);
        (uint32 id, bytes32 hash) = REGISTRY.register(_content(uint48(seed)));
        assertEq(id, ++providers);
        _providers[id] = ProviderModel(owner, 1, false, hash, 0, 0);
    }

    function _created(uint32 id, IComputeEscrow.EscrowTerms memory terms) private {
        assertEq(id, ++escrows);
        EscrowModel storage e = _escrows[id];
        (e.creator, e.meter, e.openToAll) = (terms.creator, terms.meter, terms.openToAll);
        (e.expiry, e.sessionLimit) = (terms.expiry, terms.sessionLimit);
        for (uint256 i; i < terms.agents.length; ++i) {
            _allowed[id][terms.agents[i]] = true;
        }
    }

    function _funded(uint32 id, uint256 amount) private {
        _escrows[id].unreserved += amount;
        _escrows[id].funded += amount;
    }

    function _returned(EscrowModel storage e, uint256 amount) private {
        e.returned += amount;
        purse[e.creator] += amount;
    }

    function _opened(uint64 session, IComputeEscrow.SessionRequest memory request, address agent) private {
        EscrowModel storage e = _escrows[request.escrowId];
        assertEq(session, (uint64(request.escrowId) << 32) | ++e.sessions, "an id is given once");
        e.unreserved -= request.limit;
        e.reserved += request.limit;
        sessions.push(session);
        SessionModel storage s = _sessions[session];
        (s.escrowId, s.providerId, s.agent, s.meter) = (request.escrowId, request.providerId, agent, request.meter);
        (s.limit, s.deadline, s.state) = (request.limit, request.deadline, OPEN);
        s.providerVersion = _providers[request.providerId].version;
    }

    function _row(RowSeed memory seed) private view returns (IComputeEscrow.SessionClose memory row, bool good) {
        bool known = sessions.length != 0 && seed.kind % 16 != 0;
        row.sessionId = known ? sessions[seed.session % sessions.length] : uint64(seed.session);
        SessionModel storage s = _sessions[row.sessionId];
        row.cost = seed.kind % 8 == 1 ? seed.cost : uint48(bound(seed.cost, 0, s.limit));
        row.receiptCount = 2;
        (bytes32 a, bytes32 b) = _leaves(row);
        row.receiptsRoot = keccak256(a < b ? abi.encode(a, b) : abi.encode(b, a));
        address signer = seed.kind % 8 == 2 ? agents[0] : s.meter;
        if (signer != address(0)) _signCost(row, s.providerId, signer);
        good = s.state == OPEN && block.timestamp <= s.deadline && signer == s.meter;
    }

    /// @dev The two receipts of a session (I-7).
    function _leaves(IComputeEscrow.SessionClose memory row) private pure returns (bytes32, bytes32) {
        return (
            keccak256(bytes.concat(keccak256(abi.encode(keccak256(abi.encode(row.sessionId, row.cost)))))),
            keccak256(abi.encode("sibling", row.sessionId))
        );
    }

    function _closed(IComputeEscrow.SessionClose memory row) private {
        SessionModel storage s = _sessions[row.sessionId];
        EscrowModel storage e = _escrows[s.escrowId];
        s.state = CLOSED;
        s.cost = row.cost < s.limit ? row.cost : s.limit;
        s.receipt = keccak256(abi.encode(row.sessionId, row.cost));
        (, s.sibling) = _leaves(row);
        e.reserved -= s.limit;
        e.unreserved += s.limit - s.cost;
        e.spent += s.cost;
        _providers[s.providerId].earned += s.cost;
    }

    function _lapsable(uint64 id) private view returns (bool) {
        return _sessions[id].state == OPEN && block.timestamp > _sessions[id].deadline;
    }

    function _lapsed(uint64 id) private {
        SessionModel storage s = _sessions[id];
        s.state = LAPSED;
        _escrows[s.escrowId].reserved -= s.limit;
        _escrows[s.escrowId].unreserved += s.limit;
    }

    // ---------------------------------------------------------------- choices

    function _content(uint48 price) private pure returns (IProviderRegistry.Content memory content) {
        content.endpoint = "https://provider.example/v1";
        content.rateLimit = 60;
        content.models = new IProviderRegistry.Model[](1);
        content.models[0] = IProviderRegistry.Model("model", price, price, 4096);
    }

    function _terms(uint256 seed) private view returns (IComputeEscrow.EscrowTerms memory terms) {
        terms.creator = creators[seed % 3];
        terms.expiry = uint40(block.timestamp + ((seed / 3) % 40) * 1 days);
        terms.sessionLimit = (seed / 120) % 2 == 0 ? 5e6 : type(uint48).max;
        terms.openToAll = (seed / 240) % 3 == 0;
        if (terms.openToAll || (seed / 720) % 2 == 0) terms.meter = meters[(seed / 1440) % 3];
        terms.agents = new address[](terms.openToAll ? 0 : (seed / 4320) % 3);
        for (uint256 i; i < terms.agents.length; ++i) {
            terms.agents[i] = agents[i];
        }
    }

    function _authorization(uint256 amount) private returns (IComputeEscrow.FundingAuthorization memory) {
        return IComputeEscrow.FundingAuthorization(uint56(amount), 0, type(uint256).max, bytes32(++_salt));
    }

    function _provider(uint256 seed) private view returns (uint32) {
        return uint32(seed % providers + 1);
    }

    function _any(uint256 seed) private view returns (bool, uint32) {
        return escrows == 0 ? (false, 0) : (true, uint32(seed % escrows + 1));
    }

    /// @dev One that has not expired.
    function _running(uint256 seed) private view returns (bool, uint32) {
        for (uint256 i; i < escrows; ++i) {
            uint32 id = uint32((seed % escrows + i) % escrows + 1);
            if (block.timestamp <= _escrows[id].expiry) return (true, id);
        }
        return (false, 0);
    }
}
