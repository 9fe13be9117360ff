// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IProviderRegistry} from "../../../src/interfaces/IProviderRegistry.sol";
import {MarketTest} from "../utils/MarketTest.sol";

contract RegisterTest is MarketTest {
    function _refused(IProviderRegistry.Content memory content, string memory field) private {
        vm.expectRevert(
            abi.encodeWithSelector(IProviderRegistry.ProviderRegistry_InvalidContent.selector, field), address(registry)
        );
        registry.register(content);
        vm.expectRevert(
            abi.encodeWithSelector(IProviderRegistry.ProviderRegistry_InvalidContent.selector, field), address(registry)
        );
        registry.hashContent(content);
    }

    function _text(uint256 length) private pure returns (string memory) {
        bytes memory text = new bytes(length);
        for (uint256 i; i < length; ++i) {
            text[i] = "a";
        }
        return string(text);
    }

    function test_RevertWhen_TheEndpointIsEmptyOrTooLong() external {
        IProviderRegistry.Content memory content = _content(100);
        content.endpoint = "";
        _refused(content, "endpoint");
        content.endpoint = _text(257);
        _refused(content, "endpoint");
        content.endpoint = _text(256);
        registry.register(content);
    }

    function test_RevertWhen_TheRateLimitIsZero() external {
        IProviderRegistry.Content memory content = _content(100);
        content.rateLimit = 0;
        _refused(content, "rateLimit");
    }

    function test_RevertWhen_FeaturesAreTooManyEmptyOrTooLong() external {
        IProviderRegistry.Content memory content = _content(100);
        content.features = new string[](17);
        _refused(content, "features");
        content.features = new string[](1);
        _refused(content, "features");
        content.features[0] = _text(65);
        _refused(content, "features");
        content.features[0] = _text(64);
        registry.register(content);
        content.features = new string[](0);
        registry.register(content);
    }

    function test_RevertWhen_ModelsAreNoneOrTooMany() external {
        IProviderRegistry.Content memory content = _content(100);
        content.models = new IProviderRegistry.Model[](0);
        _refused(content, "models");
        content.models = new IProviderRegistry.Model[](33);
        _refused(content, "models");
        content.models = new IProviderRegistry.Model[](32);
        for (uint256 i; i < 32; ++i) {
            content.models[i] = IProviderRegistry.Model(vm.toString(i), 1, 1, 1);
        }
        registry.register(content);
    }

    function test_RevertWhen_AModelHasNoNameOrTooLongAOne() external {
        IProviderRegistry.Content memory content = _content(100);
        content.models[1].name = "";
        _refused(content, "models.name");
        content.models[1].name = _text(129);
        _refused(content, "models.name");
        content.models[1].name = _text(128);
        registry.register(content);
    }

    function test_RevertWhen_AModelIsThereTwice() external {
        IProviderRegistry.Content memory content = _content(100);
        content.models[1].name = content.models[0].name;
        _refused(content, "models.name");
    }

    function test_RevertWhen_AModelHasNoContext() external {
        IProviderRegistry.Content memory content = _content(100);
        content.models[1].maxContext = 0;
        _refused(content, "models.maxContext");
    }

    function testFuzz_WhenTheContentIsWithinTheBounds(address who, uint48 price, uint48 minimum, uint32 rate) external {
        IProviderRegistry.Content memory content = _content(price / 4);
        content.minimumCharge = minimum;
        content.rateLimit = uint32(bound(rate, 1, type(uint32).max));
        bytes32 hash = registry.hashContent(content);
        vm.expectEmit(address(registry));
        emit IProviderRegistry.ProviderRegistered(3, who, 1, hash, content);
        vm.prank(who);
        (uint32 id, bytes32 got) = registry.register(content);
        assertEq(id, 3);
        assertEq(got, hash);
        assertEq(registry.providerCount(), 3);
        IProviderRegistry.Provider memory p = registry.provider(id);
        assertEq(p.owner, who);
        assertEq(p.version, 1);
        assertEq(p.contentHash, hash);
        assertFalse(p.retired);
        assertEq(registry.providerOwner(id), who);
        (uint32 version, bytes32 present) = registry.current(id);
        assertEq(version, 1);
        assertEq(present, hash);
    }

    function test_TheHashIsOfEveryField() external view {
        bytes32[] memory hashes = new bytes32[](12);
        IProviderRegistry.Content memory c = _content(100);
        hashes[0] = registry.hashContent(c);
        c.endpoint = "https://provider.example/v2";
        hashes[1] = registry.hashContent(c);
        c.providerType = IProviderRegistry.ProviderType.Decentralized;
        hashes[2] = registry.hashContent(c);
        c.rateLimit++;
        hashes[3] = registry.hashContent(c);
        c.minimumCharge++;
        hashes[4] = registry.hashContent(c);
        (c.features[0], c.features[1]) = (c.features[1], c.features[0]);
        hashes[5] = registry.hashContent(c);
        c.features = new string[](0);
        hashes[6] = registry.hashContent(c);
        c.models[0].name = "other";
        hashes[7] = registry.hashContent(c);
        c.models[0].inputPrice++;
        hashes[8] = registry.hashContent(c);
        c.models[0].outputPrice++;
        hashes[9] = registry.hashContent(c);
        c.models[0].maxContext++;
        hashes[10] = registry.hashContent(c);
        (c.models[0], c.models[1]) = (c.models[1], c.models[0]);
        hashes[11] = registry.hashContent(c);
        for (uint256 i; i < hashes.length; ++i) {
            for (uint256 j; j < i; ++j) {
                assertNotEq(hashes[i], hashes[j]);
            }
        }
    }

    function test_AnAddressMayHaveMany() external {
        (uint32 id,) = _register(providerOwner, 100);
        assertEq(registry.providerOwner(id), providerOwner);
        assertEq(registry.providerOwner(providerId), providerOwner);
        assertNotEq(id, providerId);
    }
}
