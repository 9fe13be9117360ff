// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeEscrow} from "../../../src/interfaces/IComputeEscrow.sol";
import {IProviderRegistry} from "../../../src/interfaces/IProviderRegistry.sol";
import {MarketTest} from "../utils/MarketTest.sol";

contract UpdateTest is MarketTest {
    function test_RevertWhen_TheProviderIsUnknown() external {
        vm.expectRevert(abi.encodeWithSelector(IProviderRegistry.ProviderRegistry_UnknownProvider.selector, 9));
        registry.update(9, _content(1));
        vm.expectRevert(abi.encodeWithSelector(IProviderRegistry.ProviderRegistry_UnknownProvider.selector, 0));
        registry.update(0, _content(1));
    }

    function testFuzz_RevertWhen_TheCallerIsNotItsOwner(address caller, bool other) external {
        if (other) caller = otherProviderOwner;
        vm.assume(caller != providerOwner);
        vm.expectRevert(
            abi.encodeWithSelector(IProviderRegistry.ProviderRegistry_NotOwner.selector, providerId, caller)
        );
        vm.prank(caller);
        registry.update(providerId, _content(1));
        (, bytes32 hash) = registry.current(providerId);
        assertEq(hash, contentHash);
    }

    function test_RevertWhen_ItIsRetired() external {
        vm.startPrank(providerOwner);
        registry.retire(providerId);
        vm.expectRevert(abi.encodeWithSelector(IProviderRegistry.ProviderRegistry_Retired.selector, providerId));
        registry.update(providerId, _content(1));
        vm.stopPrank();
        (, bytes32 hash) = registry.current(providerId);
        assertEq(hash, bytes32(0));
    }

    function test_RevertWhen_TheContentIsOutOfBounds() external {
        IProviderRegistry.Content memory content = _content(1);
        content.rateLimit = 0;
        vm.startPrank(providerOwner);
        vm.expectRevert(abi.encodeWithSelector(IProviderRegistry.ProviderRegistry_InvalidContent.selector, "rateLimit"));
        registry.update(providerId, content);
        vm.stopPrank();
    }

    function testFuzz_WhenTheOwnerUpdates(uint48 price) external {
        IProviderRegistry.Content memory content = _content(uint48(bound(price, 0, 1e12)));
        bytes32 hash = registry.hashContent(content);
        vm.expectEmit(address(registry));
        emit IProviderRegistry.ProviderUpdated(providerId, providerOwner, 2, hash, content);
        vm.prank(providerOwner);
        (uint32 version, bytes32 got) = registry.update(providerId, content);
        assertEq(version, 2);
        assertEq(got, hash);
        (uint32 present, bytes32 presentHash) = registry.current(providerId);
        assertEq(present, 2);
        assertEq(presentHash, hash);
        (, bytes32 others) = registry.current(otherProviderId);
        assertEq(others, otherContentHash);
    }

    /// I-11: the session was opened at version 1 and stays there, is closed and paid as ever.
    function testFuzz_GivenAnOpenSession(uint48 price, bool retire) external {
        uint64 sessionId = _open(_create(), 5 * USD);
        IComputeEscrow.Session memory before = escrow.session(sessionId);
        vm.startPrank(providerOwner);
        registry.update(providerId, _content(uint48(bound(price, 0, 1e12))));
        if (retire) registry.retire(providerId);
        vm.stopPrank();
        assertEq(abi.encode(escrow.session(sessionId)), abi.encode(before));
        assertEq(before.providerVersion, 1);
        _close(sessionId, 2 * USD);
        assertEq(escrow.earnings(providerId), 2 * USD);
    }
}
