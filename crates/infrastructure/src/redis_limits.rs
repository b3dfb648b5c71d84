//! Rate limits that all replicas share, counted in Redis; by each replica alone while Redis does not answer.

mod lease;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use cloakroom_application::{
    ports::{RateClass, RateKey, RateLimiter, RatePolicies, RatePolicy, RateVerdict},
    rates::{Bounded, LocalRates},
};
use redis::{AsyncConnectionConfig, Client, RedisError, Script, aio::MultiplexedConnection};
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

use self::lease::{Answer, Lease, Moment, Said, micros};

/// An answer that takes longer is not waited for.
const ANSWER: Duration = Duration::from_millis(150);
/// No request waits for longer, whatever happens.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long Redis may take to be there again when it is tried.
const TRIAL: Duration = Duration::from_secs(1);
const BETWEEN_TRIALS: Duration = Duration::from_millis(500);
/// So many questions travel together.
const TOGETHER: usize = 128;
/// So many may wait to travel; who finds more counts alone.
const WAITING: usize = 8192;
/// How many callers each class knows at once.
const CALLERS: usize = 16_384;

/// Counts together with other replicas. Takes permits in batches for callers who come often, so that not every
/// request asks Redis.
pub struct SharedRates {
    desk: Arc<Desk>,
    questions: mpsc::Sender<Question>,
    /// What is counted while Redis does not answer. What passed before is counted there, too.
    alone: LocalRates,
}

/// What the one who asks Redis shares with those who want to know.
struct Desk {
    policies: RatePolicies,
    leases: [Bounded<Lease>; 3],
    origin: Instant,
    /// Whether Redis answered last time.
    answers: AtomicBool,
}

struct Question {
    class: RateClass,
    key: RateKey,
    /// Dropped where Redis does not answer.
    reply: oneshot::Sender<RateVerdict>,
}

impl Desk {
    fn now(&self) -> Moment {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    const fn leases(&self, class: RateClass) -> &Bounded<Lease> {
        match class {
            RateClass::Upload => &self.leases[0],
            RateClass::Download => &self.leases[1],
            RateClass::AuthFailure => &self.leases[2],
        }
    }

    /// The verdict where it is known without asking.
    fn known(&self, class: RateClass, key: RateKey) -> Option<RateVerdict> {
        let said = self.leases(class).with(key, |lease| {
            lease
                .as_mut()
                .map_or(Said::Ask, |lease| lease.spend(self.now()))
        });
        match said {
            Said::Pass(remaining) => Some(self.verdict(class, remaining, None)),
            Said::Wait(wait) => Some(self.verdict(class, 0, Some(wait))),
            Said::Ask => None,
        }
    }

    const fn verdict(&self, class: RateClass, remaining: u32, wait: Option<u64>) -> RateVerdict {
        RateVerdict {
            class,
            policy: self.policies.of(class),
            remaining,
            refused: match wait {
                Some(wait) => Some(Duration::from_micros(wait)),
                None => None,
            },
        }
    }
}

impl SharedRates {
    /// Counts in the Redis at that address, from the current runtime on. Where Redis is there it is waited for, for
    /// at most a second, so that replicas share from the first request on.
    ///
    /// # Errors
    /// The address cannot be read.
    pub async fn start(url: &str, policies: RatePolicies) -> Result<Self, RedisError> {
        let client = Client::open(url)?;
        let desk = Arc::new(Desk {
            policies,
            leases: std::array::from_fn(|_| Bounded::new(CALLERS)),
            origin: Instant::now(),
            answers: AtomicBool::new(false),
        });
        let (questions, waiting) = mpsc::channel(WAITING);
        let mut asker = Asker {
            client,
            desk: Arc::clone(&desk),
            script: Script::new(include_str!("redis_limits/take.lua")),
        };
        let first = asker.connect().await;
        if first.is_none() {
            tracing::warn!("Redis does not answer: each replica counts its own requests");
        }
        tokio::spawn(async move { asker.run(first, waiting).await });
        Ok(Self {
            desk,
            questions,
            alone: LocalRates::new(&policies),
        })
    }

    async fn ask(&self, class: RateClass, key: RateKey) -> Option<RateVerdict> {
        if !self.desk.answers.load(Ordering::Relaxed) {
            return None;
        }
        let (reply, replied) = oneshot::channel();
        let question = Question { class, key, reply };
        self.questions.try_send(question).ok()?;
        timeout(PATIENCE, replied).await.ok()?.ok()
    }
}

#[async_trait]
impl RateLimiter for SharedRates {
    async fn take(&self, class: RateClass, key: RateKey) -> RateVerdict {
        let verdict = match self.desk.known(class, key) {
            Some(verdict) => Some(verdict),
            None => self.ask(class, key).await,
        };
        match verdict {
            Some(verdict) => {
                if verdict.refused.is_none() {
                    self.alone.take_now(class, key);
                }
                verdict
            }
            None => self.alone.take_now(class, key),
        }
    }

    fn refusing(&self, class: RateClass, key: RateKey) -> Option<Duration> {
        let now = self.desk.now();
        let closed = self
            .desk
            .leases(class)
            .with(key, |lease| lease.as_ref().and_then(|it| it.refusing(now)));
        match closed {
            Some(wait) => Some(Duration::from_micros(wait)),
            None if self.desk.answers.load(Ordering::Relaxed) => None,
            None => self.alone.refusing(class, key),
        }
    }

    fn policy(&self, class: RateClass) -> RatePolicy {
        self.desk.policies.of(class)
    }
}

type Replies = Vec<oneshot::Sender<RateVerdict>>;

/// The one who asks Redis, over a connection of its own: a batch at a time, and whoever comes meanwhile is in the
/// next one.
struct Asker {
    client: Client,
    desk: Arc<Desk>,
    script: Script,
}

impl Asker {
    async fn run(
        &mut self,
        mut connection: Option<MultiplexedConnection>,
        mut waiting: mpsc::Receiver<Question>,
    ) {
        loop {
            let Some(mut open) = connection.take() else {
                connection = self.reconnect(&mut waiting).await;
                if connection.is_none() {
                    return;
                }
                continue;
            };
            let mut batch = Vec::new();
            if waiting.recv_many(&mut batch, TOGETHER).await == 0 {
                return;
            }
            if self.answer(&mut open, batch).await {
                connection = Some(open);
            } else {
                self.desk.answers.store(false, Ordering::Relaxed);
                tracing::warn!("Redis does not answer: each replica counts its own requests");
            }
        }
    }

    /// Tries until Redis answers. Whoever asks meanwhile is told at once that it does not. `None`: nobody is left who
    /// could ask.
    async fn reconnect(
        &self,
        waiting: &mut mpsc::Receiver<Question>,
    ) -> Option<MultiplexedConnection> {
        let trying = async {
            loop {
                if let Some(connection) = self.connect().await {
                    return connection;
                }
                sleep(BETWEEN_TRIALS).await;
            }
        };
        tokio::pin!(trying);
        loop {
            tokio::select! {
                connection = &mut trying => {
                    tracing::info!("Redis answers: requests of all replicas are counted together");
                    return Some(connection);
                }
                question = waiting.recv() => drop(question?),
            }
        }
    }

    async fn connect(&self) -> Option<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(TRIAL))
            .set_response_timeout(Some(TRIAL));
        let trial = async {
            let mut connection = self
                .client
                .get_multiplexed_async_connection_with_config(&config)
                .await?;
            // Also makes the script known, so that the first batch is not late.
            self.script.load_async(&mut connection).await?;
            Ok::<_, RedisError>(connection)
        };
        match timeout(TRIAL, trial).await {
            Ok(Ok(connection)) => {
                self.desk.answers.store(true, Ordering::Relaxed);
                Some(connection)
            }
            Ok(Err(error)) => {
                tracing::debug!(kind = error.category(), "Redis does not count");
                None
            }
            Err(_) => None,
        }
    }

    /// Those who must be asked about, with who waits for each. The batch before may have brought enough.
    fn unanswered(&self, batch: Vec<Question>) -> HashMap<(RateClass, RateKey), Replies> {
        let mut callers: HashMap<(RateClass, RateKey), Replies> = HashMap::new();
        for question in batch {
            match self.desk.known(question.class, question.key) {
                Some(verdict) => {
                    let _ = question.reply.send(verdict);
                }
                None => callers
                    .entry((question.class, question.key))
                    .or_default()
                    .push(question.reply),
            }
        }
        callers
    }

    /// Answers a batch; `false` where Redis did not.
    async fn answer(&self, connection: &mut MultiplexedConnection, batch: Vec<Question>) -> bool {
        let callers = self.unanswered(batch);
        if callers.is_empty() {
            return true;
        }
        let asked = self.desk.now();
        let mut call = self.script.prepare_invoke();
        let mut order = Vec::with_capacity(callers.len());
        for ((class, key), replies) in callers {
            let policy = self.desk.policies.of(class);
            let more = self
                .desk
                .leases(class)
                .with(key, |lease| Lease::more(lease.as_ref(), asked, &policy));
            call.key(format!(
                "cloakroom:rate:{}:{:032x}",
                class.as_str(),
                key.value()
            ))
            .arg(micros(&policy))
            .arg(policy.permits.get())
            .arg(replies.len())
            .arg(more);
            order.push((class, key, more, replies));
        }
        let answers: Vec<u64> = match timeout(ANSWER, call.invoke_async(connection)).await {
            Ok(Ok(answers)) => answers,
            Ok(Err(error)) => {
                tracing::debug!(kind = error.category(), "Redis does not count");
                return false;
            }
            Err(_) => return false,
        };
        let answered = self.desk.now();
        for ((class, key, more, replies), numbers) in order.into_iter().zip(answers.chunks(3)) {
            let [granted, left, wait] = numbers else {
                continue;
            };
            let answer = Answer {
                granted: number(*granted),
                left: number(*left),
                wait: *wait,
            };
            let policy = self.desk.policies.of(class);
            let need = number(replies.len() as u64);
            let lease = Lease::new(answer, need, more, asked, answered, &policy);
            self.desk
                .leases(class)
                .with(key, |kept| *kept = Some(lease));
            self.reply(class, answer, replies);
        }
        true
    }

    fn reply(&self, class: RateClass, answer: Answer, replies: Replies) {
        let passing = answer.granted as usize;
        for (n, reply) in replies.into_iter().enumerate() {
            let verdict = if n < passing {
                self.desk.verdict(class, answer.left, None)
            } else {
                self.desk.verdict(class, 0, Some(answer.wait))
            };
            // Who left meanwhile has used its permit.
            let _ = reply.send(verdict);
        }
    }
}

fn number(large: u64) -> u32 {
    u32::try_from(large).unwrap_or(u32::MAX)
}
