//! Durable writing with nothing around it: `dd`, commits by `pgbench`, flushes of files and folders.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use cloakroom_tests::{process::Launch, servers::postgres_programs};

/// How long `dd` takes to copy a file to another and flush that.
pub(crate) async fn dd(from: &Path, to: &Path) -> Duration {
    fs::remove_file(to).ok();
    let launch = Launch::new("dd")
        .arg_path("if=", from)
        .arg_path("of=", to)
        .args(["bs=1M", "conv=fsync", "status=none"]);
    let copy = move || {
        let begun = Instant::now();
        launch.run();
        begun.elapsed()
    };
    tokio::task::spawn_blocking(copy).await.unwrap()
}

/// Commits per second by that many clients, of one row inserted each.
pub(crate) async fn commits(url: &str, script: &Path, clients: usize, time: Duration) -> f64 {
    let rest = url.strip_prefix("postgres://").unwrap();
    let (user, rest) = rest.split_once(':').unwrap();
    let (password, rest) = rest.split_once('@').unwrap();
    let (server, database) = rest.split_once('/').unwrap();
    let (host, port) = server.split_once(':').unwrap();
    fs::write(script, "INSERT INTO bare VALUES (repeat('x', 400));\n").unwrap();
    let launch = Launch::new(postgres_programs().join("pgbench"))
        .args(["--no-vacuum", "--protocol=prepared", "--jobs=2"])
        .args([
            format!("--client={clients}"),
            format!("--time={}", time.as_secs().max(1)),
        ])
        .arg_path("--file=", script)
        .env("PGHOST", host)
        .env("PGPORT", port)
        .env("PGUSER", user)
        .env("PGPASSWORD", password)
        .env("PGDATABASE", database);
    let output = tokio::task::spawn_blocking(move || launch.run());
    tps(&output.await.unwrap())
}

fn tps(output: &str) -> f64 {
    let line = output.lines().find_map(|line| line.strip_prefix("tps = "));
    let number = line.and_then(|line| line.split(' ').next()?.parse().ok());
    number.unwrap_or_else(|| panic!("pgbench says no tps:\n{output}"))
}

/// Files of `size` bytes per second that so many threads write, flush, move to one of 256 folders, and flush that.
pub(crate) async fn flushes(folder: &Path, size: usize, threads: usize, time: Duration) -> f64 {
    let folder = folder.to_owned();
    let work = move || {
        for shard in 0..=u8::MAX {
            fs::create_dir_all(folder.join(format!("{shard:02x}"))).unwrap();
        }
        let (done, begun) = (AtomicU64::new(0), Instant::now());
        thread::scope(|scope| {
            for thread in 0..threads {
                let (done, folder) = (&done, &folder);
                scope.spawn(move || {
                    while begun.elapsed() < time {
                        flush_one(folder, thread, size);
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        done.into_inner() as f64 / begun.elapsed().as_secs_f64()
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

fn flush_one(folder: &Path, thread: usize, size: usize) {
    let name = format!("{:032x}", rand::random::<u128>());
    let draft = folder.join(format!("draft-{thread}"));
    let mut file = File::create(&draft).unwrap();
    file.write_all(&vec![7; size]).unwrap();
    file.sync_all().unwrap();
    let shard = folder.join(&name[..2]);
    fs::rename(draft, shard.join(&name)).unwrap();
    File::open(shard).unwrap().sync_all().unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_that_pgbench_prints_is_understood() {
        let output = "latency average = 1 ms\ntps = 1234.5 (without initial connection time)\n";
        assert!((tps(output) - 1234.5).abs() < 1e-9);
    }

    #[tokio::test]
    async fn flushing_leaves_the_files_that_it_counts() {
        let folder = tempfile::tempdir().unwrap();
        let time = Duration::from_millis(50);
        let rate = flushes(folder.path(), 100, 2, time).await;
        let shards = fs::read_dir(folder.path()).unwrap();
        let files: usize = shards
            .map(|shard| fs::read_dir(shard.unwrap().path()).unwrap().count())
            .sum();
        assert!(rate > 0.0 && files >= 2, "{rate} {files}");
    }
}
