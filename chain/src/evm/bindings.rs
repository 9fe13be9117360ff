//! What the ABI says, as Rust types. Generated from the committed ABI; used to encode calls and to decode answers and events.

#![allow(missing_docs, clippy::too_many_arguments)]

use alloy::sol;

sol!(
    #[derive(Debug, PartialEq, Eq)]
    ComputeFutures,
    "../contracts/abi/ComputeFutures.json"
);

sol!(
    #[derive(Debug, PartialEq, Eq)]
    ProviderRegistry,
    "../contracts/abi/ProviderRegistry.json"
);

sol!(
    #[derive(Debug, PartialEq, Eq)]
    ComputeEscrow,
    "../contracts/abi/ComputeEscrow.json"
);

sol! {
    /// What we use of USDC: ERC-20 and the state of EIP-3009 nonces.
    interface IUsdc {
        function balanceOf(address holder) external view returns (uint256);
        function allowance(address holder, address spender) external view returns (uint256);
        function approve(address spender, uint256 amount) external returns (bool);
        function transfer(address to, uint256 amount) external returns (bool);
        function authorizationState(address authorizer, bytes32 nonce) external view returns (bool);
        event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce);
        function mint(address to, uint256 amount) external returns (bool);
    }

    /// Contract wallets.
    interface IERC1271 {
        function isValidSignature(bytes32 hash, bytes calldata signature) external view returns (bytes4);
    }
}
