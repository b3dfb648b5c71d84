//! Whether the addresses that the service tells are below the one that it was called at.

use std::collections::BTreeSet;

use super::Ended;
use crate::doctor::{deployment::Deployment, facts::Told, finding::Finding};

/// Compares every address that was told so far.
pub(crate) async fn look(deployment: &Deployment, found: &mut Vec<Finding>) -> Ended {
    let told = deployment.facts.told();
    if told.is_empty() {
        return Err(Finding::unknown(
            "no address was told: nothing could be stored",
        ));
    }
    let right = |told: &&Told| is_below(&told.address, deployment.base());
    let wrong: Vec<&Told> = told.iter().filter(|told| !right(told)).collect();
    let kinds: BTreeSet<&str> = wrong.iter().map(|told| told.what).collect();
    for kind in kinds {
        let first = wrong.iter().find(|told| told.what == kind);
        let address = first.map_or("", |told| told.address.as_str());
        let text = format!(
            "{kind} is {address}, which is not below {}",
            deployment.base()
        );
        // What is in a body nobody changes on the way; where only headers are wrong, the proxy did it.
        let bodies_right = told.iter().any(|told| told.what.starts_with("public_url"))
            && !wrong.iter().any(|told| told.what.starts_with("public_url"));
        found.push(if bodies_right {
            Finding::fault(format!("{text}: the proxy changes it")).nginx("proxy_redirect off;")
        } else {
            Finding::fault(text).setting(format!("CLOAKROOM_PUBLIC_URL={}", deployment.base()))
        });
    }
    if wrong.is_empty() {
        let kinds: BTreeSet<&str> = told.iter().map(|told| told.what).collect();
        let kinds: Vec<&str> = kinds.into_iter().collect();
        found.push(Finding::ok(format!("right in: {}", kinds.join(", "))));
    }
    Ok(())
}

fn is_below(address: &str, base: &str) -> bool {
    let rest = address.strip_prefix(base);
    rest.is_some_and(|rest| rest.starts_with('/') && rest.len() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_below_the_public_one_by_scheme_host_port_and_path() {
        let base = "https://a.example/files";
        assert!(is_below("https://a.example/files/uploads/1", base));
        for other in [
            "http://a.example/files/1",
            "https://a.example:8443/files/1",
            "https://a.example/filesystem/1",
            "https://a.example/1",
            "https://a.example/files/",
            "/files/1",
        ] {
            assert!(!is_below(other, base), "{other}");
        }
    }
}
