//! The kinds of values that settings of JWTs have.

use std::net::IpAddr;

use cloakroom_infrastructure::jwt::{Algorithm, Key};
use reqwest::Url;

use super::{Kind, Masking, readers::is_placeholder_key};
use crate::config::secret::Secret;

/// What every text in PEM begins with.
pub(crate) const PEM: &str = "-----BEGIN ";

pub(crate) const JWT_KEY: Kind<Secret> = Kind::new(
    "secret or PEM",
    "a secret of 32 printable characters or more without spaces that is nobody's default, such as \
     `openssl rand -hex 32` prints, or in PEM a `PUBLIC KEY` or `RSA PUBLIC KEY` for RSA of 2048 to 4096 bits, P-256, \
     P-384 or Ed25519",
    |text| {
        let good = if text.starts_with(PEM) {
            Key::public_pem(text).is_ok()
        } else {
            let graphic = text.bytes().all(|b| b.is_ascii_graphic());
            graphic && !is_placeholder_key(text) && Key::secret(text.as_bytes()).is_ok()
        };
        good.then(|| Secret::new(text.to_owned()))
    },
)
.masked(Masking::Secret);

pub(crate) const KEY_SET_ADDRESS: Kind<String> = Kind::new(
    "URL",
    "an https:// address without user and fragment, such as https://id.example.com/jwks.json; http:// only to this \
     machine, private addresses and names that the public DNS does not have",
    key_set_address,
)
.masked(Masking::Userinfo);

pub(crate) const JWT_ALGORITHMS: Kind<Vec<Algorithm>> = Kind::new(
    "list",
    "some of HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and EdDSA, with commas",
    |text| {
        text.split(',')
            .map(|name| name.trim().parse().ok())
            .collect()
    },
);

pub(crate) const CLAIM: Kind<String> = Kind::new(
    "text",
    "1 to 200 printable characters without spaces",
    |text| {
        let graphic = text.bytes().all(|b| b.is_ascii_graphic());
        (text.len() <= 200 && graphic).then(|| text.to_owned())
    },
);

/// Whoever could answer in the issuer's place could sign anybody in, so what leaves the machine or its own network is
/// encrypted.
fn key_set_address(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    let safe = match url.scheme() {
        "https" => url.has_host(),
        "http" => is_private(url.host_str()?),
        _ => false,
    };
    (bare && safe).then(|| text.to_owned())
}

/// A host that is not on the public internet: a loopback, private or link-local address, or a name that no public DNS
/// has (RFC 6761, RFC 6762, `internal`, or a single label as container networks have them).
fn is_private(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(v4)) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        Ok(IpAddr::V6(v6)) => {
            v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local()
        }
        Err(_) => match bare.trim_end_matches('.').rsplit_once('.') {
            None => true,
            Some((_, top)) => ["localhost", "local", "internal"].contains(&top),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_published_over_https_or_within_the_own_network() {
        for good in [
            "https://id.example.com/jwks.json",
            "https://id.example.com/keys?p=signin",
            "http://127.0.0.1:9000/jwks",
            "http://[::1]:9000/jwks",
            "http://10.1.2.3/jwks",
            "http://192.168.1.1/jwks",
            "http://[fd00::1]/jwks",
            "http://localhost/jwks",
            "http://keycloak:8080/realms/x/protocol/openid-connect/certs",
            "http://keycloak.auth.svc.cluster.local/certs",
        ] {
            assert!((KEY_SET_ADDRESS.read)(good).is_some(), "{good}");
        }
        for bad in [
            "http://id.example.com/jwks.json",
            "http://8.8.8.8/jwks",
            "http://[2001:db8::1]/jwks",
            "http://127.0.0.1.example.com/jwks",
            "https://user:password@id.example.com/jwks",
            "https://id.example.com/jwks#keys",
            "ftp://localhost/jwks",
            "file:///etc/jwks",
            "jwks.json",
        ] {
            assert!((KEY_SET_ADDRESS.read)(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_key_is_a_long_secret_or_a_public_key() {
        let ed25519 = "-----BEGIN PUBLIC KEY-----\n\
            MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----";
        assert!((JWT_KEY.read)(ed25519).is_some());
        assert!((JWT_KEY.read)("0123456789abcdef0123456789abcdef").is_some());
        for bad in [
            "0123456789abcdef0123456789abcde",
            "0123456789abcdef 0123456789abcdef",
            "changeme-changeme-changeme-changeme",
            "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIHcHbQpzGKV9PBbBclGyZkXfTC+H68CZKrF3+6UduSwq\n-----END PRIVATE KEY-----",
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
        ] {
            assert!((JWT_KEY.read)(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn algorithms_are_those_that_are_known() {
        let read = |text| (JWT_ALGORITHMS.read)(text);
        assert_eq!(read("RS256, EdDSA").unwrap().len(), 2);
        for bad in ["none", "RS256,", "rs256", "ES512", "RS256;ES256"] {
            assert!(read(bad).is_none(), "{bad}");
        }
    }
}
