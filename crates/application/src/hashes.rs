//! What is computed of bytes on their way in, and can be put aside and taken up again.

use cloakroom_domain::{SNIFF_LEN, Sha256Digest};
use crc_fast::{CrcAlgorithm, Digest as Crc};
use sha2::{
    Digest, Sha256,
    digest::common::hazmat::{SerializableState, SerializedState},
};

/// The form of what [`Hashes::save`] writes.
const FORM: u8 = 1;

/// SHA-256, CRC-64/NVME and the first bytes of a body.
#[derive(Clone)]
pub(crate) struct Hashes {
    sha256: Sha256,
    crc64: Crc,
    size: u64,
    /// Up to [`SNIFF_LEN`] bytes; `None` if they went by before these hashes were taken up.
    head: Option<Vec<u8>>,
}

impl Hashes {
    /// Of nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            sha256: Sha256::new(),
            crc64: Crc::new(CrcAlgorithm::Crc64Nvme),
            size: 0,
            head: Some(Vec::new()),
        }
    }

    /// Takes the next bytes.
    pub(crate) fn update(&mut self, data: &[u8]) {
        self.sha256.update(data);
        self.crc64.update(data);
        self.size += data.len() as u64;
        if let Some(head) = &mut self.head {
            let wanted = SNIFF_LEN.saturating_sub(head.len()).min(data.len());
            head.reserve_exact(wanted);
            head.extend_from_slice(&data[..wanted]);
        }
    }

    /// Bytes taken.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// SHA-256 so far.
    pub(crate) fn sha256(&self) -> Sha256Digest {
        Sha256Digest::new(self.sha256.clone().finalize().into())
    }

    /// CRC-64/NVME so far.
    pub(crate) fn crc64(&self) -> u64 {
        self.crc64.finalize()
    }

    /// The first bytes, if they were seen.
    pub(crate) fn head(&self) -> Option<&[u8]> {
        self.head.as_deref()
    }

    /// The state as bytes, about 130 of them; the first bytes of the body are not in it.
    pub(crate) fn save(&self) -> Vec<u8> {
        let mut state = vec![FORM];
        state.extend_from_slice(&self.size.to_be_bytes());
        state.extend_from_slice(&self.crc64.get_state().to_be_bytes());
        state.extend_from_slice(&self.sha256.serialize());
        state
    }

    /// Takes up what [`Hashes::save`] wrote; `None` if it is something else, such as another release's.
    pub(crate) fn restore(state: &[u8]) -> Option<Self> {
        let (form, state) = state.split_first()?;
        let (size, state) = state.split_first_chunk::<8>()?;
        let (crc64, state) = state.split_first_chunk::<8>()?;
        let sha256 = SerializedState::<Sha256>::try_from(state).ok()?;
        if *form != FORM {
            return None;
        }
        let size = u64::from_be_bytes(*size);
        Some(Self {
            sha256: Sha256::deserialize(&sha256).ok()?,
            crc64: Crc::new_with_init_state(CrcAlgorithm::Crc64Nvme, u64::from_be_bytes(*crc64)),
            size,
            head: (size == 0).then(Vec::new),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_taken_up_again_are_those_of_the_whole() {
        let body: Vec<u8> = (0..30_000_u32).map(|n| (n % 251) as u8).collect();
        let mut whole = Hashes::new();
        whole.update(&body);
        for cut in [0, 1, 63, 64, 65, 8192, 29_999, 30_000] {
            let mut first = Hashes::new();
            first.update(&body[..cut]);
            let mut second = Hashes::restore(&first.save()).unwrap();
            second.update(&body[cut..]);
            assert_eq!(second.size(), whole.size(), "{cut}");
            assert_eq!(second.sha256(), whole.sha256(), "{cut}");
            assert_eq!(second.crc64(), whole.crc64(), "{cut}");
            assert_eq!(second.head().is_some(), cut == 0, "{cut}");
        }
        assert_eq!(whole.head().map(<[u8]>::len), Some(SNIFF_LEN));
    }

    #[test]
    fn what_is_no_state_is_not_taken_up() {
        let state = Hashes::new().save();
        for length in 0..state.len() {
            assert!(Hashes::restore(&state[..length]).is_none(), "{length}");
        }
        let mut other = state.clone();
        other[0] += 1;
        assert!(Hashes::restore(&other).is_none());
        assert!(Hashes::restore(&[state, vec![0]].concat()).is_none());
    }
}
