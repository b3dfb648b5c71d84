//! A permission backend that answers as it is told, and remembers what it was asked.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use cloakroom_application::{
    Caller, PermissionOptions, Permissions,
    ports::{Check, Credential, Keep, PermissionBackend, PermissionError, Presented, Ruling},
};
use cloakroom_domain::{AccountId, Action, Principal, PrincipalKind, UserId};

/// What it does about a question.
#[derive(Debug, Clone, Copy)]
pub enum Act {
    /// Answers every check so.
    Say(bool, Keep),
    /// Fails.
    Fail,
    /// Is there, and says neither yes nor no.
    NoRuling,
    /// Says nothing, for ever.
    Hang,
    /// Answers one check too few.
    Short,
}

pub const YES: Act = Act::Say(true, Keep::Usual);
pub const NO: Act = Act::Say(false, Keep::Usual);

/// A question, as it came.
pub type Asked = (Credential, Vec<Check>);

#[derive(Clone)]
pub struct Scripted {
    act: Arc<Mutex<Act>>,
    delay: Duration,
    most: usize,
    asked: Arc<Mutex<Vec<Asked>>>,
    now: Arc<AtomicUsize>,
    peak: Arc<AtomicUsize>,
}

impl Scripted {
    pub fn new(act: Act) -> Self {
        Self {
            act: Arc::new(Mutex::new(act)),
            delay: Duration::ZERO,
            most: 1,
            asked: Arc::default(),
            now: Arc::default(),
            peak: Arc::default(),
        }
    }

    /// Takes so long for every answer.
    pub fn slow(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Takes that many checks in a question.
    pub fn batching(self, most: usize) -> Self {
        Self { most, ..self }
    }

    pub fn will(&self, act: Act) {
        *self.act.lock().unwrap() = act;
    }

    /// How many checks came in each question so far.
    pub fn questions(&self) -> Vec<usize> {
        let asked = self.asked.lock().unwrap();
        asked.iter().map(|(_, checks)| checks.len()).collect()
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The most questions that were under way at the same time.
    pub fn peak(&self) -> usize {
        self.peak.load(Ordering::SeqCst)
    }

    pub fn permissions(&self) -> Permissions {
        self.permissions_with(|_| {})
    }

    pub fn permissions_with(&self, change: impl FnOnce(&mut PermissionOptions)) -> Permissions {
        let mut options = PermissionOptions {
            actions: vec![Action::Read],
            concurrency: 8,
            patience: Duration::from_secs(3),
            entries: 1000,
        };
        change(&mut options);
        Permissions::of(Arc::new(self.clone()), options)
    }
}

struct Leaving(Arc<AtomicUsize>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl PermissionBackend for Scripted {
    async fn ask(
        &self,
        credential: &Credential,
        checks: &[Check],
    ) -> Result<Vec<Ruling>, PermissionError> {
        let question = (credential.clone(), checks.to_vec());
        self.asked.lock().unwrap().push(question);
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.peak.fetch_max(now, Ordering::SeqCst);
        let _leaving = Leaving(self.now.clone());
        let act = *self.act.lock().unwrap();
        tokio::time::sleep(self.delay).await;
        let rulings = |allow, keep, count| {
            let ruling = Ruling {
                allow,
                keep,
                reason: Some("because".to_owned()),
            };
            vec![ruling; count]
        };
        match act {
            Act::Say(allow, keep) => Ok(rulings(allow, keep, checks.len())),
            Act::Short => Ok(rulings(true, Keep::Usual, checks.len() - 1)),
            Act::Fail => Err(PermissionError::Failed("scripted".into())),
            Act::NoRuling => Err(PermissionError::NoRuling("scripted".into())),
            Act::Hang => std::future::pending().await,
        }
    }

    fn most_checks(&self) -> usize {
        self.most
    }
}

/// A user of account 1 with that DRF-like token.
pub fn user(id: &str, token: &str) -> Caller {
    caller(
        PrincipalKind::User,
        Some(id),
        Credential::Bearer(Presented::new(token.to_owned())),
    )
}

pub fn caller(kind: PrincipalKind, user: Option<&str>, credential: Credential) -> Caller {
    Caller {
        principal: Principal {
            kind,
            account: AccountId::parse("1").ok(),
            user: user.map(|user| UserId::parse(user).unwrap()),
            token: None,
        },
        credential: Some(credential),
    }
}
