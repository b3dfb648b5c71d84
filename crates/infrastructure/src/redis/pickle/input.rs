//! What is left of a pickle, and how its opcodes' arguments are taken from it.

use super::{MAX_INTEGER, Refusal};

/// The bytes that have not been read yet.
#[derive(Debug)]
pub(super) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// All of a pickle.
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether so many bytes are left.
    pub(super) const fn has(&self, count: usize) -> bool {
        self.0.len() >= count
    }

    /// So many bytes.
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Refusal> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Refusal::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    /// As many bytes as are asked for.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        self.take(N)?.try_into().map_err(|_| Refusal::Malformed)
    }

    /// A byte.
    pub(super) fn byte(&mut self) -> Result<u8, Refusal> {
        self.array().map(|[byte]| byte)
    }

    /// A length or an index of so many bytes, the least significant first.
    pub(super) fn length(&mut self, width: usize) -> Result<usize, Refusal> {
        let mut bytes = [0; 8];
        bytes[..width].copy_from_slice(self.take(width)?);
        usize::try_from(u64::from_le_bytes(bytes)).map_err(|_| Refusal::Malformed)
    }

    /// A length that Python reads as signed.
    pub(super) fn signed_length(&mut self) -> Result<usize, Refusal> {
        usize::try_from(i32::from_le_bytes(self.array()?)).map_err(|_| Refusal::Malformed)
    }

    /// As many bytes as a length before them says, of so many bytes itself.
    pub(super) fn counted(&mut self, width: usize) -> Result<&'a [u8], Refusal> {
        let length = self.length(width)?;
        self.take(length)
    }

    /// The rest of a line, without its end.
    pub(super) fn line(&mut self) -> Result<&'a [u8], Refusal> {
        let end = self.0.iter().position(|byte| *byte == b'\n');
        let line = self.take(end.ok_or(Refusal::Malformed)?)?;
        self.byte()?;
        Ok(line)
    }

    /// The rest of a line that holds a number, and so at least a character.
    pub(super) fn number(&mut self) -> Result<&'a [u8], Refusal> {
        let line = self.line()?;
        if line.is_empty() {
            return Err(Refusal::Malformed);
        }
        Ok(line)
    }

    /// An integer in two's complement, the least significant byte first.
    pub(super) fn long(&mut self, length: usize) -> Result<i128, Refusal> {
        let bytes = self.take(length)?;
        if length > MAX_INTEGER {
            return Err(Refusal::Limit("an integer"));
        }
        let negative = bytes.last().is_some_and(|byte| *byte >= 0x80);
        let mut whole = [if negative { 0xff } else { 0 }; MAX_INTEGER];
        whole[..length].copy_from_slice(bytes);
        Ok(i128::from_le_bytes(whole))
    }
}
