//! Alerts of profiles: published to the topics that the profiles name, once each, in order.

use std::collections::HashSet;

use picket_model::sns::TopicArn;
use picket_model::violation::{ViolationNotice, wire::Alert};
use picket_store::topics::Publication;
use picket_store::{Db, OutboxItem, StoreError};
use serde_json::Value;

use crate::worker::{Worker, attend, unread};
use crate::{Backoff, Clock};

/// The reader of the outbox that publishes alerts.
const CONSUMER: &str = "publish";
/// Items that are read at once.
const N_ITEMS_MAX: u32 = 256;
/// Targets that nothing can be published to, which are remembered so that each is logged once.
const N_REMEMBERED_MAX: usize = 1000;

/// Publishes each event of a violation to the topic that its profile names as alert target, until `shutdown` completes;
/// unless the behavior suppresses alerts. A message is written with the note that its event was told, so there is one of it
/// whatever crashes. A target that is no topic here holds nothing up.
pub async fn publish(
    db: Db,
    account_id: String,
    backoff: Backoff,
    clock: Clock,
    shutdown: impl Future<Output = ()> + Send,
) {
    let mut publisher = Publisher {
        db,
        account_id,
        clock,
        unknown: HashSet::new(),
        n_lost: 0,
    };
    let signal = publisher.db.outbox_signal();
    tokio::select! {
        () = attend(&mut publisher, signal, backoff) => {}
        () = shutdown => {}
    }
}

struct Publisher {
    db: Db,
    account_id: String,
    clock: Clock,
    /// Targets that were logged because they are no topic here.
    unknown: HashSet<String>,
    /// Alerts that had no topic to go to, since the start.
    n_lost: u64,
}

impl Worker for Publisher {
    const FAILURE: &'static str = "an alert could not be published";

    async fn work(&mut self) -> Result<usize, StoreError> {
        let (cursor, items) = unread(&self.db, CONSUMER, N_ITEMS_MAX).await?;
        let Some(&(last, _)) = items.last() else { return Ok(0) };
        let mut done = cursor;
        for (seq, item) in &items {
            let OutboxItem::Violation(notice) = item else { continue };
            let Some(target) = self.target(notice).await? else {
                continue;
            };
            if self.tell(*seq, notice, &target).await? {
                done = *seq;
            }
        }
        if done < last {
            self.db.move_cursor(CONSUMER, last).await?;
        }
        Ok(items.len())
    }
}

impl Publisher {
    /// The topic that the profile wants its alerts published to, as the profile says it.
    async fn target(&self, notice: &ViolationNotice) -> Result<Option<String>, StoreError> {
        if notice.behavior.suppress_alerts == Some(true) {
            return Ok(None);
        }
        let Some(profile) = self.db.profile(&notice.profile).await? else {
            return Ok(None);
        };
        let extras: Value = serde_json::from_str(&profile.extras).unwrap_or_default();
        let target = extras["alertTargets"]["SNS"]["alertTargetArn"].as_str();
        Ok(target.map(str::to_owned))
    }

    /// Publishes an alert; says whether it was.
    async fn tell(&mut self, seq: u64, notice: &ViolationNotice, target: &str) -> Result<bool, StoreError> {
        let topic = match target.parse::<TopicArn>() {
            Ok(topic) if topic.account == self.account_id => topic,
            Ok(_) => return Ok(self.lose(notice, target, "it is of another account")),
            Err(err) => return Ok(self.lose(notice, target, &err.to_string())),
        };
        let body = match serde_json::to_string(&Alert::from(notice)) {
            Ok(body) => body,
            Err(err) => return Ok(self.lose(notice, target, &err.to_string())),
        };
        let publication = Publication {
            topic,
            subject: None,
            body,
            is_structured: false,
            attributes: None,
        };
        match self.db.publish_news(CONSUMER, seq, &publication, (self.clock)()).await {
            Ok(()) => {
                self.unknown.remove(target);
                Ok(true)
            }
            Err(StoreError::NotFound { .. }) => Ok(self.lose(notice, target, "there is no such topic")),
            Err(err) => Err(err),
        }
    }

    /// Counts an alert that has nowhere to go, and says so once for each target.
    fn lose(&mut self, notice: &ViolationNotice, target: &str, reason: &str) -> bool {
        self.n_lost += 1;
        if N_REMEMBERED_MAX <= self.unknown.len() {
            self.unknown.clear();
        }
        if self.unknown.insert(target.to_owned()) {
            tracing::warn!(
                profile = %notice.profile, target, reason, n_lost = self.n_lost,
                "alerts of this profile cannot be published: create the topic, or name another alert target"
            );
        } else {
            tracing::debug!(profile = %notice.profile, target, n_lost = self.n_lost, "an alert was not published");
        }
        false
    }
}
