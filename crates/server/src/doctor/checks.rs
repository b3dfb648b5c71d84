//! The table of checks, in the order in which they are made.

mod addresses;
mod answers;
mod clock;
mod conditions;
mod cors;
mod described;
mod download;
mod encoding;
mod head;
mod hook;
mod http2;
mod internal;
mod large;
mod ranges;
mod reach;
mod resume;
mod store;
mod token;

use std::pin::Pin;

use super::{deployment::Deployment, finding::Finding};

/// Why a check ended early.
pub(crate) type Ended = Result<(), Finding>;

type Looking<'a> = Pin<Box<dyn Future<Output = Ended> + Send + 'a>>;

/// What a check cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing.
    Nothing,
    /// The service answers.
    Service,
    /// The token is accepted.
    Token,
    /// A file could be stored.
    File,
}

/// One thing to look at.
pub(crate) struct Check {
    /// For scripts.
    pub(crate) name: &'static str,
    /// For people who wait.
    pub(crate) title: &'static str,
    /// What it cannot do without.
    pub(crate) needs: Needs,
    /// Looks, and adds what it finds; what it ends early with is found, too.
    pub(crate) look: for<'a> fn(&'a Deployment, &'a mut Vec<Finding>) -> Looking<'a>,
}

macro_rules! checks {
    ($($name:literal, $needs:ident, $title:literal => $($look:ident)::+;)+) => {
        /// Everything that is looked at.
        pub(crate) const CHECKS: &[Check] = &[$(
            Check {
                name: $name,
                title: $title,
                needs: Needs::$needs,
                look: |deployment, found| Box::pin($($look)::+(deployment, found)),
            },
        )+];
    };
}

checks! {
    "reach", Nothing, "is the service there" => reach::look;
    "health", Service, "is it ready" => reach::health;
    "token", Service, "is the token accepted" => token::look;
    "store", Token, "is a small file stored" => store::look;
    "resume-tus", Token, "does a cut upload resume (tus)" => resume::tus;
    "resume-draft", Token, "does a cut upload resume (IETF draft)" => resume::draft;
    "large", Token, "do large bodies pass" => large::look;
    "download", Token, "do downloads stream" => download::look;
    "http2", Token, "are uploads over HTTP/2 as fast" => http2::look;
    "addresses", Token, "are addresses those of the public URL" => addresses::look;
    "headers", File, "do the headers of downloads arrive" => described::look;
    "ranges", File, "do ranges work" => ranges::look;
    "conditions", File, "do conditions work" => conditions::look;
    "encoding", File, "does the proxy change bodies" => encoding::look;
    "cors", File, "may pages use the service" => cors::look;
    "internal", File, "is what is internal kept so" => internal::look;
    "head", Service, "do large heads pass" => head::look;
    "clock", Service, "are the clocks right" => clock::look;
    "hook", File, "is the application asked" => hook::look;
}

impl Check {
    /// Whether others cannot do without it.
    pub(crate) fn is_needed(&self) -> bool {
        ["reach", "token", "store"].contains(&self.name)
    }

    /// Why it cannot be made; `None` where it can.
    pub(crate) fn hindrance(&self, deployment: &Deployment) -> Option<Finding> {
        let facts = &deployment.facts;
        let why = match self.needs {
            Needs::Service if !facts.is_reached() => "the service was not reached",
            Needs::Token | Needs::File if !facts.is_admitted() => {
                "there is no token that may upload"
            }
            Needs::File if facts.sample().is_none() => "no file could be stored",
            _ => return None,
        };
        Some(Finding::unknown(why))
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    #[test]
    fn every_check_has_a_name_of_its_own_and_a_row_in_the_document() {
        let names: BTreeSet<&str> = CHECKS.iter().map(|check| check.name).collect();
        assert_eq!(names.len(), CHECKS.len());
        let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/doctor.md");
        let document = fs::read_to_string(document).unwrap();
        for name in names {
            assert!(document.contains(&format!("| `{name}` |")), "{name}");
        }
    }
}
