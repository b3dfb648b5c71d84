//! The benchmark: the service against what one would otherwise have, in one run on one machine. Run by `make bench`.
//!
//! `bench [reads] [proxied] [uploads] [remote] [encrypted] [moving] [crowd]` measures only those parts, and then leaves `docs/benchmarks.md` alone.
//! `BENCH_ROUNDS` (5) rounds, in each of which both sides run for `BENCH_SECONDS` (5), in turns.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

mod bare;
mod compare;
mod crowd;
mod encrypted;
mod load;
mod machine;
mod moving;
mod nginx;
mod proxied;
mod reads;
mod remote;
mod report;
mod uploads;

use std::{env, path::Path, thread::available_parallelism};

use self::compare::{Options, Row};

const PARTS: [&str; 7] = [
    "reads",
    "proxied",
    "uploads",
    "remote",
    "encrypted",
    "moving",
    "crowd",
];

#[tokio::main]
async fn main() {
    let chosen: Vec<String> = env::args().skip(1).collect();
    for part in &chosen {
        assert!(
            PARTS.contains(&part.as_str()),
            "no such part: {part}; there are {PARTS:?}"
        );
    }
    assert!(
        available_parallelism().is_ok_and(|cores| cores.get() >= 2),
        "server and load generator need a core each"
    );
    let options = Options::from_environment();
    let wants = |part: &str| chosen.is_empty() || chosen.iter().any(|c| c == part);

    let mut rows: Vec<Row> = Vec::new();
    if wants("reads") {
        rows.extend(reads::measure(&options).await);
    }
    if wants("proxied") {
        rows.extend(proxied::measure(&options).await);
    }
    if wants("uploads") {
        rows.extend(uploads::measure(&options).await);
    }
    if wants("remote") {
        rows.extend(remote::measure(&options).await);
    }
    if wants("encrypted") {
        rows.extend(encrypted::measure(&options).await);
    }
    if wants("moving") {
        rows.extend(moving::measure(&options).await);
    }
    let crowds = if wants("crowd") {
        crowd::measure().await
    } else {
        Vec::new()
    };
    println!("\n{}\n{}", report::table(&rows), report::crowds(&crowds));
    if chosen.is_empty() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        std::fs::create_dir_all(&docs).unwrap();
        let text = report::document(&rows, &crowds, &options);
        std::fs::write(docs.join("benchmarks.md"), text).unwrap();
    }
}
