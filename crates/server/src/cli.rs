//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use cloakroom_domain::PrincipalKind;

use crate::config::arguments;

const EXIT_CODES: &str = "\
Exit codes:
  0  done; for fsck, scrub, import, encryption and doctor: nothing found
  1  failed; for fsck: something was found, repaired or not; for scrub: there are findings; for import: rows were not
     taken; for healthcheck: not ready; for doctor: there are faults; for encryption: a key is missing
  2  wrong configuration or command line; for fsck, scrub, import, encryption and doctor: could not look

Settings are environment variables or a TOML file; `cloakroom config show` lists them.";

/// A file service that stands beside a web application.
#[derive(Debug, Parser)]
#[command(name = "cloakroom", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// A TOML file with settings; the environment comes before it
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the service until SIGTERM or SIGINT
    Serve,
    /// Ask the service at the configured address whether it is ready, for at most 3 s
    Healthcheck {
        /// Ask only whether the process lives, not its database and store
        #[arg(long)]
        live: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Look at a running deployment from outside, through its proxy, and say what is wrong
    ///
    /// Uploads, resumes, downloads and asks as browsers do, and says of everything that is not as it should be why, and
    /// which line of the configuration mends it. Wants a token that may upload, from --token-file or
    /// CLOAKROOM_DOCTOR_TOKEN. Removes what it made, also after Ctrl-C. Trusts the system's certificates, or those in
    /// SSL_CERT_FILE instead. Exit codes: 0 no faults, 1 faults, 2 no faults, but not everything could be looked at.
    Doctor(DoctorArgs),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look after the database
    #[command(subcommand)]
    Db(DbCommand),
    /// Compare rows and objects both ways
    ///
    /// May run beside the service. Prints a line for each finding.
    /// Exit codes: 0 nothing found, 1 something was found (also if it was repaired), 2 could not look.
    Fsck {
        /// Remove what no row leads to; missing bytes cannot be repaired
        #[arg(long)]
        repair: bool,
        /// Read every body and compare its hash
        #[arg(long)]
        verify: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Make keys for encryption at rest, look at them, and change them
    #[command(subcommand)]
    Encryption(EncryptionCommand),
    /// Say how the scrub stands, which reads stored bytes again and compares them with their hashes
    ///
    /// The service scrubs by itself every CLOAKROOM_SCRUB_INTERVAL. Prints a line for each finding. Exit codes: 0 no
    /// findings, 1 findings, 2 could not look.
    Scrub {
        /// Scrub now, to the end of a round, at most CLOAKROOM_SCRUB_RATE bytes a second; goes on with a round that was
        /// left, and may run beside the service
        #[arg(long)]
        once: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Look after the store that takes new files, and move everything to another
    #[command(subcommand)]
    Storage(StorageCommand),
    /// Take files over from another service
    #[command(subcommand)]
    Import(ImportCommand),
    /// Make, list and remove buckets of objects, and say which services may use them
    #[command(subcommand)]
    Bucket(BucketCommand),
    /// Make, list and revoke tokens of people and services
    #[command(subcommand)]
    Token(TokenCommand),
    /// Print the API's description as OpenAPI (JSON)
    Openapi,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Every setting with its value, secrets masked, and where the value came from
    Show {
        #[command(flatten)]
        output: Output,
    },
    /// Say whether the configuration is right. Exit codes: 0 right, 2 wrong
    Check {
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DbCommand {
    /// Bring the schema up to date, as `serve` does when it starts
    Migrate {
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum EncryptionCommand {
    /// Print a new master key, and its id behind a `#`, for CLOAKROOM_ENCRYPTION_KEY or the file of it
    NewKey {
        #[command(flatten)]
        output: Output,
    },
    /// List the master keys that are configured or in use. Exit codes: 0 all are there, 1 one is missing, 2 could not look
    Keys {
        #[command(flatten)]
        output: Output,
    },
    /// Seal the key of every file under the first of the configured master keys
    ///
    /// Changes rows of the database, never the bytes of a file. May run beside the service, once every replica has the new
    /// key, and again: a run that was cut short goes on where it ended.
    /// Exit codes: 0 every key is sealed under the current master key, 1 some are not, 2 could not do it.
    Rotate {
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum StorageCommand {
    /// Write, read, list and delete an object in the store that takes new files. Exit codes: 0 it works, 1 it does not
    Probe {
        #[command(flatten)]
        output: Output,
    },
    /// Move every file to another store, while the service runs or without it
    ///
    /// Tells how far it is until it is over. Ctrl-C leaves the rest to the service; `cancel` stops it.
    /// Exit codes: 0 everything is there, 1 some files are not, or it could not be done.
    Migrate(MigrateArgs),
    /// How far the newest migration is
    Status {
        #[command(flatten)]
        output: Output,
    },
    /// Stop the migration under way; every file can be read where it is, and the same `migrate` goes on
    Cancel {
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    /// The driver of the new store: fs, s3, webdav and so on
    #[arg(long)]
    pub(crate) driver: String,
    /// A JSON file with the driver's settings by their names, or `-` for standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) settings: PathBuf,
    /// Leave the bytes in the old store
    #[arg(long)]
    pub(crate) keep: bool,
    /// Only try the new store and tell what would move
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImportCommand {
    /// The files of the FastAPI service: its rows are copied, its objects stay where they are
    ///
    /// May run beside the service, and again: what is here already is not looked at, so a run that was cut short goes
    /// on where it ended. A row is taken if its object is in the store with the row's size; every other is told, with
    /// the reason. Exit codes: 0 every row is here, 1 some rows were not taken, 2 could not look.
    Pneumatic {
        #[command(flatten)]
        from: PneumaticArgs,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Args)]
pub(crate) struct PneumaticArgs {
    /// The database with the table `files`, if it is not the service's own. One with a password is better given as
    /// CLOAKROOM_IMPORT_DATABASE_URL: everyone on the machine can read arguments
    #[arg(long, value_name = "URL")]
    pub(crate) database_url: Option<String>,
    /// The objects of an account are in the bucket PREFIX-ACCOUNT; the configured prefix unless given
    #[arg(long, value_name = "PREFIX")]
    pub(crate) bucket_prefix: Option<String>,
    /// Look at everything and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// The address of the files API as clients know it; CLOAKROOM_PUBLIC_URL unless given
    #[arg(long, value_name = "URL", value_parser = arguments::web_address)]
    pub(crate) url: Option<String>,
    /// A file with the token; CLOAKROOM_DOCTOR_TOKEN unless given
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// The account to upload for, where the token is a service's or an admin's without one
    #[arg(long, value_name = "ID")]
    pub(crate) account: Option<String>,
    /// How large the largest bodies are; at most what the service takes
    #[arg(long, value_name = "SIZE", default_value = "16MiB", value_parser = arguments::body_size)]
    pub(crate) large: u64,
    /// The origin of a page that uses the service; the first of CLOAKROOM_ALLOWED_ORIGINS unless given
    #[arg(long, value_name = "ORIGIN", value_parser = arguments::origin)]
    pub(crate) origin: Option<String>,
    /// Somebody else's file, about which the application is asked when the token's owner wants to read it
    #[arg(long, value_name = "ID")]
    pub(crate) hook_file: Option<String>,
    /// Only these checks, with commas, and what they cannot do without; docs/doctor.md has their names
    #[arg(long, value_name = "CHECKS", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// How long all of it may take, without cleaning up (at most 15 s more)
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = arguments::time_limit)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token. It is printed once and kept as a hash
    Create {
        #[command(flatten)]
        new: NewTokenArgs,
        #[command(flatten)]
        output: Output,
    },
    /// List all tokens, newest first
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Refuse a token from now on; a running service has heard of it within 5 s
    Revoke {
        /// The token's id, as `token list` prints it
        id: String,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Args)]
pub(crate) struct NewTokenArgs {
    /// What kind of caller it makes
    #[arg(long)]
    pub(crate) kind: TokenKind,
    /// What people call it
    #[arg(long)]
    pub(crate) name: String,
    /// The account it acts in: needed for a user, possible for a service and an admin
    #[arg(long, value_name = "ID")]
    pub(crate) account: Option<String>,
    /// The user it is: needed for a user
    #[arg(long, value_name = "ID")]
    pub(crate) user: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BucketCommand {
    /// Make a bucket, or set all of its policy anew; it holds from the next request on
    Set {
        #[command(flatten)]
        new: BucketArgs,
        #[command(flatten)]
        output: Output,
    },
    /// List all buckets by name
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Remove an empty bucket
    Remove {
        /// The bucket's name
        name: String,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Args)]
pub(crate) struct BucketArgs {
    /// 1 to 63 of a-z, 0-9, ".", "_" and "-", with a letter or digit at both ends
    pub(crate) name: String,
    /// The account that objects are stored for: needed once, and stays
    #[arg(long, value_name = "ID")]
    pub(crate) account: Option<String>,
    /// What the tokens of a service may do, by the name that they were made with: read, write, delete, list. May be
    /// given for several services
    #[arg(long, value_name = "SERVICE=RIGHT,…")]
    pub(crate) grant: Vec<String>,
    /// Let anybody get objects, without a credential too
    #[arg(long)]
    pub(crate) public_read: bool,
    /// The largest object; as large as a file unless given
    #[arg(long, value_name = "SIZE", value_parser = arguments::object_size)]
    pub(crate) max_size: Option<u64>,
    /// A media type that is taken, type/subtype or type/*; every one unless given. May be given several times
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) content_type: Vec<String>,
}

/// The kinds of callers that tokens are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TokenKind {
    /// Another service of the same system
    Service,
    /// A user of an account
    User,
    /// The operator
    Admin,
}

impl From<TokenKind> for PrincipalKind {
    fn from(kind: TokenKind) -> Self {
        match kind {
            TokenKind::Service => Self::Service,
            TokenKind::User => Self::User,
            TokenKind::Admin => Self::Admin,
        }
    }
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Output {
    /// Print JSON for a script
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
