//! Memory while a pickle is read: at most a MiB, whatever it is.
#![cfg(test)]

use std::fs;

use cloakroom_infrastructure::redis::pickle;

/// The most memory that this process has had resident so far, in KiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.unwrap().trim().trim_end_matches(" kB");
    kib.parse().unwrap()
}

#[test]
fn no_pickle_takes_more_than_a_mebibyte() {
    let filled = |unit: &[u8]| unit.repeat(pickle::MAX_BYTES / unit.len());
    let pickles = [
        filled(b"N"),
        filled(b"]"),
        filled(b"](NNe"),
        filled(b"K\x01\x94"),
        filled(b"V\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\n"),
        filled(b"}(U\x01aNU\x01bNu"),
        filled(b"N\x85\x94"),
        [b"V".as_slice(), &vec![0xe9; pickle::MAX_BYTES - 3], b"\n."].concat(),
    ];
    // What the test itself needs is there before.
    drop(pickle::read(b"N."));
    let before = peak();
    for pickle in &pickles {
        for _ in 0..20 {
            drop(pickle::read(pickle));
        }
    }
    let grown = peak() - before;
    println!("{grown} KiB more");
    assert!(grown <= 1024, "{grown} KiB more were resident");
}
