// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title ProviderRegistry: who sells inference, where, and at what prices
/// @notice Anyone registers an endpoint with its models and prices, updates it and retires it. The content is in events, its
/// hash in state: whoever deals with a provider names the hash it has read, so a price that changes in between is never paid
/// by surprise (I-11). There is no admin, no pause and no upgrade (I-9).
/// Docs: docs/marketplace.md; why it is so: docs/adr/014-marketplace.md.
/// @dev Prices are micro-USDC per 1,000 tokens. `providerId` counts from 1 and is never given twice.
interface IProviderRegistry {
    // ------------------------------------------------------------------ types

    /// @notice Who runs the machines.
    enum ProviderType {
        SelfHosted,
        Cloud,
        Decentralized
    }

    /// @notice A model and what it costs.
    struct Model {
        /// Identifier, 1 to 128 bytes; each once.
        string name;
        /// Micro-USDC per 1,000 input tokens.
        uint48 inputPrice;
        /// Micro-USDC per 1,000 output tokens.
        uint48 outputPrice;
        /// Most tokens of input and output together; at least 1.
        uint32 maxContext;
    }

    /// @notice What a provider publishes. Whether the endpoint answers, or is a public https address, is for callers to check.
    struct Content {
        /// URL of an OpenAI-compatible server, 1 to 256 bytes.
        string endpoint;
        ProviderType providerType;
        /// Requests a minute; at least 1.
        uint32 rateLimit;
        /// Least charge for an inference, micro-USDC.
        uint48 minimumCharge;
        /// Up to 16 capabilities of 1 to 64 bytes.
        string[] features;
        /// 1 to 32.
        Model[] models;
    }

    /// @notice What is stored about a provider.
    struct Provider {
        /// May update, retire, and withdraw what the provider earns. Never changes.
        address owner;
        /// Counts contents from 1; the number of a content is never given to another.
        uint32 version;
        bool retired;
        /// Hash of the present content; zero once retired.
        bytes32 contentHash;
    }

    // ----------------------------------------------------------------- events

    /// @notice A provider came to be, at version 1.
    event ProviderRegistered(
        uint32 indexed providerId, address indexed owner, uint32 version, bytes32 contentHash, Content content
    );
    /// @notice From now on sessions are opened at this content. Sessions already open keep theirs (I-11).
    event ProviderUpdated(
        uint32 indexed providerId, address indexed owner, uint32 version, bytes32 contentHash, Content content
    );
    /// @notice No session is opened with it any more. Open ones end as usual, earnings stay its owner's.
    event ProviderRetired(uint32 indexed providerId, address indexed owner, uint32 version);

    // ----------------------------------------------------------------- errors

    /// @notice No provider has this id.
    error ProviderRegistry_UnknownProvider(uint32 providerId);
    /// @notice Only the provider's owner may do this.
    error ProviderRegistry_NotOwner(uint32 providerId, address caller);
    /// @notice Retired is for good; register again.
    error ProviderRegistry_Retired(uint32 providerId);
    /// @notice `field` is what is empty, too long, too many or there twice: endpoint, rateLimit, features, models, models.name or
    /// models.maxContext.
    error ProviderRegistry_InvalidContent(string field);

    // ------------------------------------------------------------------ verbs

    /// @notice Registers a provider owned by the caller.
    /// @dev Emits `ProviderRegistered`. Reverts: `InvalidContent`.
    function register(Content calldata content) external returns (uint32 providerId, bytes32 contentHash);

    /// @notice Replaces the content of the caller's provider, as its next version.
    /// @dev Emits `ProviderUpdated`. Reverts: `UnknownProvider`, `NotOwner`, `Retired`, `InvalidContent`.
    function update(uint32 providerId, Content calldata content) external returns (uint32 version, bytes32 contentHash);

    /// @notice Takes the caller's provider out of the market, for good.
    /// @dev Emits `ProviderRetired`. Reverts: `UnknownProvider`, `NotOwner`, `Retired`.
    function retire(uint32 providerId) external;

    // ------------------------------------------------------------------ views

    /// @notice Providers have the ids 1 to this.
    function providerCount() external view returns (uint32);
    /// @notice A provider; all zero when there is none of this id.
    function provider(uint32 providerId) external view returns (Provider memory);
    /// @notice Version and hash of the content that sessions are opened at. The hash is zero when the provider is unknown or
    /// retired: nothing can be opened then.
    function current(uint32 providerId) external view returns (uint32 version, bytes32 contentHash);
    /// @notice Owner of a provider, retired or not; zero when unknown.
    function providerOwner(uint32 providerId) external view returns (address);
    /// @notice Hash of this content, or `InvalidContent`. It is the EIP-712 struct hash of `ProviderContent(string endpoint,uint8 providerType,uint32 rateLimit,uint48
    /// minimumCharge,string[] features,Model[] models)Model(string name,uint48 inputPrice,uint48 outputPrice,uint32 maxContext)`.
    function hashContent(Content calldata content) external pure returns (bytes32);
}
