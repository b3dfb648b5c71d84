//! A reader of Python's pickles that runs nothing.
//!
//! It builds None, booleans, integers, floats, bytes, text, lists, tuples, dicts and sets out of protocols 0 to 5.
//! Whatever would import, call or change an object is refused before it could mean anything: there is no code here
//! that could do it. What is built lies in one arena, so that a value that holds itself neither loops nor overflows
//! a stack, and what is shared is shared.

mod input;
mod literal;
mod machine;
mod stack;
mod value;

pub use self::value::{Entries, Item, Items, Pickle, Value};

/// The longest pickle that is read, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;
/// So many values may be put on the machine's stack in all, which bounds what is built.
pub const MAX_VALUES: usize = 4096;
/// The highest index of the memo.
pub const MAX_MEMO: usize = 4096;
/// So deep may tuples, lists and dicts lie in one another, and marks on the stack.
pub const MAX_DEPTH: usize = 64;
/// The longest integer, in bytes.
pub const MAX_INTEGER: usize = 16;

/// Why something is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No pickle: Python would not read it either.
    #[error("is no pickle")]
    Malformed,
    /// The opcode imports, calls or changes objects, or takes what does not come with the pickle.
    #[error("does more than hold a value (opcode 0x{0:02x})")]
    Forbidden(u8),
    /// Larger than the service reads, in this respect.
    #[error("is beyond a limit: {0}")]
    Limit(&'static str),
    /// Python would do it, and writes nothing that needs it.
    #[error("does what no pickle does: {0}")]
    Unusual(&'static str),
}

/// Reads the value of a pickle. What follows its end is ignored, as by Python.
///
/// # Errors
/// It is no pickle, does more than hold a value, or is beyond one of the limits of this module.
pub fn read(bytes: &[u8]) -> Result<Pickle<'_>, Refusal> {
    if bytes.len() > MAX_BYTES {
        return Err(Refusal::Limit("length"));
    }
    machine::Machine::new(bytes).run()
}
