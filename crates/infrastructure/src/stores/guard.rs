//! Which addresses a store may be at: an address given through the API must not lead to the machine's own cloud.
//!
//! What counts is the address that a connection is made to, after names were resolved: a name whose answer changes
//! between a check and its use gets nowhere.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use reqwest::{
    Url,
    dns::{Addrs, Name, Resolve, Resolving},
};

/// Whether addresses are looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Guard {
    /// For addresses from the configuration: any will do.
    Open,
    /// For addresses from elsewhere: link-local addresses and those of cloud metadata are never connected to.
    /// Loopback and private networks are where stores live, so they stay.
    #[default]
    Strict,
}

impl Guard {
    /// Whether no connection may be made to the address.
    #[must_use]
    pub fn forbids(self, address: IpAddr) -> bool {
        self == Self::Strict && is_forbidden(address)
    }

    /// The addresses of a host that may be connected to, at least one. The host may be an address itself, an IPv6 one
    /// with or without brackets. As slow as the system's resolver; put a time limit around it.
    ///
    /// # Errors
    /// The host is not found, or only at addresses that are forbidden ([`io::ErrorKind::PermissionDenied`]).
    pub async fn resolve(self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        let found: Vec<SocketAddr> = tokio::net::lookup_host((bare.unwrap_or(host), port))
            .await?
            .collect();
        if found.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no such host"));
        }
        self.admitted(found)
    }

    fn admitted(self, mut found: Vec<SocketAddr>) -> io::Result<Vec<SocketAddr>> {
        found.retain(|address| !self.forbids(address.ip()));
        if found.is_empty() {
            return Err(denied());
        }
        Ok(found)
    }

    /// Looks at an address in a URL. Names are looked at when they are resolved, addresses never are.
    ///
    /// # Errors
    /// The host of the URL is an address that is forbidden, or there is none.
    pub fn admit(self, url: &Url) -> io::Result<()> {
        let host = url.host_str().ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "an address without a host")
        })?;
        let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        match bare.unwrap_or(host).parse() {
            Ok(address) if self.forbids(address) => Err(denied()),
            _ => Ok(()),
        }
    }

    /// A resolver for HTTP clients that finds only addresses which may be connected to. Call [`Guard::admit`] as well.
    #[must_use]
    pub fn resolver(self) -> Arc<dyn Resolve> {
        Arc::new(Resolver(self))
    }
}

fn denied() -> io::Error {
    io::Error::new(
        io::ErrorKind::PermissionDenied,
        "the host is at an address that is link-local or of cloud metadata",
    )
}

struct Resolver(Guard);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.0;
        Box::pin(async move {
            // The port is the client's to choose.
            let found = guard.resolve(name.as_str(), 0).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Whether the address is link-local or one at which clouds tell machines their secrets, however it is written.
#[must_use]
pub fn is_forbidden(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_forbidden_v4(address),
        IpAddr::V6(address) => is_forbidden_v6(address),
    }
}

/// Alibaba's, Oracle's and Azure's addresses of metadata that are not link-local.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
    Ipv4Addr::new(168, 63, 129, 16),
];

fn is_forbidden_v4(address: Ipv4Addr) -> bool {
    address.is_link_local() || METADATA_V4.contains(&address)
}

fn is_forbidden_v6(address: Ipv6Addr) -> bool {
    let words = address.segments();
    // Amazon's, Scaleway's and Google's services for their machines, in the private range.
    let metadata = matches!(words, [0xfd00, 0x0ec2 | 0x0042, ..] | [0xfd20, 0x00ce, ..]);
    // All nodes of a link, by their interface or at once.
    let link_local = words[0] & 0xffc0 == 0xfe80 || matches!(words[0] & 0xff0f, 0xff01 | 0xff02);
    metadata || link_local || embedded(words).is_some_and(is_forbidden_v4)
}

/// The IPv4 address in one of IPv6: mapped, compatible, translated (also with a local prefix) or tunnelled.
fn embedded(words: [u16; 8]) -> Option<Ipv4Addr> {
    let ([0, 0, 0, 0, 0, 0xffff | 0, high, low]
    | [0, 0, 0, 0, 0xffff, 0, high, low]
    | [0x0064, 0xff9b, 0, 0, 0, 0, high, low]
    | [0x0064, 0xff9b, 1, _, _, _, high, low]
    | [0x2002, high, low, ..]) = words
    else {
        return None;
    };
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    Some(Ipv4Addr::new(a, b, c, d))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn forbidden(text: &str) -> bool {
        is_forbidden(text.parse().unwrap())
    }

    #[test]
    fn link_local_and_metadata_addresses_are_forbidden() {
        let all = [
            "169.254.169.254",
            "169.254.0.0",
            "169.254.170.2",
            "169.254.255.255",
            "100.100.100.200",
            "192.0.0.192",
            "168.63.129.16",
            "fe80::1",
            "febf:ffff::1",
            "ff02::1",
            "ff01::2",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd00:42::42",
            "fd20:ce::254",
            "::ffff:169.254.169.254",
            "::ffff:100.100.100.200",
            "::169.254.169.254",
            "::ffff:0:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::169.254.169.254",
            "2002:a9fe:a9fe::1",
        ];
        for address in all {
            assert!(forbidden(address), "{address}");
        }
    }

    #[test]
    fn loopback_private_and_public_addresses_are_not() {
        let all = [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.3.4",
            "192.168.1.1",
            "100.64.0.1",
            "169.253.255.255",
            "169.255.0.0",
            "8.8.8.8",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.1.2.3",
            "fd12:3456::1",
            "fec0::1",
            "fe7f::1",
            "2001:db8::1",
            "2002:0a00:0001::1",
            "64:ff9b::8.8.8.8",
        ];
        for address in all {
            assert!(!forbidden(address), "{address}");
        }
    }

    proptest! {
        #[test]
        fn every_link_local_address_is_forbidden_in_every_form(c in any::<u8>(), d in any::<u8>(), rest in any::<u128>()) {
            let v4 = Ipv4Addr::new(169, 254, c, d);
            prop_assert!(is_forbidden(v4.into()));
            prop_assert!(is_forbidden(v4.to_ipv6_mapped().into()));
            prop_assert!(is_forbidden(v4.to_ipv6_compatible().into()));
            let v6 = Ipv6Addr::from_bits((0xfe80 << 112) | (rest >> 10));
            prop_assert!(is_forbidden(v6.into()), "{}", v6);
        }

        #[test]
        fn an_address_and_its_mapped_form_are_treated_alike(bits in any::<u32>()) {
            let v4 = Ipv4Addr::from_bits(bits);
            prop_assert_eq!(is_forbidden(v4.into()), is_forbidden(v4.to_ipv6_mapped().into()));
        }

        #[test]
        fn private_addresses_stay_allowed(b in any::<u8>(), c in any::<u8>(), d in any::<u8>()) {
            for v4 in [Ipv4Addr::new(10, b, c, d), Ipv4Addr::new(127, b, c, d), Ipv4Addr::new(192, 168, c, d)] {
                prop_assert!(!is_forbidden(v4.into()), "{}", v4);
            }
        }
    }

    #[test]
    fn a_url_may_write_its_address_in_any_way() {
        let written = [
            "http://169.254.169.254/latest/",
            "http://2852039166/",
            "http://0xa9fea9fe/",
            "http://0251.0376.0251.0376/",
            "http://169.254.43518/",
            "http://[::ffff:a9fe:a9fe]/",
            "http://[fe80::1]:8080/",
            "https://user:word@169.254.169.254:443/",
        ];
        for url in written {
            let url = Url::parse(url).unwrap();
            let refused = Guard::Strict.admit(&url).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied, "{url}");
            assert!(Guard::Open.admit(&url).is_ok());
        }
        for url in [
            "http://127.0.0.1:9000",
            "http://[::1]/",
            "https://example.com",
        ] {
            assert!(Guard::Strict.admit(&Url::parse(url).unwrap()).is_ok());
        }
    }

    #[test]
    fn of_the_addresses_of_a_name_the_forbidden_ones_are_left_out() {
        let of = |texts: &[&str]| texts.iter().map(|it| it.parse().unwrap()).collect();
        let mixed = || of(&["169.254.169.254:80", "10.0.0.1:80", "[fe80::1]:80"]);
        let admitted = Guard::Strict.admitted(mixed()).unwrap();
        assert_eq!(admitted, ["10.0.0.1:80".parse().unwrap()]);
        let none = Guard::Strict.admitted(of(&["169.254.1.1:80", "[fd00:ec2::254]:80"]));
        assert_eq!(none.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(Guard::Open.admitted(mixed()).unwrap().len(), 3);
    }

    #[tokio::test]
    async fn a_host_is_resolved_to_what_may_be_connected_to() {
        for host in ["169.254.169.254", "[fe80::1]", "fd00:ec2::254"] {
            let refused = Guard::Strict.resolve(host, 80).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied, "{host}");
            assert_eq!(Guard::Open.resolve(host, 80).await.unwrap().len(), 1);
        }
        let found = Guard::Strict.resolve("localhost", 9000).await.unwrap();
        assert!(
            found
                .iter()
                .all(|at| at.ip().is_loopback() && at.port() == 9000)
        );
        let v6 = Guard::Strict.resolve("[::1]", 1).await.unwrap();
        assert_eq!(v6, ["[::1]:1".parse().unwrap()]);
    }
}
