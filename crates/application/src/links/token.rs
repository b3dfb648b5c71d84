//! What opens a file by a link: the link's id and a signature over what it opens.

use std::{fmt, time::SystemTime};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cloakroom_domain::{FileId, LinkId};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::Uuid;

use crate::ports::Presented;

const ID_BYTES: usize = 16;
const MAC_BYTES: usize = 32;
/// In base64 this has no bits to spare, so every character counts.
const TOKEN_BYTES: usize = ID_BYTES + MAC_BYTES;
const TIME_BYTES: usize = 8;

/// For how long a proxy may ask again, in seconds.
const RECEIPT_VALID: u64 = 60;

/// What is signed cannot be taken for something else that is.
const LINK: &[u8] = b"cloakroom link\0";
const RECEIPT: &[u8] = b"cloakroom receipt\0";

/// A key that is too short to sign with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key for links has at least {} bytes", LinkKey::MIN_BYTES)]
pub struct ShortKey;

/// The key that links are signed with (HMAC-SHA256, RFC 2104). It does not print.
#[derive(Clone)]
pub struct LinkKey(Hmac<Sha256>);

impl fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkKey(..)")
    }
}

impl LinkKey {
    /// The least number of bytes: as many as the signature has.
    pub const MIN_BYTES: usize = 32;

    /// Signs with these bytes.
    ///
    /// # Errors
    /// They are fewer than [`Self::MIN_BYTES`].
    pub fn new(bytes: &[u8]) -> Result<Self, ShortKey> {
        if bytes.len() < Self::MIN_BYTES {
            return Err(ShortKey);
        }
        Hmac::new_from_slice(bytes).map(Self).map_err(|_| ShortKey)
    }

    /// What opens that file, or that version of it, by the link.
    pub(super) fn sign(&self, id: LinkId, file: &FileId, version: Option<u64>) -> Presented {
        let mut token = id.uuid().into_bytes().to_vec();
        let mac = self.mac(LINK, &[&token, &number(version), file.as_str().as_bytes()]);
        token.extend_from_slice(&mac.finalize().into_bytes());
        Presented::new(URL_SAFE_NO_PAD.encode(token))
    }

    /// The link that was signed for that file and version; `None` where any of the three is another. In constant time
    /// for whatever has the right length.
    pub(super) fn read(
        &self,
        token: &Presented,
        file: &FileId,
        version: Option<u64>,
    ) -> Option<LinkId> {
        let bytes = decoded::<TOKEN_BYTES>(token.reveal())?;
        let (id, signature) = bytes.split_at(ID_BYTES);
        let mac = self.mac(LINK, &[id, &number(version), file.as_str().as_bytes()]);
        mac.verify_slice(signature).ok()?;
        Uuid::from_slice(id).ok().map(LinkId::from_uuid)
    }

    /// Says that a use of the link was counted just now.
    pub(super) fn receipt(&self, id: LinkId) -> String {
        self.receipt_until(id, now() + RECEIPT_VALID)
    }

    fn receipt_until(&self, id: LinkId, until: u64) -> String {
        let mut receipt = until.to_be_bytes().to_vec();
        let mac = self.mac(RECEIPT, &[&receipt, id.uuid().as_bytes()]);
        receipt.extend_from_slice(&mac.finalize().into_bytes());
        URL_SAFE_NO_PAD.encode(receipt)
    }

    /// Whether that is a receipt of ours for the link, and still good.
    pub(super) fn has_signed(&self, id: LinkId, receipt: &str) -> bool {
        let Some(bytes) = decoded::<{ TIME_BYTES + MAC_BYTES }>(receipt) else {
            return false;
        };
        let (until, signature) = bytes.split_at(TIME_BYTES);
        let mac = self.mac(RECEIPT, &[until, id.uuid().as_bytes()]);
        let until = until.try_into().map_or(0, u64::from_be_bytes);
        mac.verify_slice(signature).is_ok() && until >= now()
    }

    /// Over parts of which all but the last have a length of their own.
    fn mac(&self, purpose: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(purpose);
        for part in parts {
            mac.update(part);
        }
        mac
    }
}

/// Versions count from 1.
fn number(version: Option<u64>) -> [u8; 8] {
    version.unwrap_or_default().to_be_bytes()
}

fn decoded<const N: usize>(text: &str) -> Option<[u8; N]> {
    // Of any other length it is none of ours, and not worth decoding.
    if text.len() != (N * 4).div_ceil(3) {
        return None;
    }
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> LinkKey {
        LinkKey::new(&[byte; 32]).unwrap()
    }

    fn file(id: &str) -> FileId {
        FileId::parse(id).unwrap()
    }

    #[test]
    fn a_token_opens_what_it_was_signed_for_and_nothing_else() {
        let id = LinkId::random();
        for version in [None, Some(1), Some(u64::MAX)] {
            let token = key(1).sign(id, &file("a"), version);
            assert_eq!(key(1).read(&token, &file("a"), version), Some(id));
            assert_eq!(key(2).read(&token, &file("a"), version), None);
            assert_eq!(key(1).read(&token, &file("b"), version), None);
            assert_eq!(key(1).read(&token, &file("a"), Some(2)), None);
            let other = version.map_or(Some(1), |_| None);
            assert_eq!(key(1).read(&token, &file("a"), other), None);
        }
    }

    #[test]
    fn every_single_altered_character_and_every_other_length_is_refused() {
        let id = LinkId::random();
        let token = key(1).sign(id, &file("a"), None);
        let text = token.reveal();
        assert_eq!(text.len(), 64);
        let alphabet: Vec<char> = ('A'..='Z')
            .chain('a'..='z')
            .chain('0'..='9')
            .chain("-_=+/.% \0é".chars())
            .collect();
        let refused = |text: String| {
            let token = Presented::new(text.clone());
            assert_eq!(key(1).read(&token, &file("a"), None), None, "{text}");
        };
        for (at, was) in text.char_indices() {
            for other in alphabet.iter().filter(|other| **other != was) {
                refused(format!("{}{other}{}", &text[..at], &text[at + 1..]));
            }
            refused(format!("{}{}", &text[..at], &text[at + 1..]));
            refused(format!("{}A{}", &text[..at], &text[at..]));
        }
        refused(String::new());
        refused("A".repeat(1 << 20));
    }

    #[test]
    fn a_receipt_is_good_for_its_link_and_for_a_while() {
        let (one, other) = (LinkId::random(), LinkId::random());
        let receipt = key(1).receipt(one);
        assert!(key(1).has_signed(one, &receipt));
        assert!(!key(1).has_signed(other, &receipt));
        assert!(!key(2).has_signed(one, &receipt));
        let old = key(1).receipt_until(one, now() - 1);
        assert!(!key(1).has_signed(one, &old));
        let token = key(1).sign(one, &file("a"), None);
        for bad in ["", "x", token.reveal()] {
            assert!(!key(1).has_signed(one, bad), "{bad}");
        }
    }

    #[test]
    fn short_keys_are_refused_and_keys_do_not_print() {
        assert_eq!(LinkKey::new(&[7; 31]).err(), Some(ShortKey));
        assert_eq!(format!("{:?}", key(7)), "LinkKey(..)");
    }
}
