//! Violations, their events, and why they are there.

use std::str::FromStr;

use picket_aws::wire;
use picket_aws::wire::picket;
use picket_model::behavior::wire::Behavior;
use picket_model::value::wire::MetricValue;
use picket_model::violation::EventType;
use picket_store::decisions::{Cause, Decision, DecisionFilter};
use picket_store::violations::{EventKey, Violation, ViolationEvent, ViolationFilter, ViolationKey};

use super::response::decision_described;
use crate::error::ApiError;
use crate::page::Page;
use crate::state::{Api, ApiState, Caller};

/// Decisions about one device that an explanation looks through, newest first.
const N_DECISIONS_MAX: u32 = 1000;

/// Lists the violations that are in alarm now, newest alarm first.
///
/// # Errors
/// `InvalidRequestException` for a token of another list.
pub async fn list_active(
    api: Api,
    _: Caller,
    input: wire::ListActiveViolations,
) -> Result<wire::ActiveViolations, ApiError> {
    let page: Page<ViolationKey> = Page::of("ListActiveViolations", input.next_token.as_deref(), input.max_results)?;
    let filter = ViolationFilter {
        thing: input.thing_name,
        profile: input.security_profile_name,
        criteria: choice(input.behavior_criteria_type.as_deref())?,
        is_suppressed: input.list_suppressed_alerts,
        verification: choice(input.verification_state.as_deref())?,
    };
    let read = api
        .db
        .active_violations(&filter, page.after.as_ref(), page.n_read())
        .await?;
    let (violations, next_token) = page.cut(read, Violation::key);
    Ok(wire::ActiveViolations {
        active_violations: violations.into_iter().map(active).collect(),
        next_token,
    })
}

/// Lists what happened to violations from one time to another, newest first.
///
/// # Errors
/// `InvalidRequestException` for a token of another list, or an end before the start.
pub async fn list_events(
    api: Api,
    _: Caller,
    input: wire::ListViolationEvents,
) -> Result<wire::ViolationEvents, ApiError> {
    let page: Page<EventKey> = Page::of("ListViolationEvents", input.next_token.as_deref(), input.max_results)?;
    if input.end_time < input.start_time {
        return Err(ApiError::invalid("endTime is before startTime, expected it after"));
    }
    let filter = ViolationFilter {
        thing: input.thing_name,
        profile: input.security_profile_name,
        criteria: choice(input.behavior_criteria_type.as_deref())?,
        is_suppressed: input.list_suppressed_alerts,
        verification: choice(input.verification_state.as_deref())?,
    };
    let span = (input.start_time, input.end_time);
    let read = api
        .db
        .violation_events(span, &filter, page.after.as_ref(), page.n_read())
        .await?;
    let (events, next_token) = page.cut(read, ViolationEvent::key);
    Ok(wire::ViolationEvents {
        violation_events: events.into_iter().map(event).collect(),
        next_token,
    })
}

/// Notes what an operator thinks of a violation. It has no effect on judging.
///
/// # Errors
/// `InvalidRequestException` for a violation that does not exist: the service model has no other error for it.
pub async fn verify(api: Api, _: Caller, input: wire::PutVerificationStateOnViolation) -> Result<wire::Done, ApiError> {
    let state = input
        .verification_state
        .parse()
        .map_err(|err| ApiError::invalid(format!("{err}")))?;
    let description = input.verification_state_description.as_deref();
    let put = api.db.put_verification(input.violation_id, state, description).await;
    put.map_err(|err| ApiError::from(err).missing_is_invalid())?;
    Ok(wire::Done {})
}

/// Says in words why there is a violation, what would clear it, and what was done about it.
///
/// # Errors
/// `ResourceNotFoundException`
pub async fn explain(
    api: Api,
    _: Caller,
    input: picket::ExplainViolation,
) -> Result<picket::ViolationExplanation, ApiError> {
    let found = api.db.violation(input.violation_id).await?;
    let violation = found.ok_or_else(|| ApiError::not_found("violation", input.violation_id))?;
    let engine = api
        .explainer
        .explain(&violation.thing, &violation.profile, &violation.behavior.name)
        .await;
    let n_in_alarm = api.db.n_in_alarm(&violation.profile, &violation.behavior.name).await?;
    let about_device = DecisionFilter {
        thing: Some(violation.thing.clone()),
        is_in_force: None,
    };
    let decisions = api.db.decisions(&about_device, None, N_DECISIONS_MAX).await?;
    let is_because_of = |decision: &&Decision| match &decision.cause {
        Cause::Response { violation: cause, .. } => *cause == violation.id,
        Cause::Operator => false,
    };
    let because: Vec<&Decision> = decisions.iter().filter(is_because_of).collect();
    let why_not_quarantined = why_not_quarantined(&api, &violation, &decisions, &because).await?;
    Ok(picket::ViolationExplanation {
        violation_id: violation.id.to_string(),
        thing_name: violation.thing.to_string(),
        security_profile_name: violation.profile.to_string(),
        behavior: Behavior::from(&*violation.behavior),
        in_words: violation.behavior.in_words(),
        last_violation_value: MetricValue::from(&violation.last_value),
        violation_start_time: violation.started_at.into(),
        last_violation_time: violation.last_at.into(),
        violation_end_time: violation.ended_at.map(Into::into),
        what_clears_it: what_clears_it(&violation, engine.as_ref().and_then(|said| said.what_clears_it.clone())),
        is_supported: violation.is_supported,
        is_before_window_end: violation.is_eager,
        others_in_alarm: n_in_alarm.saturating_sub(u64::from(violation.ended_at.is_none())),
        decisions: because.iter().map(|decision| decision_described(decision)).collect(),
        why_not_quarantined,
        engine: engine.map(|said| said.facts),
    })
}

fn what_clears_it(violation: &Violation, by_engine: Option<String>) -> String {
    if violation.ended_at.is_some() {
        return "it is not in alarm any more".to_owned();
    }
    by_engine.unwrap_or_else(|| {
        let n = violation
            .behavior
            .criteria
            .as_ref()
            .map_or(1, |criteria| criteria.n_to_clear());
        let datapoints = if n == 1 {
            "one normal datapoint".to_owned()
        } else {
            format!("{n} normal datapoints in a row")
        };
        format!("{datapoints}, or two days without any datapoint")
    })
}

/// Why the device is not cut off because of the violation; `None` when it is, or was.
async fn why_not_quarantined(
    api: &ApiState,
    violation: &Violation,
    about_device: &[Decision],
    because: &[&Decision],
) -> Result<Option<String>, ApiError> {
    if because.iter().any(|decision| decision.released.is_none()) {
        return Ok(None);
    }
    if let Some((_, by)) = because.iter().find_map(|decision| decision.released.as_ref()) {
        return Ok(Some(format!(
            "{by} released it; a response acts once on a violation, so it stays free"
        )));
    }
    let responses = api.db.responses().await?;
    let quarantining = responses.iter().any(|response| {
        response.quarantine.is_some() && response.concerns(&violation.profile, &violation.behavior.name)
    });
    let reason = if about_device.iter().any(|decision| decision.released.is_none()) {
        "the device is quarantined for another reason"
    } else if !quarantining {
        "no enabled response quarantines for this profile and behavior"
    } else if !violation.is_supported {
        "the reports behind it did not come over a certificate attached to the thing, so anybody may have sent them"
    } else {
        "the response has not acted: it was created after the alarm, or is about to act"
    };
    Ok(Some(reason.to_owned()))
}

fn active(violation: Violation) -> wire::ActiveViolation {
    wire::ActiveViolation {
        violation_id: violation.id.to_string(),
        thing_name: violation.thing.to_string(),
        security_profile_name: violation.profile.to_string(),
        behavior: Behavior::from(&*violation.behavior),
        last_violation_value: MetricValue::from(&violation.last_value),
        verification_state: violation.verification.as_str().to_owned(),
        verification_state_description: violation.verification_description,
        last_violation_time: violation.last_at.into(),
        violation_start_time: violation.started_at.into(),
    }
}

fn event(event: ViolationEvent) -> wire::ViolationEvent {
    wire::ViolationEvent {
        violation_id: event.id.to_string(),
        thing_name: event.thing.to_string(),
        security_profile_name: event.profile.to_string(),
        behavior: Behavior::from(&*event.behavior),
        metric_value: event.value.as_ref().map(MetricValue::from),
        violation_event_type: event.event.as_str().to_owned(),
        verification_state: event.verification.as_str().to_owned(),
        verification_state_description: event.verification_description,
        violation_event_time: event.at.into(),
        picket_before_window_end: event.is_eager && event.event == EventType::InAlarm,
    }
}

/// One of the texts that the table permits, as the noun.
fn choice<T: FromStr<Err: std::fmt::Display>>(text: Option<&str>) -> Result<Option<T>, ApiError> {
    text.map(str::parse)
        .transpose()
        .map_err(|err: T::Err| ApiError::invalid(err.to_string()))
}
