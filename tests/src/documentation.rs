//! Examples of the documentation, which the tests run as they stand there.

use std::{fs, path::Path};

/// The first block of code below the heading with that title, in a file of `docs/`.
///
/// # Panics
/// There is none.
#[must_use]
pub fn example(file: &str, title: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(file);
    let text = fs::read_to_string(&path).unwrap();
    let below = text
        .lines()
        .skip_while(|line| line.trim_start_matches('#').trim() != title || !line.starts_with('#'));
    let mut block = below.skip_while(|line| !line.starts_with("```"));
    assert!(block.next().is_some(), "{file} has no example of {title}");
    let lines: Vec<&str> = block.take_while(|line| !line.starts_with("```")).collect();
    lines.join("\n")
}
