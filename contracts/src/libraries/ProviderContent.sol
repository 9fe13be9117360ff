// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IProviderRegistry} from "../interfaces/IProviderRegistry.sol";

/// @title What a provider may publish, and its hash (I-11), pure
library ProviderContent {
    uint256 private constant MAX_ENDPOINT = 256;
    uint256 private constant MAX_FEATURES = 16;
    uint256 private constant MAX_FEATURE = 64;
    uint256 private constant MAX_MODELS = 32;
    uint256 private constant MAX_MODEL_NAME = 128;

    bytes32 private constant MODEL_TYPEHASH =
        keccak256("Model(string name,uint48 inputPrice,uint48 outputPrice,uint32 maxContext)");
    bytes32 private constant CONTENT_TYPEHASH = keccak256(
        "ProviderContent(string endpoint,uint8 providerType,uint32 rateLimit,uint48 minimumCharge,string[] features,Model[] models)Model(string name,uint48 inputPrice,uint48 outputPrice,uint32 maxContext)"
    );

    /// @notice EIP-712 struct hash of content within the bounds. Reverts with the field at fault.
    function checkAndHash(IProviderRegistry.Content calldata content) internal pure returns (bytes32) {
        _requireLength("endpoint", bytes(content.endpoint).length, 1, MAX_ENDPOINT);
        if (content.rateLimit == 0) revert IProviderRegistry.ProviderRegistry_InvalidContent("rateLimit");
        return keccak256(
            abi.encode(
                CONTENT_TYPEHASH,
                keccak256(bytes(content.endpoint)),
                content.providerType,
                content.rateLimit,
                content.minimumCharge,
                _features(content.features),
                _models(content.models)
            )
        );
    }

    function _features(string[] calldata features) private pure returns (bytes32) {
        _requireLength("features", features.length, 0, MAX_FEATURES);
        bytes32[] memory hashes = new bytes32[](features.length);
        for (uint256 i; i < features.length; ++i) {
            _requireLength("features", bytes(features[i]).length, 1, MAX_FEATURE);
            hashes[i] = keccak256(bytes(features[i]));
        }
        return keccak256(abi.encodePacked(hashes));
    }

    function _models(IProviderRegistry.Model[] calldata models) private pure returns (bytes32) {
        _requireLength("models", models.length, 1, MAX_MODELS);
        bytes32[] memory names = new bytes32[](models.length);
        bytes32[] memory hashes = new bytes32[](models.length);
        for (uint256 i; i < models.length; ++i) {
            IProviderRegistry.Model calldata model = models[i];
            _requireLength("models.name", bytes(model.name).length, 1, MAX_MODEL_NAME);
            if (model.maxContext == 0) revert IProviderRegistry.ProviderRegistry_InvalidContent("models.maxContext");
            bytes32 name = keccak256(bytes(model.name));
            // Two prices for one name would be an argument later.
            for (uint256 j; j < i; ++j) {
                if (names[j] == name) revert IProviderRegistry.ProviderRegistry_InvalidContent("models.name");
            }
            names[i] = name;
            hashes[i] =
                keccak256(abi.encode(MODEL_TYPEHASH, name, model.inputPrice, model.outputPrice, model.maxContext));
        }
        return keccak256(abi.encodePacked(hashes));
    }

    function _requireLength(string memory field, uint256 length, uint256 least, uint256 most) private pure {
        if (length < least || length > most) revert IProviderRegistry.ProviderRegistry_InvalidContent(field);
    }
}
