//! What happens to a long upload on its way: its line is cut, a replica dies.

use std::{fs, time::Duration};

use rand::{Rng, SeedableRng, rngs::SmallRng};

use crate::{proxy::TcpProxy, service::Service};

/// How often it is looked how far an upload is.
const POLL: Duration = Duration::from_millis(2);

/// What may be in the buffers of sockets on the way, and is lost with the line: before so many bytes, a cut may leave
/// nothing of an upload.
const ON_THE_WAY: u64 = 16_000_000;

/// So many bytes pass between two cuts at least.
const A_LITTLE: u64 = 250_000;

/// Cuts every connection so many times, each at a random place of its share of the upload, for a random time of up to
/// a quarter of a second. Answers at how many bytes it did. An upload of fewer bytes than `size`, which is more
/// than 16 MB, never ends this.
pub async fn cut(line: &TcpProxy, size: u64, cuts: u64, seed: u64) -> Vec<u64> {
    let mut random = SmallRng::seed_from_u64(seed);
    let share = (size - ON_THE_WAY) / cuts.max(1);
    let before = line.sent();
    let mut places = Vec::new();
    for number in 0..cuts {
        let place = ON_THE_WAY + number * share + share / 4 + random.next_u64() % (share / 2);
        // A cut that comes late must not fall together with the next one.
        let later = line.sent() + A_LITTLE;
        reached(line, later.max(before + place)).await;
        line.cut();
        places.push(line.sent() - before);
        let pause = Duration::from_millis(20 + random.next_u64() % 230);
        tokio::time::sleep(pause).await;
        line.heal();
    }
    places
}

/// Waits until so many bytes have gone to the server.
pub async fn reached(line: &TcpProxy, bytes: u64) {
    while line.sent() < bytes {
        tokio::time::sleep(POLL).await;
    }
}

/// Kills (SIGKILL) whichever replica works the most just now, and answers which that was.
pub async fn kill_the_busiest(replicas: &mut [Service]) -> usize {
    let before: Vec<u64> = replicas.iter().map(ticks).collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let worked = |number: &usize| ticks(&replicas[*number]) - before[*number];
    let busiest = (0..replicas.len()).max_by_key(worked).unwrap();
    replicas[busiest].kill9();
    busiest
}

/// The processor time that a service has used, in the kernel's ticks.
fn ticks(service: &Service) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", service.id())).unwrap();
    // The name in parentheses may hold anything, so count from its end: fields 14 and 15 are utime and stime.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let field = |number: usize| fields[number - 3].parse::<u64>().unwrap();
    field(14) + field(15)
}
