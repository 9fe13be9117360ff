//! Addresses as people write them.

use alloy_primitives::Address;

/// What is wrong with an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not 40 hex digits.
    #[error("not an address: write 0x and 40 hex digits")]
    Form,
    /// Its capitals are not those of its checksum (EIP-55).
    #[error("the address has a typing error: its checksum does not match; copy it again")]
    Checksum,
}

/// Reads an address. Capitals and small letters together are its checksum (EIP-55) and must be right: money sent to a mistyped
/// address is gone. In one case only there is nothing to check.
///
/// # Errors
/// Says what is wrong.
pub fn parse_address(text: &str) -> Result<Address, AddressError> {
    let address: Address = text.parse().map_err(|_| AddressError::Form)?;
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let mixed = digits.bytes().any(|b| b.is_ascii_uppercase()) && digits.bytes().any(|b| b.is_ascii_lowercase());
    if mixed && address.to_checksum(None).strip_prefix("0x") != Some(digits) {
        return Err(AddressError::Checksum);
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";

    #[test]
    fn capitals_are_a_checksum() {
        let address = parse_address(ADDRESS);
        assert!(address.is_ok());
        assert_eq!(parse_address(&ADDRESS.to_lowercase()), address);
        assert_eq!(parse_address(&format!("0x{}", ADDRESS[2..].to_uppercase())), address);
        assert_eq!(parse_address(&ADDRESS[2..]), address);
        assert_eq!(parse_address(&ADDRESS.replace("dc79C8", "dc79c8")), Err(AddressError::Checksum));
        // One digit mistyped: the capitals give it away.
        assert_eq!(parse_address(&ADDRESS.replace("7099", "7098")), Err(AddressError::Checksum));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in
            ["", "0x", "0x0", "0x70997970C51812dc3A010C7d01b50e0d17dc79C", "0x70997970C51812dc3A010C7d01b50e0d17dc79Cg"]
        {
            assert_eq!(parse_address(text), Err(AddressError::Form), "{text}");
        }
    }
}
