//! Object stores: a folder, S3.

mod budget;
pub mod fs;
pub mod s3;

pub use budget::{ReadBudget, WriteBudget};
