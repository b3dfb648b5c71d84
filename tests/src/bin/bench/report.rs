//! The table, and the document that it is kept in.

use crate::{
    compare::{Options, Row},
    crowd::Crowd,
    machine,
};

/// The table in Markdown.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut table = "| work | ours | theirs | ratio: median (min–max) | goal |\n\
                     | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for row in rows {
        let (median, least, most) = row.ratio();
        let goal = match row.work.goal {
            0.0 => "none".to_owned(),
            goal if median >= goal => format!("≥ {goal}"),
            goal => format!("≥ {goal}, missed"),
        };
        table.push_str(&format!(
            "| {} | {} | {} ({}) | {median:.2} ({least:.2}–{most:.2}) | {goal} |\n",
            row.work.name,
            row.work.unit.show(row.ours()),
            row.work.unit.show(row.theirs()),
            row.work.against,
        ));
    }
    table
}

/// What crowds of uploads took, in Markdown.
pub(crate) fn crowds(crowds: &[Crowd]) -> String {
    let mut table = "| 1,000 uploads of 10 MiB at once to | took | told to come back | resident at most | GET 10 KiB beside them: p99, longest |\n\
                     | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for crowd in crowds {
        table.push_str(&format!(
            "| {} | {:.0} s | {} times | {} MiB | {} ms, {} ms |\n",
            crowd.store,
            crowd.took.as_secs_f64(),
            crowd.refused,
            crowd.resident / (1024 * 1024),
            crowd.p99.as_millis(),
            crowd.longest.as_millis(),
        ));
    }
    table
}

/// The whole of `docs/benchmarks.md`.
pub(crate) fn document(rows: &[Row], crowds: &[Crowd], options: &Options) -> String {
    let versions: String = machine::versions()
        .iter()
        .map(|version| format!("- {version}\n"))
        .collect();
    format!(
        "# Benchmarks\n\n\
         `make bench` builds for release, measures and writes this page. Both sides run in one go on one machine, in \
         turns; a ratio is of the two turns of one round. Absolute numbers say little on a shared machine, ratios hold.\n\n\
         {table}\n\
         {rounds} rounds of {seconds} s a side.\n\n\
         {crowds}\n\
         ## Machine\n\n{machine}.\n\n{versions}\n{how}",
        table = table(rows),
        crowds = self::crowds(crowds),
        rounds = options.rounds,
        seconds = options.turn.as_secs(),
        machine = machine::machine(),
        how = HOW,
    )
}

const HOW: &str = "## How\n\n\
**A crowd.** Half of the uploads are forms, half are tus in chunks of 1 MiB; metadata in PostgreSQL, all cores, load \
generator, databases and stores on the same machine. Goals: 256 MiB, 100 ms.\n\n\
**Downloads.** The service with one worker (`CLOAKROOM_WORKERS=1`) on core 0 (`taskset`), metadata in PostgreSQL, \
bytes in a folder, every header and the checksum on; each request carries the owner's token. nginx with one worker on \
the same core serves a file with the same bytes: `sendfile on`, `access_log off`, no \
`open_file_cache`, no `tcp_nopush` (with it, ranges wait for delayed acknowledgements). The load is `wrk --threads=1 --connections=N` on core 1; ranges begin at random places.\n\n\
**Through nginx.** The same service behind an nginx with one worker on the same core, on the files in `nginx/` with \
`access_log off`; with `CLOAKROOM_OFFLOAD=x-accel`, or with `offload.conf` left out. 10 KiB are never left to nginx.\n\n\
**POST 100 MiB form** on all cores, hashed and flushed, against `dd bs=1M conv=fsync` from a file in the page cache to the \
same file system. Each upload is purged again, outside of the time that counts.\n\n\
**POST 10 KiB** raw by 16 clients, metadata in PostgreSQL with `fsync` on, bytes in a folder. Against: the time that \
two commits an upload take `pgbench --client=16` (one row inserted each, prepared), and after it the time that 16 \
threads take to write, flush and rename a file and flush its folder.\n\n\
**Encrypted.** The service with `CLOAKROOM_ENCRYPTION_KEY` against the same without it, a user's token each, bytes in a \
folder and none kept in memory; downloads as above, uploads on all cores.\n\n\
**Moving** from a folder to a fresh Garage, and from there to a fresh folder, eight objects at once on all cores, metadata \
in PostgreSQL with `fsync` on: from `started_at`, before the new store is tried, to `finished_at`. Every copy is flushed, \
read back and hashed before its row is switched. Against: `rclone copy` and then `rclone checksum sha256 --download`, \
which reads the target back, with `--transfers 8 --checkers 8`, and `sync -f` where it wrote to a folder.\n\n\
**S3.** A Garage on one node, metadata in PostgreSQL. Against: `put_object` and `get_object` of the AWS SDK for Rust \
with the whole body in memory.\n";
