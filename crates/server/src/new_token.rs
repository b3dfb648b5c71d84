//! Making up tokens.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cloakroom_application::authenticators::ISSUED_PREFIX;
use rand::{TryRng, rngs::SysRng};

use crate::{config::Secret, failure::Failure};

/// A new token: a prefix that tells it from others, and 32 random bytes.
///
/// # Errors
/// The system has no random bytes to give.
pub(crate) fn new_token() -> Result<Secret, Failure> {
    let mut bytes = [0; 32];
    SysRng
        .try_fill_bytes(&mut bytes)
        .map_err(|error| Failure::because("the system gives no random bytes", &error))?;
    let text = URL_SAFE_NO_PAD.encode(bytes);
    Ok(Secret::new(format!("{ISSUED_PREFIX}{text}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_have_a_prefix_fit_into_a_header_and_differ() {
        let (one, two) = (new_token().unwrap(), new_token().unwrap());
        let text = one.reveal();
        assert!(text.starts_with("ckr_") && text.len() == 47, "{text}");
        assert!(
            text.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        );
        assert!(one != two);
    }
}
