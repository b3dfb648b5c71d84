//! Where a request came from, behind proxies that are trusted to say so.

use std::net::{IpAddr, SocketAddr};

use actix_web::http::header::{HeaderMap, HeaderName, X_FORWARDED_FOR};
use ipnet::IpNet;

const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// The client's address: the peer's, unless the peer is a trusted proxy; then the one `X-Real-IP`, else the right-most
/// untrusted address of `X-Forwarded-For`. `None` where not even the peer is known.
///
/// What cannot be read is not believed: a second `X-Real-IP`, or one that is no address, counts as none, and a hop
/// that is no address ends the walk at the last one that was.
pub(crate) fn address(
    peer: Option<SocketAddr>,
    headers: &HeaderMap,
    trusted: &[IpNet],
) -> Option<IpAddr> {
    let peer = peer?.ip().to_canonical();
    if !is_trusted(peer, trusted) {
        return Some(peer);
    }
    Some(real_ip(headers).unwrap_or_else(|| forwarded_for(peer, headers, trusted)))
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|net| net.contains(&address))
}

fn real_ip(headers: &HeaderMap) -> Option<IpAddr> {
    let mut values = headers.get_all(REAL_IP);
    let only = values.next().filter(|_| values.next().is_none())?;
    read(only.to_str().ok()?)
}

fn forwarded_for(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let lines: Vec<_> = headers.get_all(X_FORWARDED_FOR).collect();
    let mut last = peer;
    for line in lines.into_iter().rev() {
        for hop in line.as_bytes().rsplit(|byte| *byte == b',') {
            let Some(hop) = std::str::from_utf8(hop).ok().and_then(read) else {
                return last;
            };
            last = hop;
            if !is_trusted(hop, trusted) {
                return last;
            }
        }
    }
    last
}

/// An address, bare, in brackets, or with a port.
fn read(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    let address = bare
        .parse()
        .or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    const PROXY: &str = "10.0.0.1";

    fn client(peer: &str, headers: &[(HeaderName, &str)]) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            map.append(name.clone(), value);
        }
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "fd00::/8"]
            .iter()
            .map(|net| net.parse().unwrap())
            .collect();
        let peer = SocketAddr::new(peer.parse().unwrap(), 4711);
        address(Some(peer), &map, &trusted).unwrap().to_string()
    }

    #[test]
    fn a_stranger_says_nothing_about_itself() {
        let forged = [(REAL_IP, "192.0.2.9"), (X_FORWARDED_FOR, "192.0.2.9")];
        assert_eq!(client("203.0.113.1", &forged), "203.0.113.1");
        assert_eq!(client("::ffff:203.0.113.1", &forged), "203.0.113.1");
        assert_eq!(client(PROXY, &forged), "192.0.2.9");
        assert_eq!(client("::ffff:10.1.2.3", &forged), "192.0.2.9");
        assert_eq!(client(PROXY, &[]), PROXY);
    }

    #[test]
    fn of_the_hops_the_right_most_untrusted_one_counts() {
        for (hops, expected) in [
            ("192.0.2.9", "192.0.2.9"),
            ("198.51.100.7, 192.0.2.9", "192.0.2.9"),
            ("192.0.2.9, 10.0.0.2,10.0.0.3", "192.0.2.9"),
            ("10.0.0.9, 10.0.0.2", "10.0.0.9"),
            ("192.0.2.9:443, [fd00::1]:80", "192.0.2.9"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("::ffff:192.0.2.9", "192.0.2.9"),
            ("192.0.2.9, unknown", PROXY),
            ("192.0.2.9, , 10.0.0.2", "10.0.0.2"),
            ("192.0.2.9, 999.1.1.1, 10.0.0.2", "10.0.0.2"),
            ("", PROXY),
            ("_hidden", PROXY),
            ("192.0.2.9\u{e9}", PROXY),
            ("fe80::1%eth0", PROXY),
        ] {
            assert_eq!(
                client(PROXY, &[(X_FORWARDED_FOR, hops)]),
                expected,
                "{hops}"
            );
        }
        let lines = [
            (X_FORWARDED_FOR, "198.51.100.7"),
            (X_FORWARDED_FOR, "192.0.2.9, 10.0.0.2"),
        ];
        assert_eq!(client(PROXY, &lines), "192.0.2.9");
    }

    #[test]
    fn a_real_ip_counts_if_it_is_one_and_the_only_one() {
        let hop = (X_FORWARDED_FOR, "192.0.2.9");
        let real = |value| vec![(REAL_IP, value), hop.clone()];
        assert_eq!(client(PROXY, &real("198.51.100.7")), "198.51.100.7");
        assert_eq!(client(PROXY, &real(" 2001:db8::5 ")), "2001:db8::5");
        for bad in [
            "",
            "unknown",
            "1.2.3",
            "198.51.100.7, 198.51.100.8",
            "\u{ff}",
        ] {
            assert_eq!(client(PROXY, &real(bad)), "192.0.2.9", "{bad}");
        }
        let twice = [(REAL_IP, "198.51.100.7"), (REAL_IP, "198.51.100.8"), hop];
        assert_eq!(client(PROXY, &twice), "192.0.2.9");
    }
}
