//! Sessions have numbers: escrow in the high half, sequence within it in the low half, both from 1.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A session of an escrow. Written as a decimal number; in JSON a string.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(u64);

/// A number no session has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionIdError {
    /// Not a plain decimal number of 64 bits.
    #[error("a session id is a decimal number, such as 4294967297")]
    Form,
    /// Escrows and sequences start at 1.
    #[error("session {0} does not exist: escrows and their sessions are counted from 1")]
    Zero(u64),
}

impl SessionId {
    /// The `sequence`-th session of an escrow; `None` when either is zero.
    #[must_use]
    pub const fn new(escrow: u32, sequence: u32) -> Option<Self> {
        if escrow == 0 || sequence == 0 { None } else { Some(Self((escrow as u64) << 32 | sequence as u64)) }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The escrow that pays.
    #[must_use]
    pub const fn escrow(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Its place within the escrow.
    #[must_use]
    pub const fn sequence(self) -> u32 {
        (self.0 & 0xffff_ffff) as u32
    }
}

impl TryFrom<u64> for SessionId {
    type Error = SessionIdError;

    fn try_from(number: u64) -> Result<Self, SessionIdError> {
        let id = Self(number);
        if id.escrow() == 0 || id.sequence() == 0 { Err(SessionIdError::Zero(number)) } else { Ok(id) }
    }
}

impl FromStr for SessionId {
    type Err = SessionIdError;

    fn from_str(text: &str) -> Result<Self, SessionIdError> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(SessionIdError::Form);
        }
        text.parse::<u64>().map_err(|_| SessionIdError::Form)?.try_into()
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.escrow(), self.sequence())
    }
}

impl Serialize for SessionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SessionId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::serde_util::from_text(deserializer, "a session id, such as \"4294967297\"", str::parse)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_are_escrow_and_sequence() {
        let id = SessionId::new(7, 9).unwrap();
        assert_eq!((id.escrow(), id.sequence(), id.get()), (7, 9, 7 << 32 | 9));
        assert_eq!(id.to_string().parse::<SessionId>(), Ok(id));
        assert_eq!(serde_json::from_str::<SessionId>(&serde_json::to_string(&id).unwrap()).unwrap(), id);
        assert_eq!(SessionId::try_from(u64::MAX).unwrap().sequence(), u32::MAX);
        assert_eq!((SessionId::new(0, 1), SessionId::new(1, 0)), (None, None));
    }

    #[test]
    fn what_is_no_session_is_refused() {
        for text in ["", "+4294967297", " 4294967297", "0x1", "1.0", "18446744073709551616", "-1"] {
            assert_eq!(text.parse::<SessionId>(), Err(SessionIdError::Form), "{text}");
        }
        for text in ["0", "1", "4294967296"] {
            assert!(matches!(text.parse::<SessionId>(), Err(SessionIdError::Zero(_))), "{text}");
        }
        assert!(serde_json::from_str::<SessionId>("4294967297").is_err());
    }
}
