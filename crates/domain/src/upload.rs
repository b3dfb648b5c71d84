//! An upload that takes several requests: how far it is, what may be appended, and what can become of it.

/// What an upload is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UploadKind {
    /// Bytes that arrive one after the other and become a file.
    Whole,
    /// Bytes that become a stretch of another upload (tus 1.0.0, concatenation).
    Partial,
    /// Made of finished partial uploads.
    Joined,
    /// Bytes that a client sends straight to the store.
    Direct,
}

impl UploadKind {
    const ALL: [Self; 4] = [Self::Whole, Self::Partial, Self::Joined, Self::Direct];

    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Partial => "partial",
            Self::Joined => "joined",
            Self::Direct => "direct",
        }
    }

    /// Reads the name; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Where an upload is in its life.
///
/// `Open` → `Completing` → `Finished`; from either of the first two also to `Failed` or `Terminated`; what is `Open`
/// or waits as a finished partial upload can become `Expired`. Nothing leads back, but that an upload whose file could
/// not be made now is `Open` again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UploadState {
    /// Created; bytes may be appended.
    Open,
    /// Every byte is there; they are being made a file.
    Completing,
    /// A file, or a partial upload that waits to be joined.
    Finished,
    /// It can never be a file: what arrived is not what was announced.
    Failed,
    /// Nobody went on with it in time.
    Expired,
    /// Its creator gave it up.
    Terminated,
}

impl UploadState {
    const ALL: [Self; 6] = [
        Self::Open,
        Self::Completing,
        Self::Finished,
        Self::Failed,
        Self::Expired,
        Self::Terminated,
    ];

    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Completing => "completing",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Terminated => "terminated",
        }
    }

    /// Reads the name; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether bytes or a result may still come.
    #[must_use]
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Open | Self::Completing)
    }

    /// Whether there was such an upload and will not be again.
    #[must_use]
    pub const fn is_gone(self) -> bool {
        matches!(self, Self::Failed | Self::Expired | Self::Terminated)
    }
}

/// Why a length cannot be that of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LengthError {
    /// More than the limit; the limit in bytes.
    #[error("larger than the limit of {0} bytes")]
    TooLarge(u64),
    /// Another length was stated before.
    #[error("the length was stated before, as {0} bytes")]
    Inconsistent(u64),
    /// More bytes are there already.
    #[error("{0} bytes are there already")]
    Below(u64),
}

/// Why bytes cannot be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// They belong elsewhere; where the upload is, in bytes.
    #[error("the upload is at offset {0}")]
    Misplaced(u64),
    /// They are more than the upload's length; that length in bytes.
    #[error("more than the upload's length of {0} bytes")]
    BeyondLength(u64),
    /// They are more than the limit; the limit in bytes.
    #[error("larger than the limit of {0} bytes")]
    TooLarge(u64),
}

/// How far an upload is. The offset is never beyond the length, and neither beyond the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadProgress {
    offset: u64,
    length: Option<u64>,
}

impl UploadProgress {
    /// An upload without bytes, of this length if it is known.
    ///
    /// # Errors
    /// [`LengthError::TooLarge`].
    pub fn begin(length: Option<u64>, limit: u64) -> Result<Self, LengthError> {
        match length {
            Some(length) if length > limit => Err(LengthError::TooLarge(limit)),
            _ => Ok(Self { offset: 0, length }),
        }
    }

    /// As a row holds it; `None` for an offset beyond the length.
    #[must_use]
    pub fn restore(offset: u64, length: Option<u64>) -> Option<Self> {
        length
            .is_none_or(|length| offset <= length)
            .then_some(Self { offset, length })
    }

    /// Bytes that are there.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes that there will be, where that is known.
    #[must_use]
    pub const fn length(&self) -> Option<u64> {
        self.length
    }

    /// Bytes that are missing, where that is known.
    #[must_use]
    pub fn remaining(&self) -> Option<u64> {
        self.length.map(|length| length - self.offset)
    }

    /// Whether every byte is there.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.length == Some(self.offset)
    }

    /// Learns the length, or hears it again.
    ///
    /// # Errors
    /// Says which rule it breaks.
    pub fn learn(&mut self, length: u64, limit: u64) -> Result<(), LengthError> {
        match self.length {
            Some(known) if known != length => return Err(LengthError::Inconsistent(known)),
            Some(_) => return Ok(()),
            None => {}
        }
        if length < self.offset {
            return Err(LengthError::Below(self.offset));
        }
        if length > limit {
            return Err(LengthError::TooLarge(limit));
        }
        self.length = Some(length);
        Ok(())
    }

    /// Whether `bytes`, as far as their number is announced, may be appended at `offset`.
    ///
    /// # Errors
    /// Says which rule they break.
    pub fn place(&self, offset: u64, bytes: Option<u64>, limit: u64) -> Result<(), AppendError> {
        if offset != self.offset {
            return Err(AppendError::Misplaced(self.offset));
        }
        self.room_for(bytes.unwrap_or(0), limit)
    }

    /// Takes so many bytes.
    ///
    /// # Errors
    /// They are more than the length, or than the limit; nothing has changed.
    pub fn advance(&mut self, bytes: u64, limit: u64) -> Result<(), AppendError> {
        self.room_for(bytes, limit)?;
        self.offset += bytes;
        Ok(())
    }

    fn room_for(&self, bytes: u64, limit: u64) -> Result<(), AppendError> {
        match self.remaining() {
            Some(remaining) if bytes > remaining => Err(AppendError::BeyondLength(
                self.length.unwrap_or(self.offset),
            )),
            _ if bytes > limit.saturating_sub(self.offset) => Err(AppendError::TooLarge(limit)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 100;

    fn at(offset: u64, length: Option<u64>) -> UploadProgress {
        UploadProgress::restore(offset, length).unwrap()
    }

    #[test]
    fn bytes_are_appended_only_where_the_upload_is_and_only_so_many() {
        let upload = at(10, Some(20));
        assert_eq!(upload.place(10, Some(10), LIMIT), Ok(()));
        assert_eq!(upload.place(10, None, LIMIT), Ok(()));
        assert_eq!(
            upload.place(9, Some(1), LIMIT),
            Err(AppendError::Misplaced(10))
        );
        assert_eq!(
            upload.place(u64::MAX, None, LIMIT),
            Err(AppendError::Misplaced(10))
        );
        assert_eq!(
            upload.place(10, Some(11), LIMIT),
            Err(AppendError::BeyondLength(20))
        );
        assert_eq!(
            upload.place(10, Some(u64::MAX), LIMIT),
            Err(AppendError::BeyondLength(20))
        );
        assert_eq!(
            at(99, None).place(99, Some(2), LIMIT),
            Err(AppendError::TooLarge(LIMIT))
        );
    }

    #[test]
    fn an_upload_moves_forward_and_never_beyond_its_end() {
        let mut upload = UploadProgress::begin(Some(5), LIMIT).unwrap();
        assert_eq!(upload.advance(3, LIMIT), Ok(()));
        assert_eq!(upload.advance(3, LIMIT), Err(AppendError::BeyondLength(5)));
        assert_eq!(upload.offset(), 3);
        assert_eq!(upload.advance(2, LIMIT), Ok(()));
        assert!(upload.is_whole());
        let mut endless = UploadProgress::begin(None, LIMIT).unwrap();
        assert_eq!(endless.advance(101, LIMIT), Err(AppendError::TooLarge(100)));
        assert_eq!(endless.advance(100, LIMIT), Ok(()));
        assert!(!endless.is_whole());
    }

    #[test]
    fn a_length_is_learned_once() {
        let mut upload = at(10, None);
        assert_eq!(upload.learn(9, LIMIT), Err(LengthError::Below(10)));
        assert_eq!(upload.learn(101, LIMIT), Err(LengthError::TooLarge(LIMIT)));
        assert_eq!(upload.learn(30, LIMIT), Ok(()));
        assert_eq!(upload.learn(30, LIMIT), Ok(()));
        assert_eq!(upload.learn(31, LIMIT), Err(LengthError::Inconsistent(30)));
        assert_eq!(
            UploadProgress::begin(Some(101), LIMIT),
            Err(LengthError::TooLarge(LIMIT))
        );
        assert_eq!(UploadProgress::restore(2, Some(1)), None);
    }

    #[test]
    fn names_come_back() {
        for kind in UploadKind::ALL {
            assert_eq!(UploadKind::parse(kind.as_str()), Some(kind));
        }
        for state in UploadState::ALL {
            assert_eq!(UploadState::parse(state.as_str()), Some(state));
            assert!(!(state.is_live() && state.is_gone()));
        }
        assert_eq!(UploadKind::parse("Whole"), None);
        assert_eq!(UploadState::parse(""), None);
    }
}
