//! Holds the structure: which room may know whom, how every room opens, and a few habits that no lint knows.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Room -> the rooms that it may know. An edge that is not here is a decision to take first (docs/architecture.md).
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("policy", &["model"]),
    ("detect", &["model"]),
    ("aws", &["model"]),
    ("pki", &[]),
    ("mqtt", &[]),
    ("store", &["model"]),
    ("endpoint", &["model", "mqtt", "policy", "pki"]),
    ("respond", &["model", "store"]),
    ("api", &["model", "policy", "aws", "pki", "store"]),
    (
        "server",
        &[
            "model", "policy", "detect", "aws", "pki", "mqtt", "store", "endpoint", "respond", "api",
        ],
    ),
    ("agent", &["model", "mqtt"]),
    ("sim", &["model", "mqtt", "aws"]),
    ("cli", &["model", "aws"]),
    ("picket", &["server", "cli"]),
];

/// Rooms that turn values into values: no clock, no socket, no disk.
const PURE: &[&str] = &["model", "policy", "detect", "aws", "pki"];

const LINES_MAX: usize = 600;

#[test]
fn rooms_know_only_whom_they_may() {
    let may_know: BTreeMap<&str, &[&str]> = MAY_KNOW.iter().copied().collect();
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let path = entry.unwrap().path();
        let room = path.file_name().unwrap().to_str().unwrap().to_owned();
        let manifest: toml::Table = fs::read_to_string(path.join("Cargo.toml")).unwrap().parse().unwrap();
        let allowed = may_know
            .get(room.as_str())
            .unwrap_or_else(|| panic!("room {room} is not in the table of edges"));
        for section in ["dependencies", "build-dependencies", "dev-dependencies"] {
            for name in manifest
                .get(section)
                .and_then(|deps| deps.as_table())
                .into_iter()
                .flat_map(toml::Table::keys)
            {
                if let Some(neighbour) = name.strip_prefix("picket-") {
                    assert!(
                        allowed.contains(&neighbour),
                        "{room} knows {neighbour} in [{section}], which it may not"
                    );
                }
            }
        }
        found.insert(room);
    }
    let listed: BTreeSet<String> = may_know.keys().map(|&room| room.to_owned()).collect();
    assert_eq!(found, listed, "the rooms on disk and in the table differ");
}

#[test]
fn every_room_opens_with_what_it_is_for() {
    for (room, _) in MAY_KNOW {
        let folder = root().join("crates").join(room).join("src");
        let file = [folder.join("lib.rs"), folder.join("main.rs")]
            .into_iter()
            .find(|file| file.exists())
            .unwrap();
        let text = fs::read_to_string(&file).unwrap();
        let n_lines = text.lines().take_while(|line| line.starts_with("//!")).count();
        assert!(
            n_lines >= 3,
            "{} opens with {n_lines} lines of //!, expected what the room is for and never does",
            file.display()
        );
    }
}

#[test]
fn pure_rooms_stay_pure() {
    let banned = [
        "std::net::Tcp",
        "std::net::Udp",
        "std::fs",
        "tokio::",
        "SystemTime",
        "Instant::",
        "std::env",
    ];
    for_each_source(|room, path, text| {
        if !PURE.contains(&room) || !path.to_str().unwrap().contains("/src/") {
            return;
        }
        let code = before_tests(text);
        for word in banned {
            assert!(
                !code.contains(word),
                "{} is in a pure room and names {word}",
                path.display()
            );
        }
    });
}

#[test]
fn sentences_stand_where_their_room_is() {
    let homes: [(&str, &[&str]); 6] = [
        ("SELECT ", &["store"]),
        ("$aws/things/", &["model"]),
        ("/proc/net", &["agent"]),
        ("x-amzn-errortype", &["aws"]),
        ("AWS4-HMAC-SHA256", &["aws"]),
        ("rustls::ServerConfig", &["endpoint"]),
    ];
    for_each_source(|room, path, text| {
        if !path.to_str().unwrap().contains("/src/") {
            return;
        }
        let code: String = before_tests(text)
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        for (word, rooms) in homes {
            assert!(
                rooms.contains(&room) || !code.contains(word),
                "{} names {word}, which lives in {rooms:?}",
                path.display()
            );
        }
    });
}

#[test]
fn files_are_chapters() {
    for_each_source(|_, path, text| {
        let n_lines = before_tests(text).lines().count();
        assert!(
            n_lines <= LINES_MAX,
            "{} has {n_lines} lines, split it by noun below {LINES_MAX}",
            path.display()
        );
        for stem in ["utils", "common", "helpers", "manager", "misc"] {
            assert_ne!(
                path.file_stem().unwrap(),
                stem,
                "{} has a name that says nothing",
                path.display()
            );
        }
        for word in ["fn validate", "fn is_valid", "fn get_", "#[ignore"] {
            let is_here = text.contains(word) && !path.ends_with("tidy.rs");
            assert!(!is_here, "{} has {word:?}: see the house style", path.display());
        }
    });
}

#[test]
fn licences_are_permissive() {
    let metadata = std::process::Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
            &host(),
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        metadata.status.success(),
        "{}",
        String::from_utf8_lossy(&metadata.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let permitted = [
        "Apache-2.0",
        "MIT",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "ISC",
        "Zlib",
        "Unicode-3.0",
        "Unlicense",
        "CC0-1.0",
        "0BSD",
        "MIT-0",
        "CDLA-Permissive-2.0",
        "OpenSSL",
        "BSL-1.0",
        "blessing",
        "BlueOak-1.0.0",
    ];
    for package in metadata["packages"].as_array().unwrap() {
        let licence = package["license"].as_str().unwrap_or_default();
        let is_permissive = licence.replace('/', " OR ").split(" OR ").any(|choice| {
            choice
                .split(" AND ")
                .all(|part| permitted.contains(&part.trim_matches(['(', ')', ' ']).split(" WITH ").next().unwrap()))
        });
        assert!(
            is_permissive,
            "{} has licence {licence:?}, which is not on the list",
            package["name"]
        );
    }
}

/// The platform that is built here: what other platforms would pull in was never downloaded.
fn host() -> String {
    let output = std::process::Command::new("rustc").arg("-vV").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .unwrap()
        .to_owned()
}

fn before_tests(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap()
}

fn for_each_source(mut check: impl FnMut(&str, &Path, &str)) {
    for (room, _) in MAY_KNOW {
        let mut folders = vec![root().join("crates").join(room)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    check(room, &path, &fs::read_to_string(&path).unwrap());
                }
            }
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap()
        .to_owned()
}
