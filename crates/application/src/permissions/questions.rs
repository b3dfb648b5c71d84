//! Questions under way: identical ones are one, those of a credential travel together, and none is cancelled because
//! somebody who waited for it has left.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cloakroom_domain::Action;
use tokio::{
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore, watch},
    time::{sleep, timeout},
};

use super::{
    Asker, Circuit, Key, LastAsked, Outcome, PermissionOptions, Subject, Trouble,
    breaker::Breaker,
    forgotten::{Forgotten, Stamp},
    kept::{Answers, Records},
};
use crate::{
    Background,
    ports::{Check, Credential, PermissionBackend, PermissionError, Ruling},
};

/// How long a question waits for others of its credential, where they can travel together.
const GATHERING: Duration = Duration::from_millis(2);

/// The backend, with everything that stands between it and us.
pub(super) struct Hook {
    backend: Arc<dyn PermissionBackend>,
    options: PermissionOptions,
    answers: Answers,
    records: Records,
    forgotten: Arc<Forgotten>,
    breaker: Arc<Breaker>,
    turns: Arc<Semaphore>,
    open: Mutex<Open>,
}

/// What is not answered yet.
#[derive(Default)]
struct Open {
    asked: HashMap<Key, Arc<Asked>>,
    /// What waits to travel with others, by the credential.
    gathering: HashMap<Asker, Vec<Arc<Asked>>>,
}

/// What somebody wants to know.
#[derive(Clone)]
pub(super) struct Question {
    key: Key,
    subject: Subject,
    credential: Credential,
}

impl Question {
    pub(super) const fn new(key: Key, subject: Subject, credential: Credential) -> Self {
        Self {
            key,
            subject,
            credential,
        }
    }
}

/// A question under way.
struct Asked {
    question: Question,
    /// What was forgotten before it was asked.
    stamp: Stamp,
    tell: watch::Sender<Option<Result<bool, Trouble>>>,
}

type Heard = watch::Receiver<Option<Result<bool, Trouble>>>;
type Turn = Result<OwnedSemaphorePermit, AcquireError>;

impl Hook {
    pub(super) fn new(
        backend: Arc<dyn PermissionBackend>,
        options: PermissionOptions,
        forgotten: Arc<Forgotten>,
    ) -> Self {
        let turns = options.concurrency.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            answers: Answers::new(options.entries),
            records: Records::new(),
            forgotten,
            breaker: Arc::new(Breaker::new()),
            turns: Arc::new(Semaphore::new(turns)),
            open: Mutex::default(),
            backend,
            options,
        }
    }

    pub(super) fn actions(&self) -> &[Action] {
        &self.options.actions
    }

    pub(super) const fn patience(&self) -> Duration {
        self.options.patience
    }

    pub(super) fn circuit(&self) -> Circuit {
        self.breaker.circuit()
    }

    pub(super) fn last_asked(&self, subject: &Subject, action: Action) -> Option<LastAsked> {
        self.records.last(subject, action, &self.forgotten)
    }

    /// The answer that is kept, if it still holds.
    pub(super) fn kept(&self, key: &Key, subject: &Subject) -> Option<bool> {
        let stamp = self.forgotten.stamp(subject);
        self.answers.get(key, &self.forgotten, stamp)
    }

    /// Asks until there is an answer that nothing has overtaken. The caller sets the limit of time.
    pub(super) async fn settle(
        self: &Arc<Self>,
        background: &Background,
        question: Question,
    ) -> Result<bool, Trouble> {
        loop {
            if let Some(allow) = self.kept(&question.key, &question.subject) {
                return Ok(allow);
            }
            let (mut heard, stamp) = self.join(background, &question)?;
            let told = match heard.wait_for(Option::is_some).await {
                Ok(told) => told.unwrap_or(Err(Trouble::Failed)),
                // Whoever asked broke off.
                Err(_) => Err(Trouble::Failed),
            };
            if told.is_err() || self.forgotten.stamp(&question.subject) == stamp {
                return told;
            }
        }
    }

    /// Waits with those who ask the same, or begins to ask.
    fn join(
        self: &Arc<Self>,
        background: &Background,
        question: &Question,
    ) -> Result<(Heard, Stamp), Trouble> {
        let stamp = self.forgotten.stamp(&question.subject);
        let mut open = self.open();
        if let Some(asked) = open.asked.get(&question.key)
            && asked.stamp == stamp
        {
            return Ok((asked.tell.subscribe(), stamp));
        }
        if self.breaker.refuses() {
            return Err(Trouble::Failed);
        }
        let (tell, heard) = watch::channel(None);
        let asked = Arc::new(Asked {
            question: question.clone(),
            stamp,
            tell,
        });
        let key = question.key.clone();
        let asker = key.asker;
        open.asked.insert(key, Arc::clone(&asked));
        if self.backend.most_checks() <= 1 {
            drop(open);
            background.spawn(Arc::clone(self).alone(asked));
            return Ok((heard, stamp));
        }
        match open.gathering.entry(asker) {
            Entry::Occupied(mut others) => others.get_mut().push(asked),
            Entry::Vacant(first) => {
                first.insert(vec![asked]);
                drop(open);
                background.spawn(Arc::clone(self).gathered(background.clone(), asker));
            }
        }
        Ok((heard, stamp))
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // No change of it can be left half done.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place among those who may ask now. Every question ends in time, and those that nobody waits for
    /// any more give up their place at once, so this needs no limit of its own.
    async fn turn(&self) -> Turn {
        Arc::clone(&self.turns).acquire_owned().await
    }

    async fn alone(self: Arc<Self>, asked: Arc<Asked>) {
        let batch = Batch::new(&self, vec![asked]);
        let turn = self.turn().await;
        batch.ask(turn).await;
    }

    /// Lets questions of one credential gather while they wait, and asks them together.
    async fn gathered(self: Arc<Self>, background: Background, asker: Asker) {
        sleep(GATHERING).await;
        loop {
            let turn = self.turn().await;
            let (batch, is_last) = self.take(asker);
            background.spawn(batch.ask(turn));
            if is_last {
                return;
            }
        }
    }

    /// What has gathered, as much as fits, and whether that was all.
    fn take(self: &Arc<Self>, asker: Asker) -> (Batch, bool) {
        let mut open = self.open();
        let mut gathered = open.gathering.remove(&asker).unwrap_or_default();
        let rest = gathered.split_off(gathered.len().min(self.backend.most_checks()));
        let is_last = rest.is_empty();
        if !is_last {
            open.gathering.insert(asker, rest);
        }
        (Batch::new(self, gathered), is_last)
    }

    /// Keeps what was answered and tells everybody who waits.
    fn end(&self, asked: &Arc<Asked>, outcome: &Outcome) {
        let Question { key, subject, .. } = &asked.question;
        if let Ok(ruling) = outcome {
            self.answers.keep(key.clone(), ruling, asked.stamp);
        }
        self.records
            .note(subject.clone(), key.action, outcome, asked.stamp);
        self.close(asked);
        let told = outcome.as_ref().map(|ruling| ruling.allow);
        asked
            .tell
            .send_replace(Some(told.map_err(|trouble| *trouble)));
    }

    /// Lets nobody join any more.
    fn close(&self, asked: &Arc<Asked>) {
        let mut open = self.open();
        let key = &asked.question.key;
        // The same question may be under way anew.
        if open
            .asked
            .get(key)
            .is_some_and(|now| Arc::ptr_eq(now, asked))
        {
            open.asked.remove(key);
        }
    }

    /// Whether nobody waits for the answer any more; then nobody will.
    fn is_abandoned(&self, asked: &Arc<Asked>) -> bool {
        let mut open = self.open();
        let abandoned = asked.tell.receiver_count() == 0;
        let key = &asked.question.key;
        if abandoned
            && open
                .asked
                .get(key)
                .is_some_and(|now| Arc::ptr_eq(now, asked))
        {
            open.asked.remove(key);
        }
        abandoned
    }
}

/// Questions that are asked together. Whatever happens to it, everybody who waits hears of it.
struct Batch {
    hook: Arc<Hook>,
    asked: Vec<Arc<Asked>>,
}

impl Batch {
    fn new(hook: &Arc<Hook>, asked: Vec<Arc<Asked>>) -> Self {
        Self {
            hook: Arc::clone(hook),
            asked,
        }
    }

    async fn ask(mut self, turn: Turn) {
        let Ok(_turn) = turn else {
            return;
        };
        let hook = Arc::clone(&self.hook);
        // Those who did not want to wait for their turn need not be asked about.
        self.asked.retain(|asked| !hook.is_abandoned(asked));
        let Some(first) = self.asked.first() else {
            return;
        };
        let Some(pass) = hook.breaker.enter() else {
            return self.fail(Trouble::Failed);
        };
        let credential = first.question.credential.clone();
        let checks: Vec<Check> = self.asked.iter().map(|asked| check(asked)).collect();
        let answer = hook.backend.ask(&credential, &checks);
        match timeout(hook.options.patience, answer).await {
            Ok(Ok(rulings)) if rulings.len() == checks.len() => {
                pass.succeeded();
                self.succeed(rulings);
            }
            failed => {
                pass.failed();
                self.fail(trouble(failed));
            }
        }
    }

    fn succeed(&mut self, rulings: Vec<Ruling>) {
        for (asked, ruling) in self.asked.drain(..).zip(rulings) {
            self.hook.end(&asked, &Ok(ruling));
        }
    }

    fn fail(&mut self, trouble: Trouble) {
        for asked in self.asked.drain(..) {
            self.hook.end(&asked, &Err(trouble));
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.fail(Trouble::Failed);
    }
}

fn check(asked: &Asked) -> Check {
    Check {
        file: asked.question.key.file.clone(),
        action: asked.question.key.action,
    }
}

/// Logs what happened: whoever waits is not told.
fn trouble<T>(answer: Result<Result<Vec<Ruling>, PermissionError>, T>) -> Trouble {
    match answer {
        Ok(Ok(_)) => {
            tracing::warn!(
                "the permission backend gave another number of answers than it was asked for"
            );
            Trouble::Failed
        }
        Ok(Err(PermissionError::Failed(error))) => {
            tracing::warn!(%error, "the permission backend failed");
            Trouble::Failed
        }
        Ok(Err(PermissionError::TimedOut)) | Err(_) => {
            tracing::warn!("the permission backend did not answer in time");
            Trouble::TimedOut
        }
    }
}
