// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IProviderRegistry} from "./interfaces/IProviderRegistry.sol";
import {ProviderContent} from "./libraries/ProviderContent.sol";

/// @title ProviderRegistry
/// @notice See IProviderRegistry: everything a caller needs to know stands there.
contract ProviderRegistry is IProviderRegistry {
    /// @dev One word; the content's hash has its own, so that opening a session reads nothing else of it.
    struct Record {
        address owner;
        uint32 version;
        bool retired; // 200 bits
    }

    /// @inheritdoc IProviderRegistry
    uint32 public providerCount;
    mapping(uint32 providerId => Record) private _records;
    mapping(uint32 providerId => bytes32) private _contentHashes;

    // ------------------------------------------------------------------ verbs

    /// @inheritdoc IProviderRegistry
    function register(Content calldata content) external returns (uint32 providerId, bytes32 contentHash) {
        contentHash = ProviderContent.checkAndHash(content);
        providerId = ++providerCount;
        _records[providerId] = Record({owner: msg.sender, version: 1, retired: false});
        _contentHashes[providerId] = contentHash;
        emit ProviderRegistered(providerId, msg.sender, 1, contentHash, content);
    }

    /// @inheritdoc IProviderRegistry
    function update(uint32 providerId, Content calldata content)
        external
        returns (uint32 version, bytes32 contentHash)
    {
        Record storage record = _ownRecord(providerId);
        contentHash = ProviderContent.checkAndHash(content);
        version = ++record.version;
        _contentHashes[providerId] = contentHash;
        emit ProviderUpdated(providerId, msg.sender, version, contentHash, content);
    }

    /// @inheritdoc IProviderRegistry
    function retire(uint32 providerId) external {
        Record storage record = _ownRecord(providerId);
        record.retired = true;
        _contentHashes[providerId] = bytes32(0);
        emit ProviderRetired(providerId, msg.sender, record.version);
    }

    // ------------------------------------------------------------------ views

    /// @inheritdoc IProviderRegistry
    function provider(uint32 providerId) external view returns (Provider memory) {
        Record memory record = _records[providerId];
        return Provider(record.owner, record.version, record.retired, _contentHashes[providerId]);
    }

    /// @inheritdoc IProviderRegistry
    function current(uint32 providerId) external view returns (uint32 version, bytes32 contentHash) {
        return (_records[providerId].version, _contentHashes[providerId]);
    }

    /// @inheritdoc IProviderRegistry
    function providerOwner(uint32 providerId) external view returns (address) {
        return _records[providerId].owner;
    }

    /// @inheritdoc IProviderRegistry
    function hashContent(Content calldata content) external pure returns (bytes32) {
        return ProviderContent.checkAndHash(content);
    }

    // ----------------------------------------------------------- shared steps

    /// @dev The caller's provider, not retired.
    function _ownRecord(uint32 providerId) private view returns (Record storage record) {
        record = _records[providerId];
        if (record.owner == address(0)) revert ProviderRegistry_UnknownProvider(providerId);
        if (record.owner != msg.sender) revert ProviderRegistry_NotOwner(providerId, msg.sender);
        if (record.retired) revert ProviderRegistry_Retired(providerId);
    }
}
