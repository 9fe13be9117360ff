//! A signature of another curve in the ed25519 program's form: the two precompiles read the same header, so what one of them verified
//! looks like what the other would have.

use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey, EcPoint, PointConversionForm};
use openssl::nid::Nid;
use sha2::{Digest, Sha256};
use solana_secp256r1_program::sign_message;

use crate::ed25519::HEADER;
use crate::vm::address;
use crate::{Instruction, Pubkey};

const PRECOMPILE: Pubkey = Pubkey::from_str_const("Secp256r1SigVerify1111111111111111111111111");

/// A key of that curve, which passes for an ed25519 key.
pub struct OtherCurve {
    secret: Vec<u8>,
    /// One byte longer than an ed25519 key: it reaches into the signature.
    public: [u8; 33],
}

impl OtherCurve {
    /// Depends on nothing but its name.
    pub fn new(name: &str) -> Self {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let mut context = BigNumContext::new().unwrap();
        let secret = BigNum::from_slice(&Sha256::digest(name.as_bytes())).unwrap();
        let mut point = EcPoint::new(&group).unwrap();
        point.mul_generator(&group, &secret, &context).unwrap();
        let public = point.to_bytes(&group, PointConversionForm::COMPRESSED, &mut context).unwrap();
        let key = EcKey::from_private_components(&group, &secret, &point).unwrap();
        Self { secret: key.private_key_to_der().unwrap(), public: public.try_into().unwrap() }
    }

    /// What stands where an ed25519 key would.
    pub fn claimed(&self) -> Pubkey {
        Pubkey::new_from_array(self.public[..32].try_into().unwrap())
    }

    /// Verified by the precompile of the other curve, over this very message.
    pub fn signed(&self, message: &[u8; 32]) -> Instruction {
        // Key and signature share a byte: one signature in 256 fits.
        let fits = |signature: &[u8; 64]| signature[0] == self.public[32];
        let signature = std::iter::repeat_with(|| sign_message(message, &self.secret).unwrap()).find(fits).unwrap();
        let data = [&HEADER, &self.public[..32], &signature, message].concat();
        Instruction { program_id: address(PRECOMPILE), accounts: vec![], data }
    }
}
