//! Two sides in turns, and how they compare.

use std::{env, time::Duration};

/// How long to measure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// How often each side has its turn.
    pub(crate) rounds: usize,
    /// How long a turn takes.
    pub(crate) turn: Duration,
}

impl Options {
    pub(crate) fn from_environment() -> Self {
        Self {
            rounds: number("BENCH_ROUNDS", 5).try_into().unwrap(),
            turn: Duration::from_secs(number("BENCH_SECONDS", 5)),
        }
    }
}

fn number(name: &str, default: u64) -> u64 {
    let Ok(text) = env::var(name) else {
        return default;
    };
    let number = text
        .parse()
        .ok()
        .filter(|number| (1..=600).contains(number));
    number.unwrap_or_else(|| panic!("{name} is {text:?}; expected a number from 1 to 600"))
}

/// What a rate counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Requests or uploads per second.
    Requests,
    /// Bytes per second.
    Bytes,
}

impl Unit {
    pub(crate) fn show(self, rate: f64) -> String {
        match self {
            Self::Requests => format!("{rate:.0}/s"),
            Self::Bytes if rate >= 1e9 => format!("{:.2} GB/s", rate / 1e9),
            Self::Bytes => format!("{:.0} MB/s", rate / 1e6),
        }
    }
}

/// What is compared.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    /// The work.
    pub(crate) name: &'static str,
    /// What it is compared with.
    pub(crate) against: &'static str,
    /// What is counted.
    pub(crate) unit: Unit,
    /// The ratio aimed at; 0 for none.
    pub(crate) goal: f64,
}

/// A line of the table.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) work: Work,
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

impl Row {
    pub(crate) fn ours(&self) -> f64 {
        median(&self.ours)
    }

    pub(crate) fn theirs(&self) -> f64 {
        median(&self.theirs)
    }

    /// Ours by theirs, round by round: median, least and most.
    pub(crate) fn ratio(&self) -> (f64, f64, f64) {
        let ratios = self.ours.iter().zip(&self.theirs).map(|(o, t)| o / t);
        let ratios: Vec<f64> = ratios.collect();
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let most = ratios.iter().copied().fold(0.0, f64::max);
        (median(&ratios), least, most)
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    }
}

/// Lets both sides have their turns, each first in every other round, after one for each that does not count.
/// Each answers its rate over the time that it is given.
pub(crate) async fn compare(
    options: &Options,
    work: Work,
    mut ours: impl AsyncFnMut(Duration) -> f64,
    mut theirs: impl AsyncFnMut(Duration) -> f64,
) -> Row {
    let [row] = compare_all(
        options,
        [work],
        async |time| [ours(time).await],
        async |time| [theirs(time).await],
    )
    .await;
    row
}

/// As [`compare`], of turns that do several works each.
pub(crate) async fn compare_all<const N: usize>(
    options: &Options,
    works: [Work; N],
    mut ours: impl AsyncFnMut(Duration) -> [f64; N],
    mut theirs: impl AsyncFnMut(Duration) -> [f64; N],
) -> [Row; N] {
    let warm_up = options.turn.min(Duration::from_secs(1));
    ours(warm_up).await;
    theirs(warm_up).await;
    let mut rows = works.map(|work| Row {
        work,
        ours: Vec::new(),
        theirs: Vec::new(),
    });
    for round in 0..options.rounds {
        let (mine, other);
        if round % 2 == 0 {
            mine = ours(options.turn).await;
            other = theirs(options.turn).await;
        } else {
            other = theirs(options.turn).await;
            mine = ours(options.turn).await;
        }
        for (row, (mine, other)) in rows.iter_mut().zip(mine.into_iter().zip(other)) {
            row.ours.push(mine);
            row.theirs.push(other);
            println!(
                "{}: round {}: {} against {}, {:.2}",
                row.work.name,
                round + 1,
                row.work.unit.show(mine),
                row.work.unit.show(other),
                mine / other
            );
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sides_take_turns_and_ratios_are_of_the_same_round() {
        let work = Work {
            name: "nothing",
            against: "nothing",
            unit: Unit::Requests,
            goal: 1.0,
        };
        let options = Options {
            rounds: 3,
            turn: Duration::from_millis(1),
        };
        let (mut fast, mut slow) = (
            [9.0, 10.0, 30.0, 20.0].iter(),
            [9.0, 10.0, 10.0, 40.0].iter(),
        );
        let row = compare(
            &options,
            work,
            async |_| *fast.next().unwrap(),
            async |_| *slow.next().unwrap(),
        )
        .await;
        assert_eq!(row.ratio(), (1.0, 0.5, 3.0));
        assert!((row.ours() - 20.0).abs() < f64::EPSILON);
    }
}
