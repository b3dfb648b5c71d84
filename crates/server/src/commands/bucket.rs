//! `cloakroom bucket set`, `list` and `remove`.

use cloakroom_application::ports::{
    BucketRemoved, BucketRepository, BucketSet, NewBucket, RepositoryError,
};
use cloakroom_domain::{
    AccountId, BucketGrant, BucketName, BucketPolicy, BucketRight, ObjectBucket, TypeRule,
};
use cloakroom_infrastructure::metadata::Database;
use cloakroom_presentation::BucketBody;

use crate::{
    cli::{BucketArgs, BucketCommand, Output},
    config::Config,
    failure::Failure,
    output::{say, say_json},
    wiring::database,
};

/// Buckets asked for at a time.
const PAGE: u32 = 500;

/// Runs the command.
///
/// # Errors
/// The arguments do not fit together, or the database failed.
pub(crate) async fn run(command: &BucketCommand, config: &Config) -> Result<(), Failure> {
    match command {
        BucketCommand::Set { new, output } => {
            let new = bucket(new)?;
            let database = database::open(config, false).await?;
            let done = set(&database, new, *output).await;
            database.close().await;
            done
        }
        BucketCommand::List { output } => {
            let database = database::open_as_it_is(config).await?;
            let done = list(&database, *output).await;
            database.close().await;
            done
        }
        BucketCommand::Remove { name: text, output } => {
            let name = name(text)?;
            let database = database::open_as_it_is(config).await?;
            let done = remove(&database, &name, *output).await;
            database.close().await;
            done
        }
    }
}

fn name(text: &str) -> Result<BucketName, Failure> {
    BucketName::parse(text).map_err(|error| Failure::usage(format!("a bucket's name {error}")))
}

/// The bucket that the arguments describe.
fn bucket(args: &BucketArgs) -> Result<NewBucket, Failure> {
    let grants: Result<_, Failure> = args.grant.iter().map(|text| grant(text)).collect();
    let types: Result<_, Failure> = args.content_type.iter().map(|text| rule(text)).collect();
    let mut policy = BucketPolicy::new(grants?, types?)
        .map_err(|error| Failure::usage(format!("--grant, --type: {error}")))?;
    policy.public_read = args.public_read;
    policy.max_size = args.max_size;
    let account = args.account.clone().map(AccountId::parse).transpose();
    Ok(NewBucket {
        name: name(&args.name)?,
        account: account.map_err(|error| Failure::usage(format!("--account {error}")))?,
        policy,
    })
}

/// `SERVICE=RIGHT,RIGHT`; a service's name may have `=` in it.
fn grant(text: &str) -> Result<BucketGrant, Failure> {
    let complaint = || {
        let example = "--grant is SERVICE=RIGHT,… with the rights read, write, delete and list";
        Failure::usage(format!("{example}, not \"{text}\""))
    };
    let (service, rights) = text.rsplit_once('=').ok_or_else(complaint)?;
    let mut known: Vec<BucketRight> = Vec::new();
    for right in rights.split(',') {
        let right = BucketRight::parse(right.trim()).ok_or_else(complaint)?;
        if !known.contains(&right) {
            known.push(right);
        }
    }
    Ok(BucketGrant {
        service: service.to_owned(),
        rights: known,
    })
}

fn rule(text: &str) -> Result<TypeRule, Failure> {
    TypeRule::parse(text)
        .ok_or_else(|| Failure::usage(format!("--type is type/subtype or type/*, not \"{text}\"")))
}

async fn set(buckets: &Database, new: NewBucket, output: Output) -> Result<(), Failure> {
    let name = new.name.clone();
    let set = buckets.set_bucket(new).await;
    let (bucket, done) = match set.map_err(|error| failed(&error))? {
        BucketSet::Made(bucket) => (bucket, "made"),
        BucketSet::Changed(bucket) => (bucket, "changed"),
        BucketSet::OtherAccount => {
            let text = format!("the bucket {name} stays with the account that it was made for");
            return Err(Failure::new(text));
        }
        BucketSet::NoAccount => {
            return Err(Failure::usage("a new bucket needs --account"));
        }
    };
    if output.json {
        return say_json(&BucketBody::from(&bucket));
    }
    say(&format!("{done} {}", line(&bucket)))
}

async fn list(buckets: &Database, output: Output) -> Result<(), Failure> {
    let mut all: Vec<ObjectBucket> = Vec::new();
    loop {
        let after = all.last().map(|bucket| bucket.name.clone());
        let page = buckets.buckets(after.as_ref(), PAGE).await;
        let page = page.map_err(|error| failed(&error))?;
        if page.is_empty() {
            break;
        }
        all.extend(page);
    }
    if output.json {
        let bodies: Vec<BucketBody> = all.iter().map(BucketBody::from).collect();
        return say_json(&bodies);
    }
    all.iter().try_for_each(|bucket| say(&line(bucket)))
}

async fn remove(buckets: &Database, name: &BucketName, output: Output) -> Result<(), Failure> {
    let removed = buckets.remove_bucket(name).await;
    let removed = removed.map_err(|error| failed(&error))?;
    if output.json {
        let removed = removed == BucketRemoved::Gone;
        say_json(&serde_json::json!({ "bucket": name.as_str(), "removed": removed }))?;
    }
    match removed {
        BucketRemoved::Gone if output.json => Ok(()),
        BucketRemoved::Gone => say(&format!("removed {name}")),
        BucketRemoved::NotEmpty => Err(Failure::new(format!("there are objects in {name}"))),
        BucketRemoved::Missing => Err(Failure::new(format!("there is no bucket {name}"))),
    }
}

fn line(bucket: &ObjectBucket) -> String {
    let policy = &bucket.policy;
    let mut parts = vec![format!("{}  account {}", bucket.name, bucket.account)];
    if policy.public_read {
        parts.push("public".to_owned());
    }
    if let Some(size) = policy.max_size {
        parts.push(format!("at most {size} bytes"));
    }
    let types: Vec<&str> = policy.types().iter().map(TypeRule::as_str).collect();
    if !types.is_empty() {
        parts.push(types.join(" "));
    }
    for grant in policy.grants() {
        let rights: Vec<&str> = grant.rights.iter().map(|right| right.as_str()).collect();
        parts.push(format!("{}={}", grant.service, rights.join(",")));
    }
    parts.join("  ")
}

fn failed(error: &RepositoryError) -> Failure {
    Failure::because("the buckets", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_names_a_service_and_rights() {
        let read = grant("billing=read,list,read").unwrap();
        assert_eq!(read.service, "billing");
        assert_eq!(read.rights, [BucketRight::Read, BucketRight::List]);
        assert_eq!(grant("a=b=write").unwrap().service, "a=b");
        for bad in ["billing", "billing=", "billing=chew", "=,"] {
            assert!(grant(bad).is_err(), "{bad}");
        }
        assert!(rule("image/*").is_ok() && rule("image").is_err());
        assert!(name("Files").is_err());
    }
}
