//! The kinds of values of encryption at rest.

use cloakroom_domain::KeyId;
use cloakroom_infrastructure::sealing::MasterKeys;

use super::{Kind, Masking};

pub(crate) const MASTER_KEYS: Kind<MasterKeys> = Kind::new(
    "secret",
    "one or more keys as `cloakroom encryption new-key` prints them, 32 random bytes in Base64 or hexadecimal digits, \
     each once",
    |text| MasterKeys::parse(text).ok(),
)
.masked(Masking::Secret);

pub(crate) const KEY_IDS: Kind<Vec<KeyId>> = Kind::new(
    "list",
    "ids of master keys with commas between, 16 hexadecimal digits each, such as 0123456789abcdef",
    |text| {
        let ids = text.split(',').map(|id| KeyId::parse(id.trim()));
        ids.collect()
    },
);
