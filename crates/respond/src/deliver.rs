//! Messages of topics: POSTed to the URLs that are subscribed, at least once, in order.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use picket_model::sns::{SubscriptionId, certificate_path};
use picket_store::topics::{Delivery, Subscription};
use picket_store::{Db, StoreError};
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use tokio::task::{AbortHandle, JoinSet};

use crate::envelope::Envelope;
use crate::{Backoff, Clock};

/// How often a message is tried before it is given up. With the default waits that is more than six hours, as on AWS.
const N_ATTEMPTS_MAX: u64 = 100;
/// How often it is looked for subscriptions that nobody has confirmed.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);

/// Signs messages, so that receivers can see whom they come from.
pub trait Signer: Send + Sync {
    /// The signature of a text.
    fn sign(&self, text: String) -> Pin<Box<dyn Future<Output = Result<Signature, Unsigned>> + Send + '_>>;
}

/// A signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    pub bytes: Vec<u8>,
    /// Which certificate it belongs to: the API serves it under [`certificate_path`].
    pub certificate_id: String,
}

/// A text could not be signed, for this reason.
#[derive(Debug, thiserror::Error)]
#[error("the message cannot be signed: {reason}")]
pub struct Unsigned {
    /// Why not.
    pub reason: String,
}

/// What messages carry beside what is said.
#[derive(Clone)]
pub struct Letterhead {
    /// Where receivers reach the API, as in `http://127.0.0.1:8080`: to confirm, to unsubscribe, for the certificate.
    pub base_url: String,
    /// Signs.
    pub signer: Arc<dyn Signer>,
}

/// Delivers the messages of topics until `shutdown` completes. Each subscription is served by itself, in order, and waits for
/// nobody else. What a target does not answer with 2xx is tried again after a while, 100 times, then the next message.
pub async fn deliver(
    db: Db,
    client: reqwest::Client,
    backoff: Backoff,
    letterhead: Letterhead,
    clock: Clock,
    shutdown: impl Future<Output = ()> + Send,
) {
    let postman = Postman {
        db,
        client,
        backoff,
        letterhead,
    };
    let mut office = Office {
        postman,
        clock,
        tasks: JoinSet::new(),
        at_work: HashMap::new(),
    };
    tokio::select! {
        () = office.run() => {}
        () = shutdown => {}
    }
}

/// Where postmen start from: one for each subscription that has something to be told.
struct Office {
    postman: Postman,
    clock: Clock,
    tasks: JoinSet<()>,
    at_work: HashMap<SubscriptionId, AbortHandle>,
}

impl Office {
    async fn run(&mut self) {
        let mut signal = self.postman.db.delivery_signal();
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        let mut n_failures = 0;
        loop {
            // What commits from here on wakes us again.
            signal.mark_unchanged();
            match self.assign().await {
                Ok(()) => n_failures = 0,
                Err(err) => {
                    n_failures += 1;
                    tracing::warn!(
                        error = &err as &dyn std::error::Error,
                        n_failures,
                        "what is to be delivered cannot be read"
                    );
                }
            }
            tokio::select! {
                changed = signal.changed() => if changed.is_err() { return },
                // Whoever has come to an end may have missed what came last.
                Some(ended) = self.tasks.join_next() => if let Err(err) = ended && err.is_panic() {
                    tracing::error!(error = &err as &dyn std::error::Error, "a subscription's task failed");
                    tokio::time::sleep(self.postman.backoff.wait(1)).await;
                },
                _ = sweep.tick() => if let Err(err) = self.postman.db.forget_unconfirmed((self.clock)()).await {
                    tracing::warn!(error = &err as &dyn std::error::Error, "old subscriptions cannot be forgotten");
                },
                () = tokio::time::sleep(self.postman.backoff.wait(n_failures)), if n_failures != 0 => {}
            }
        }
    }

    async fn assign(&mut self) -> Result<(), StoreError> {
        self.at_work.retain(|_, task| !task.is_finished());
        for id in self.postman.db.awaiting_subscriptions().await? {
            if !self.at_work.contains_key(&id) {
                let task = self.tasks.spawn(self.postman.clone().serve(id));
                self.at_work.insert(id, task);
            }
        }
        Ok(())
    }
}

/// Why a message has to be sent again.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the target answered {0}, expected 2xx")]
    Status(StatusCode),
    #[error("the target cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    #[error(transparent)]
    Unsigned(#[from] Unsigned),
}

/// Carries the messages to subscribers.
#[derive(Clone)]
struct Postman {
    db: Db,
    client: reqwest::Client,
    backoff: Backoff,
    letterhead: Letterhead,
}

impl Postman {
    /// Works until the subscription has been told everything, or has ended.
    async fn serve(self, id: SubscriptionId) {
        // Over all messages: a target that is down is not asked more often because there is more to say.
        let mut n_failures = 0;
        loop {
            match self.deliver_next(id).await {
                Ok(None) => return,
                Ok(Some(true)) => n_failures = 0,
                Ok(Some(false)) => {
                    n_failures += 1;
                    tokio::time::sleep(self.backoff.wait(n_failures)).await;
                }
                Err(err) => {
                    n_failures += 1;
                    tracing::warn!(
                        subscription = %id, error = &err as &dyn std::error::Error, n_failures,
                        "a delivery cannot be read or noted"
                    );
                    tokio::time::sleep(self.backoff.wait(n_failures)).await;
                }
            }
        }
    }

    /// Tries the next message once; says whether the target has it, `None` when there is none.
    async fn deliver_next(&self, id: SubscriptionId) -> Result<Option<bool>, StoreError> {
        let Some(delivery) = self.db.next_delivery(id).await? else {
            return Ok(None);
        };
        let Some(subscription) = self.db.subscription(id).await? else {
            self.db.end_delivery(id, delivery.seq).await?;
            return Ok(None);
        };
        match self.post(&delivery, &subscription).await {
            Ok(()) => {
                self.db.end_delivery(id, delivery.seq).await?;
                Ok(Some(true))
            }
            Err(refused) => {
                let n_attempts = delivery.n_attempts + 1;
                tracing::warn!(
                    subscription = %id, topic = %subscription.topic, message = delivery.message.id, n_attempts,
                    error = &refused as &dyn std::error::Error, "a message was not taken"
                );
                if N_ATTEMPTS_MAX <= n_attempts {
                    tracing::error!(subscription = %id, message = delivery.message.id, "a message was given up");
                    self.db.end_delivery(id, delivery.seq).await?;
                    return Ok(Some(false));
                }
                let n_given_up = self.db.note_attempt(id, delivery.seq).await?;
                if 0 < n_given_up {
                    tracing::error!(subscription = %id, n_given_up, "messages were given up, oldest first");
                }
                Ok(Some(false))
            }
        }
    }

    async fn post(&self, delivery: &Delivery, subscription: &Subscription) -> Result<(), Refused> {
        let envelope = Envelope {
            message: &delivery.message,
            subscription,
            base_url: &self.letterhead.base_url,
        };
        let mut request = self
            .client
            .post(subscription.endpoint.as_str())
            .header(CONTENT_TYPE, "text/plain; charset=UTF-8")
            .header("x-amz-sns-message-type", envelope.kind())
            .header("x-amz-sns-message-id", delivery.message.id.as_str())
            .header("x-amz-sns-topic-arn", delivery.message.topic_arn.as_str());
        if !delivery.message.is_question {
            request = request.header("x-amz-sns-subscription-arn", envelope.subscription_arn());
        }
        let body = if envelope.is_raw() {
            request = request.header("x-amz-sns-rawdelivery", "true");
            envelope.text()
        } else {
            let signature = self.letterhead.signer.sign(envelope.text_to_sign()).await?;
            let base64 = STANDARD.encode(&signature.bytes);
            let path = certificate_path(&signature.certificate_id);
            envelope.signed(&base64, &path).to_string()
        };
        let answer = request.body(body).send().await.map_err(Refused::Unreachable)?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(Refused::Status(status)),
        }
    }
}
