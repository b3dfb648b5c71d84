//! The kinds of values of signed links and of claiming.

use std::time::Duration;

use cloakroom_application::LinkKey;

use super::{Kind, LONGEST, Masking, duration, is_default_secret};
use crate::config::Secret;

pub(crate) const LINK_KEY: Kind<Secret> = Kind::new(
    "secret",
    "32 to 1024 printable characters without spaces that are nobody's default, such as `openssl rand -hex 32` prints",
    |text| {
        let graphic = text.bytes().all(|b| b.is_ascii_graphic());
        let long = (LinkKey::MIN_BYTES..=1024).contains(&text.len());
        (long && graphic && !is_default_secret(text)).then(|| Secret::new(text.to_owned()))
    },
)
.masked(Masking::Secret);

pub(crate) const CLAIM_TIME: Kind<Option<Duration>> = Kind::new(
    "duration or `off`",
    "off, or a duration of at least 1s, such as 24h",
    |text| match text {
        "off" => Some(None),
        _ => duration(text)
            .filter(|duration| (Duration::from_secs(1)..=LONGEST).contains(duration))
            .map(Some),
    },
);
