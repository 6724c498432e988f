//! Alerts: POSTed to the webhooks of responses, at least once, in order.

use std::collections::HashMap;

use picket_model::name::ResponseName;
use picket_model::time::Timestamp;
use picket_model::violation::{ViolationNotice, wire::Alert};
use picket_store::responses::{Response, WebhookUrl, webhook_consumer};
use picket_store::{Db, OutboxItem, StoreError};
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use tokio::task::{AbortHandle, JoinSet};

use crate::Backoff;
use crate::plan::{Action, News, plan};

/// Items that are read at once.
const N_ITEMS_MAX: u32 = 64;
/// Items of no interest that a courier passes before it notes how far it has come: each note is a write to the disk.
const N_UNNOTED_MAX: u64 = 256;

/// Tells the webhooks of all responses what happens, until `shutdown` completes. Each has its own cursor in the store,
/// moved after the target has answered 2xx, and waits for nobody else. Anything else is tried again after a while, for
/// ever, unless the response is removed or disabled, or the target answers 410: then the webhook is stopped.
pub async fn notify(db: Db, client: reqwest::Client, backoff: Backoff, shutdown: impl Future<Output = ()> + Send) {
    let mut office = Office {
        db,
        client,
        backoff,
        tasks: JoinSet::new(),
        at_work: HashMap::new(),
    };
    tokio::select! {
        () = office.run() => {}
        () = shutdown => {}
    }
}

/// Where the couriers start from: one to each webhook that is not stopped, so not more than there are responses.
struct Office {
    db: Db,
    client: reqwest::Client,
    backoff: Backoff,
    tasks: JoinSet<()>,
    /// The couriers, with when their response was created: one of the same name made later is another.
    at_work: HashMap<ResponseName, (Timestamp, AbortHandle)>,
}

impl Office {
    async fn run(&mut self) {
        let mut signal = self.db.outbox_signal();
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
                        "responses cannot be read"
                    );
                }
            }
            tokio::select! {
                // A webhook has nothing to say before something happens.
                changed = signal.changed() => if changed.is_err() { return },
                Some(ended) = self.tasks.join_next() => if let Err(err) = ended && err.is_panic() {
                    tracing::error!(error = &err as &dyn std::error::Error, "a webhook's task failed");
                    tokio::time::sleep(self.backoff.wait(1)).await;
                },
                () = tokio::time::sleep(self.backoff.wait(n_failures)), if n_failures != 0 => {}
            }
        }
    }

    /// Sees to it that the right couriers are at work.
    async fn assign(&mut self) -> Result<(), StoreError> {
        let mut responses = self.db.responses().await?;
        responses.retain(|response| response.webhook.is_some());
        self.at_work.retain(|name, (created_at, task)| {
            let is_its = |response: &Response| response.name == *name && response.created_at == *created_at;
            let stays = !task.is_finished() && responses.iter().any(is_its);
            if !stays {
                task.abort();
            }
            stays
        });
        for Response { name, created_at, .. } in responses {
            // A webhook that was stopped has no cursor.
            if self.at_work.contains_key(&name) || self.db.find_cursor(&webhook_consumer(&name)).await?.is_none() {
                continue;
            }
            let courier = Courier::new(self.db.clone(), self.client.clone(), self.backoff, name.clone());
            let task = self.tasks.spawn(courier.run());
            self.at_work.insert(name, (created_at, task));
        }
        Ok(())
    }
}

/// Carries the alerts of one response.
struct Courier {
    db: Db,
    client: reqwest::Client,
    backoff: Backoff,
    name: ResponseName,
    consumer: String,
    /// The number of the last item that this courier is done with, which the store may not know yet.
    done: u64,
    /// Whether the store must know: a restart would tell something again, or too late.
    is_to_note: bool,
}

/// What became of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delivery {
    /// The target has it.
    Taken,
    /// Nobody wants it any more.
    Unwanted,
    /// The webhook was stopped, or removed.
    Stopped,
}

/// What the target said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// It has the alert.
    Taken,
    /// It is gone for good.
    Gone,
}

/// Why an alert has to be sent again.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the target answered {0}, expected 2xx")]
    Status(StatusCode),
    #[error("the target cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    #[error("the alert cannot be written as JSON")]
    Unwritable(#[source] serde_json::Error),
}

impl Courier {
    fn new(db: Db, client: reqwest::Client, backoff: Backoff, name: ResponseName) -> Self {
        Self {
            db,
            client,
            backoff,
            consumer: webhook_consumer(&name),
            name,
            done: 0,
            is_to_note: false,
        }
    }

    /// Works until the webhook is stopped.
    async fn run(mut self) {
        let mut signal = self.db.outbox_signal();
        let mut n_failures = 0;
        loop {
            signal.mark_unchanged();
            match self.carry_next().await {
                Ok(None) => return,
                Ok(Some(0)) => {
                    n_failures = 0;
                    if signal.changed().await.is_err() {
                        return;
                    }
                }
                Ok(Some(_)) => n_failures = 0,
                Err(err) => {
                    n_failures += 1;
                    tracing::warn!(
                        response = %self.name, error = &err as &dyn std::error::Error, n_failures,
                        "alerts cannot be read"
                    );
                    tokio::time::sleep(self.backoff.wait(n_failures)).await;
                }
            }
        }
    }

    /// Carries what the next items give; says how many there were, `None` when the webhook was stopped.
    async fn carry_next(&mut self) -> Result<Option<usize>, StoreError> {
        // What could not be noted when it was told is not told again because of that.
        self.note().await?;
        let Some(cursor) = self.db.find_cursor(&self.consumer).await? else {
            return Ok(None);
        };
        self.done = self.done.max(cursor);
        let items = self.db.outbox_after(self.done, N_ITEMS_MAX).await?;
        if let Some(&(first, _)) = items.first()
            && self.done + 1 < first
        {
            let n_lost = first - self.done - 1;
            tracing::error!(response = %self.name, n_lost, "alerts were given up, oldest first");
        }
        for (seq, item) in &items {
            if let OutboxItem::Violation(notice) = item {
                let delivery = self.deliver(*seq, notice).await?;
                if delivery == Delivery::Stopped {
                    return Ok(None);
                }
                self.is_to_note = true;
                self.done = *seq;
                if delivery == Delivery::Taken {
                    // At once, so that a restart does not tell it again.
                    self.note().await?;
                }
            }
            self.done = *seq;
        }
        self.is_to_note |= cursor + N_UNNOTED_MAX <= self.done;
        self.note().await?;
        Ok(Some(items.len()))
    }

    /// Lets the store know how far this courier has come, if it must.
    async fn note(&mut self) -> Result<(), StoreError> {
        if self.is_to_note {
            self.db.move_cursor(&self.consumer, self.done).await?;
            self.is_to_note = false;
        }
        Ok(())
    }

    /// Tries until the target has the alert, or nobody wants it any more.
    async fn deliver(&self, seq: u64, notice: &ViolationNotice) -> Result<Delivery, StoreError> {
        let mut n_failures = 0;
        loop {
            match self.db.find_cursor(&self.consumer).await? {
                None => return Ok(Delivery::Stopped),
                // The response was removed and made anew since: it acts on what happened after that.
                Some(cursor) if seq <= cursor => return Ok(Delivery::Unwanted),
                Some(_) => {}
            }
            let response = self.db.response(&self.name).await?;
            let Some(url) = response.as_ref().and_then(|response| url_of(response, notice)) else {
                return Ok(Delivery::Unwanted);
            };
            match self.post(&url, notice).await {
                Ok(Answer::Taken) => return Ok(Delivery::Taken),
                // Unless the answer is one to a response that was made anew meanwhile.
                Ok(Answer::Gone) if self.db.response(&self.name).await? == response => {
                    tracing::warn!(response = %self.name, "the target answered 410: its webhook is stopped");
                    self.db.stop_webhook(&self.name).await?;
                    return Ok(Delivery::Stopped);
                }
                Ok(Answer::Gone) => {}
                Err(refused) => {
                    n_failures += 1;
                    let wait = self.backoff.wait(n_failures);
                    tracing::warn!(
                        response = %self.name, violation = %notice.id, n_failures, ?wait,
                        error = &refused as &dyn std::error::Error, "an alert was not taken"
                    );
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    async fn post(&self, url: &WebhookUrl, notice: &ViolationNotice) -> Result<Answer, Refused> {
        let body = serde_json::to_vec(&Alert::from(notice)).map_err(Refused::Unwritable)?;
        let request = self.client.post(url.as_str()).header(CONTENT_TYPE, "application/json");
        let answer = request.body(body).send().await.map_err(Refused::Unreachable)?;
        match answer.status() {
            StatusCode::GONE => Ok(Answer::Gone),
            status if status.is_success() => Ok(Answer::Taken),
            status => Err(Refused::Status(status)),
        }
    }
}

/// Where the response wants the alert, if it does.
fn url_of(response: &Response, notice: &ViolationNotice) -> Option<WebhookUrl> {
    let steps = plan(News::Event(notice), std::slice::from_ref(response));
    steps.into_iter().find_map(|step| match step.action {
        Action::Alert { url } => Some(url),
        Action::Quarantine { .. } | Action::Refrain => None,
    })
}
