//! The pickle reader beside Python's restricted unpickler: a corpus, mutations of it, and attacks.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod agreement;
mod attacks;

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    process::Command,
};

use cloakroom_infrastructure::redis::pickle::{self, Refusal};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use self::agreement::{Oracle, Verdict};

/// Deep values are written down by recursion, also those that only a test makes.
const STACK: usize = 64 * 1024 * 1024;

fn script() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/pickle/oracle.py")
}

fn with_room(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(test);
    if let Err(panic) = thread.unwrap().join() {
        std::panic::resume_unwind(panic);
    }
}

/// What Python's two picklers make of many values in all protocols.
fn corpus() -> Vec<Vec<u8>> {
    let output = Command::new("python3").arg(script()).arg("corpus").output();
    let output = output.unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let lines = String::from_utf8(output.stdout).unwrap();
    let unique: HashSet<Vec<u8>> = lines
        .lines()
        .map(|line| hex::decode(line).unwrap())
        .collect();
    let mut corpus: Vec<Vec<u8>> = unique.into_iter().collect();
    corpus.sort();
    corpus
}

fn check_all(pickles: impl Iterator<Item = Vec<u8>>) -> HashMap<Verdict, usize> {
    let mut oracle = Oracle::start(&script());
    let mut verdicts = HashMap::new();
    for pickle in pickles {
        *verdicts.entry(oracle.check(&pickle)).or_default() += 1;
    }
    verdicts
}

#[test]
fn what_python_pickles_is_read_as_python_reads_it() {
    with_room(|| {
        let corpus = corpus();
        for pickle in &corpus {
            let Err(refusal) = pickle::read(pickle) else {
                continue;
            };
            let known = match refusal {
                // Sets before protocol 4, bytes before 3 and bytearrays before 5 are made by calls.
                Refusal::Forbidden(b'c' | 0x93) => true,
                Refusal::Limit(what) => ["an integer", "depth", "values"].contains(&what),
                Refusal::Malformed | Refusal::Forbidden(_) | Refusal::Unusual(_) => false,
            };
            assert!(known, "{refusal}: {}", hex::encode(pickle));
        }
        let verdicts = check_all(corpus.into_iter());
        println!("{verdicts:?}");
        assert!(verdicts[&Verdict::Read] > 1_000, "{verdicts:?}");
    });
}

#[test]
fn mutated_pickles_are_read_or_refused_as_by_python() {
    with_room(|| {
        let corpus = corpus();
        let mut seeded = StdRng::seed_from_u64(20_260_101);
        let small: Vec<&Vec<u8>> = corpus.iter().filter(|pickle| pickle.len() < 400).collect();
        let mutated = (0..40_000).map(|_| {
            let mut pickle = small[seeded.random_range(0..small.len())].clone();
            for _ in 0..seeded.random_range(1..4) {
                mutate(
                    &mut pickle,
                    small[seeded.random_range(0..small.len())],
                    &mut seeded,
                );
            }
            pickle
        });
        let verdicts = check_all(mutated.collect::<Vec<_>>().into_iter());
        println!("{verdicts:?}");
        assert!(verdicts[&Verdict::Read] > 2_000 && verdicts[&Verdict::Refused] > 2_000);
    });
}

/// Every opcode, so that mutations meet each of them often.
const OPCODES: &[u8] = b"(.012FIJKLMNPQRSTUVXabcdeghijloprqstuBC)]}\
    \x80\x81\x82\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f\x90\x91\x92\x93\x94\x95\x96\x97\x98";

fn mutate(pickle: &mut Vec<u8>, other: &[u8], seeded: &mut StdRng) {
    let at = seeded.random_range(0..=pickle.len());
    let opcode = OPCODES[seeded.random_range(0..OPCODES.len())];
    match seeded.random_range(0..7) {
        0 => pickle.truncate(at),
        1 => pickle.insert(at, opcode),
        2 => pickle.insert(at, seeded.random()),
        3 if at < pickle.len() => pickle[at] = opcode,
        4 if at < pickle.len() => pickle[at] ^= 1 << seeded.random_range(0..8),
        5 if at < pickle.len() => drop(pickle.remove(at)),
        _ => {
            let start = seeded.random_range(0..=other.len());
            let end = seeded.random_range(start..=other.len().min(start + 20));
            pickle.splice(at..at, other[start..end].iter().copied());
        }
    }
}
