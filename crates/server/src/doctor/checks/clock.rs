//! Whether the clocks agree: expiry, signed addresses and tokens go by them.

use super::Ended;
use crate::doctor::{
    deployment::Deployment,
    facts::Skew,
    finding::{Finding, Level},
};

/// In seconds.
const WARNING: f64 = 2.0;
const FAULT: f64 = 30.0;

/// Judges by `Date`, of all answers so far the one that came fastest.
pub(crate) async fn look(deployment: &Deployment, found: &mut Vec<Finding>) -> Ended {
    let skew = deployment.facts.skew();
    found.push(skew.map_or_else(
        || Finding::unknown("no answer has a Date").nginx("proxy_pass_header Date;"),
        judged,
    ));
    Ok(())
}

fn judged(skew: Skew) -> Finding {
    // What may be the way of the answer, or a part of a second, is nobody's fault.
    let least = (skew.ahead.abs() - skew.doubt).max(0.0);
    let which = if skew.ahead > 0.0 {
        "ahead of"
    } else {
        "behind"
    };
    let text = format!(
        "the clock there is {:.1} s {which} the one here",
        skew.ahead.abs()
    );
    let level = match least {
        FAULT.. => Level::Fault,
        WARNING.. => Level::Warning,
        _ => {
            return Finding::ok(format!(
                "within {:.1} s of the one here",
                skew.ahead.abs() + skew.doubt
            ));
        }
    };
    let mut found = Finding::fault(text)
        .system("timedatectl set-ntp true    # on the machine whose clock is wrong");
    found.level = level;
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_seconds_are_a_warning_and_thirty_a_fault_beyond_all_doubt() {
        let level = |ahead, doubt| judged(Skew { ahead, doubt }).level;
        assert_eq!(level(-2.4, 0.6), Level::Ok);
        assert_eq!(level(2.7, 0.6), Level::Warning);
        assert_eq!(level(-30.5, 0.6), Level::Warning);
        assert_eq!(level(-30.7, 0.6), Level::Fault);
    }
}
