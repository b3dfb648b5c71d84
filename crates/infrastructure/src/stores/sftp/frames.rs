//! What a server sends, looked at before the client reads it: answers are bounded, and text is text.
//!
//! The client makes room for as much as an answer announces, and gives a connection up over a name or a message that
//! is not UTF-8, with all that is under way on it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};

/// The largest answer, in bytes.
const LARGEST: usize = 1024 * 1024;

/// Length, kind and the number of the request.
const HEAD: usize = 9;

/// What is read at once.
const PIECE: usize = 16 * 1024;

const STATUS: u8 = 101;
const DATA: u8 = 103;
const NAME: u8 = 104;

/// The server's answers, one after another.
pub(super) struct Frames<R> {
    answers: R,
    /// An answer, as far as it is here.
    held: BytesMut,
    /// What may go on to the client.
    ready: BytesMut,
    /// What is left of an answer that needs no looking at.
    passing: usize,
}

impl<R> Frames<R> {
    pub(super) fn new(answers: R) -> Self {
        Self {
            answers,
            held: BytesMut::new(),
            ready: BytesMut::new(),
            passing: 0,
        }
    }

    /// How much has to be here before the next step.
    fn wanted(&self) -> io::Result<usize> {
        let Some(length) = length_of(&self.held) else {
            return Ok(HEAD);
        };
        if !(HEAD - 4..=LARGEST).contains(&length) {
            return Err(nonsense());
        }
        Ok(match self.held.get(4) {
            // Of data only the head; what follows passes.
            Some(&DATA) | None => HEAD,
            Some(_) => 4 + length,
        })
    }

    /// Takes what is held for an answer, or for the head of one.
    fn take(&mut self) -> io::Result<()> {
        let mut held = std::mem::take(&mut self.held);
        match held.get(4) {
            Some(&DATA) => {
                let left = length_of(&held).unwrap_or(0).saturating_sub(HEAD - 4);
                // The length of the data is told once more.
                if left < 4 {
                    return Err(nonsense());
                }
                self.passing = left;
            }
            Some(&STATUS) => held = status(&held)?,
            Some(&NAME) => spell(&mut held)?,
            _ => {}
        }
        self.ready = held;
        Ok(())
    }
}

/// What an answer says of its length, itself not counted.
fn length_of(held: &[u8]) -> Option<usize> {
    let (length, _) = held.split_first_chunk()?;
    usize::try_from(u32::from_be_bytes(*length)).ok()
}

fn nonsense() -> io::Error {
    io::Error::from(io::ErrorKind::InvalidData)
}

/// The same status without the server's words.
fn status(held: &[u8]) -> io::Result<BytesMut> {
    let code = held.get(5..HEAD + 4).ok_or_else(nonsense)?;
    let mut bare = BytesMut::with_capacity(HEAD + 12);
    bare.put_u32(17);
    bare.put_u8(STATUS);
    bare.put_slice(code);
    // No message, in no language.
    bare.put_u64(0);
    Ok(bare)
}

/// Puts a question mark for every byte of a name that is not ASCII, and checks that as many names are there as the
/// answer says.
fn spell(held: &mut [u8]) -> io::Result<()> {
    let mut rest = held.get_mut(HEAD..).ok_or_else(nonsense)?;
    let count = number(&mut rest)?;
    for _ in 0..count {
        for byte in string(&mut rest)? {
            if !byte.is_ascii() {
                *byte = b'?';
            }
        }
        string(&mut rest)?;
        attributes(&mut rest)?;
    }
    Ok(())
}

fn attributes(rest: &mut &mut [u8]) -> io::Result<()> {
    let flags = number(rest)?;
    for (flag, length) in [(1, 8), (2, 8), (4, 4), (8, 8)] {
        if flags & flag != 0 {
            bytes(rest, length)?;
        }
    }
    if flags & 0x8000_0000 != 0 {
        for _ in 0..number(rest)? {
            string(rest)?;
            string(rest)?;
        }
    }
    Ok(())
}

fn bytes<'a>(rest: &mut &'a mut [u8], length: usize) -> io::Result<&'a mut [u8]> {
    let (taken, left) = std::mem::take(rest)
        .split_at_mut_checked(length)
        .ok_or_else(nonsense)?;
    *rest = left;
    Ok(taken)
}

fn number(rest: &mut &mut [u8]) -> io::Result<u32> {
    let number = bytes(rest, 4)?;
    Ok(u32::from_be_bytes([
        number[0], number[1], number[2], number[3],
    ]))
}

fn string<'a>(rest: &mut &'a mut [u8]) -> io::Result<&'a mut [u8]> {
    let length = number(rest)?;
    bytes(rest, usize::try_from(length).unwrap_or(usize::MAX))
}

impl<R: AsyncRead + Unpin> AsyncRead for Frames<R> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if !this.ready.is_empty() {
                let count = this.ready.len().min(out.remaining());
                out.put_slice(&this.ready[..count]);
                this.ready.advance(count);
                return Poll::Ready(Ok(()));
            }
            if this.passing > 0 {
                let most = this.passing.min(out.remaining()).min(PIECE);
                let mut part = ReadBuf::new(out.initialize_unfilled_to(most));
                ready!(Pin::new(&mut this.answers).poll_read(context, &mut part))?;
                let count = part.filled().len();
                out.advance(count);
                this.passing -= count;
                return Poll::Ready(Ok(()));
            }
            let wanted = this.wanted()?;
            if this.held.len() == wanted {
                this.take()?;
                continue;
            }
            let mut piece = [0; PIECE];
            let missing = (wanted - this.held.len()).min(PIECE);
            let mut part = ReadBuf::new(&mut piece[..missing]);
            ready!(Pin::new(&mut this.answers).poll_read(context, &mut part))?;
            if part.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.held.extend_from_slice(part.filled());
        }
    }
}

#[cfg(test)]
mod tests;
