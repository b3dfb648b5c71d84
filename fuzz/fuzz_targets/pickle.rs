//! The pickle reader: it never panics, and agrees with Python's restricted unpickler on what it reads and refuses.
//!
//! `cargo +nightly fuzz run pickle -- -dict=fuzz_targets/pickle.dict`; `python3` must be there.
#![no_main]

#[path = "../../crates/infrastructure/tests/pickle/agreement.rs"]
mod agreement;
#[path = "../../crates/infrastructure/src/redis/pickle/mod.rs"]
mod pickle;

use std::{cell::RefCell, path::Path};

use libfuzzer_sys::fuzz_target;

use crate::{
    agreement::Oracle,
    pickle::{Entries, Item, Value},
};

const SCRIPT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../crates/infrastructure/tests/pickle/oracle.py"
);

thread_local! {
    static ORACLE: RefCell<Oracle> = RefCell::new(Oracle::start(Path::new(SCRIPT)));
}

fuzz_target!(|data: &[u8]| {
    ORACLE.with_borrow_mut(|oracle| {
        oracle.check(data);
    });
    if let Ok(read) = pickle::read(data)
        && let Value::Dict(entries) = read.root().value()
    {
        assert_eq!(entries.get("user_id").is_some(), has_user(entries));
    }
});

fn has_user(entries: Entries<'_>) -> bool {
    let is_user = |key: Item<'_>| matches!(key.value(), Value::Text(b"user_id"));
    entries.iter().any(|(key, _)| is_user(key))
}
