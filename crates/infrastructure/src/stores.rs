//! Object stores: a folder, S3.

mod budget;
pub mod fs;

pub use budget::{ReadBudget, WriteBudget};
