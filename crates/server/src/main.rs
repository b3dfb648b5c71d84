//! The file service `cloakroom`: configuration, command line, and the wiring of everything.

mod cli;
mod commands;
mod config;
mod data_folder;
mod development;
mod doctor;
mod failure;
mod greeting;
mod logging;
mod new_token;
mod output;
mod progress;
mod wiring;

use std::process::ExitCode;

use clap::Parser;
use cloakroom_application::FsckOptions;
use tikv_jemallocator::Jemalloc;

use crate::{
    cli::{Cli, Command, EncryptionCommand},
    commands::{bucket, db, fsck, healthcheck, import, openapi, scrub, serve, storage, token},
    config::Config,
    failure::Failure,
};

/// The system's own holds on to half as much again once a thousand uploads have been through it.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// What a command that worked says by its exit code.
enum Outcome {
    Done,
    Findings,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Findings) => ExitCode::from(1),
        Err(failure) => failure.report(),
    }
}

fn run(cli: &Cli) -> Result<Outcome, Failure> {
    let file = cli.config.as_deref();
    if let Command::Config(command) = &cli.command {
        return commands::config::run(command, file).map(|()| Outcome::Done);
    }
    if let Command::Encryption(EncryptionCommand::NewKey { output }) = &cli.command {
        return commands::encryption::new_key(*output).map(|()| Outcome::Done);
    }
    let (config, values) = config::load(file)?;
    let _log = logging::start(&config.logging)?;
    if matches!(cli.command, Command::Serve) {
        config::announce(&values);
    }
    // Clients that do not bring their own take this one; that another is there already changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::because("the runtime cannot start", &error))?
        .block_on(act(&cli.command, &config))
}

async fn act(command: &Command, config: &Config) -> Result<Outcome, Failure> {
    match command {
        Command::Serve => serve::run(config).await?,
        Command::Healthcheck { live, output } => healthcheck::run(config, *live, *output).await?,
        Command::Doctor(args) => {
            if !commands::doctor::run(config, args).await? {
                return Ok(Outcome::Findings);
            }
        }
        Command::Config(_) => {}
        Command::Db(command) => db::run(command, config).await?,
        Command::Fsck {
            repair,
            verify,
            output,
        } => {
            let options = FsckOptions {
                repair: *repair,
                verify: *verify,
            };
            if !fsck::run(config, options, *output).await? {
                return Ok(Outcome::Findings);
            }
        }
        Command::Encryption(command) => {
            if !commands::encryption::run(command, config).await? {
                return Ok(Outcome::Findings);
            }
        }
        Command::Scrub { once, output } => {
            if !scrub::run(config, *once, *output).await? {
                return Ok(Outcome::Findings);
            }
        }
        Command::Storage(command) => {
            if !storage::run(command, config).await? {
                return Ok(Outcome::Findings);
            }
        }
        Command::Import(command) => {
            if !import::run(command, config).await? {
                return Ok(Outcome::Findings);
            }
        }
        Command::Bucket(command) => bucket::run(command, config).await?,
        Command::Token(command) => token::run(command, config).await?,
        Command::Openapi => openapi::run(config)?,
    }
    Ok(Outcome::Done)
}
