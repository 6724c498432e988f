//! Alerts: POSTed to the webhooks of responses, at least once, in order.

use std::collections::HashSet;

use picket_model::name::ResponseName;
use picket_model::violation::{ViolationNotice, wire::Alert};
use picket_store::responses::{Response, WebhookUrl, webhook_consumer};
use picket_store::{Db, OutboxItem, StoreError};
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use tokio::task::JoinSet;

use crate::Backoff;
use crate::plan::{Action, News, plan};

/// Items that are read at once.
const N_ITEMS_MAX: u32 = 64;

/// Tells the webhooks of all responses what happens, until `shutdown` completes. Each has its own cursor in the store,
/// moved after the target has answered 2xx, and waits for nobody else. Anything else is tried again after a while, for
/// ever, unless the response is removed or disabled, or the target answers 410: then the webhook is stopped.
pub async fn notify(db: Db, client: reqwest::Client, backoff: Backoff, shutdown: impl Future<Output = ()> + Send) {
    let run = async {
        let mut signal = db.outbox_signal();
        let mut couriers = JoinSet::new();
        let mut running = HashSet::new();
        let mut n_failures = 0;
        loop {
            signal.mark_unchanged();
            match db.responses().await {
                Ok(responses) => {
                    n_failures = 0;
                    let with_webhook = responses.into_iter().filter(|response| response.webhook.is_some());
                    for name in with_webhook.map(|response| response.name) {
                        if running.insert(name.clone()) {
                            couriers.spawn(Courier::new(db.clone(), client.clone(), backoff, name).run());
                        }
                    }
                }
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
                Some(ended) = couriers.join_next() => match ended {
                    Ok(name) => { running.remove(&name); }
                    Err(err) => tracing::error!(error = &err as &dyn std::error::Error, "a webhook's task failed"),
                },
                () = tokio::time::sleep(backoff.wait(n_failures)), if n_failures != 0 => {}
            }
        }
    };
    tokio::select! {
        () = run => {}
        () = shutdown => {}
    }
}

/// Carries the alerts of one response.
struct Courier {
    db: Db,
    client: reqwest::Client,
    backoff: Backoff,
    name: ResponseName,
    consumer: String,
}

/// What became of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delivery {
    /// The target has it.
    Taken,
    /// Nobody wants it any more.
    Unwanted,
    /// The target is gone for good.
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
        }
    }

    /// Works until the webhook is stopped; says whose it was.
    async fn run(self) -> ResponseName {
        let mut signal = self.db.outbox_signal();
        let mut n_failures = 0;
        loop {
            signal.mark_unchanged();
            match self.carry_next().await {
                Ok(None) => return self.name,
                Ok(Some(0)) => {
                    n_failures = 0;
                    if signal.changed().await.is_err() {
                        return self.name;
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
    async fn carry_next(&self) -> Result<Option<usize>, StoreError> {
        let Some(cursor) = self.db.find_cursor(&self.consumer).await? else {
            return Ok(None);
        };
        let items = self.db.outbox_after(cursor, N_ITEMS_MAX).await?;
        let Some(&(last, _)) = items.last() else {
            return Ok(Some(0));
        };
        if let Some(&(first, _)) = items.first()
            && cursor + 1 < first
        {
            tracing::error!(response = %self.name, n_lost = first - cursor - 1, "alerts were given up, oldest first");
        }
        for (seq, item) in &items {
            let OutboxItem::Violation(notice) = item else { continue };
            match self.deliver(notice).await? {
                // So that a restart does not tell it again.
                Delivery::Taken => self.db.move_cursor(&self.consumer, *seq).await?,
                Delivery::Unwanted => {}
                Delivery::Gone => {
                    tracing::warn!(response = %self.name, "the target answered 410: its webhook is stopped");
                    self.db.stop_webhook(&self.name).await?;
                    return Ok(None);
                }
            }
        }
        self.db.move_cursor(&self.consumer, last).await?;
        Ok(Some(items.len()))
    }

    /// Tries until the target has the alert, or nobody wants it any more.
    async fn deliver(&self, notice: &ViolationNotice) -> Result<Delivery, StoreError> {
        let mut n_failures = 0;
        loop {
            let response = self.db.response(&self.name).await?;
            let Some(url) = response.and_then(|response| url_of(&response, notice)) else {
                return Ok(Delivery::Unwanted);
            };
            match self.post(&url, notice).await {
                Ok(delivery) => return Ok(delivery),
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

    async fn post(&self, url: &WebhookUrl, notice: &ViolationNotice) -> Result<Delivery, Refused> {
        let body = serde_json::to_vec(&Alert::from(notice)).map_err(Refused::Unwritable)?;
        let request = self.client.post(url.as_str()).header(CONTENT_TYPE, "application/json");
        let answer = request.body(body).send().await.map_err(Refused::Unreachable)?;
        match answer.status() {
            StatusCode::GONE => Ok(Delivery::Gone),
            status if status.is_success() => Ok(Delivery::Taken),
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
