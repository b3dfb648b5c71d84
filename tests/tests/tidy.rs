//! The rules of the repository that no compiler knows.

#![cfg(test)]

use std::{
    fs,
    path::{Path, PathBuf},
};

const MAX_LINES: usize = 400;

/// Files that may be longer, each with its reason.
const LONG_FOR_A_REASON: [(&str, &str); 0] = [];

/// A crate, and what it must never depend on.
const FORBIDDEN: [(&str, &[&str]); 4] = [
    (
        "domain",
        &[
            "cloakroom-",
            "tokio",
            "serde",
            "sqlx",
            "actix",
            "async-",
            "futures",
            "reqwest",
            "redis",
            "aws-",
            "hyper",
            "http",
            "rustix",
            "tempfile",
        ],
    ),
    (
        "application",
        &[
            "cloakroom-infrastructure",
            "cloakroom-presentation",
            "cloakroom-server",
            "sqlx",
            "aws-",
            "redis",
            "actix",
            "reqwest",
            "hyper",
        ],
    ),
    (
        "infrastructure",
        &["cloakroom-presentation", "cloakroom-server", "actix"],
    ),
    (
        "presentation",
        &[
            "cloakroom-infrastructure",
            "cloakroom-server",
            "sqlx",
            "aws-",
            "redis",
        ],
    ),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// Every Rust file of the workspace by its path from the root, with its text.
fn sources() -> Vec<(String, String)> {
    let mut folders = vec![root().join("crates"), root().join("tests")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(found.len() > 20, "only {} files found", found.len());
    found
}

fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn every_file_opens_with_what_it_is() {
    let silent: Vec<String> = sources()
        .into_iter()
        .filter(|(_, text)| !text.lines().next().is_some_and(|l| l.starts_with("//! ")))
        .map(|(name, _)| name)
        .collect();
    none("files that do not open with a line `//! …`", &silent);
}

#[test]
fn no_file_is_too_long_to_read() {
    let long: Vec<String> = sources()
        .into_iter()
        .map(|(name, text)| (name, text.lines().count()))
        .filter(|(name, lines)| {
            let excused = LONG_FOR_A_REASON.iter().any(|(long, _)| long == name);
            *lines > MAX_LINES && !excused
        })
        .map(|(name, lines)| format!("{name}: {lines} lines"))
        .collect();
    none("files of more than 400 lines", &long);
}

#[test]
fn nothing_is_left_for_later() {
    // In two parts each, so that this file passes its own test.
    let marks = [
        ("TO", "DO"),
        ("FIX", "ME"),
        ("XX", "X"),
        ("db", "g!("),
        ("to", "do!("),
        ("unimple", "mented!("),
    ]
    .map(|(start, end)| format!("{start}{end}"));
    let mut left = Vec::new();
    for (name, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| says(line, mark)) {
                left.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    none("lines that put something off", &left);
}

/// Whether the mark stands in the line as a word of its own.
fn says(line: &str, mark: &str) -> bool {
    let inside_a_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    line.match_indices(mark).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + mark.len()..]);
        let open = mark.ends_with('(');
        !inside_a_word(before.chars().next_back()) && (open || !inside_a_word(after.chars().next()))
    })
}

#[test]
fn no_crate_depends_on_what_it_must_not_know() {
    let mut edges = Vec::new();
    for (name, forbidden) in FORBIDDEN {
        for dependency in dependencies(name) {
            if forbidden.iter().any(|f| dependency.starts_with(f)) {
                edges.push(format!("{name} -> {dependency}"));
            }
        }
    }
    none("dependencies that the architecture forbids", &edges);
}

/// The names of what a crate depends on, for whatever target, bar what only its tests use.
fn dependencies(name: &str) -> Vec<String> {
    let file = root().join("crates").join(name).join("Cargo.toml");
    let manifest: toml::Table = fs::read_to_string(file).unwrap().parse().unwrap();
    let mut tables = vec![&manifest];
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let targets = targets.into_iter().flat_map(toml::Table::values);
    tables.extend(targets.filter_map(toml::Value::as_table));
    let mut names = Vec::new();
    for table in tables {
        for kind in ["dependencies", "build-dependencies"] {
            let Some(entries) = table.get(kind).and_then(toml::Value::as_table) else {
                continue;
            };
            for (name, entry) in entries {
                // A renamed crate is known by what it is.
                let package = entry.get("package").and_then(toml::Value::as_str);
                names.push(package.unwrap_or(name).to_owned());
            }
        }
    }
    names
}
