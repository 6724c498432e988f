//! Items of the outbox as rows: a kind and a JSON body.

use picket_model::record::Member;
use picket_model::violation::ViolationNotice;
use serde::{Deserialize, Serialize};

use super::OutboxItem;
use crate::StoreError;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenMember {
    thing: String,
    is_registered: bool,
    groups: Vec<String>,
}

/// The kind and body of an item.
pub(super) fn encode(item: &OutboxItem) -> Result<(&'static str, String), StoreError> {
    Ok(match item {
        OutboxItem::Config { revision } => ("config", revision.to_string()),
        OutboxItem::Member(member) => ("member", encode_member(member)?),
        OutboxItem::Violation(notice) => ("violation", encode_notice(notice)?),
        OutboxItem::Supported(notice) => ("supported", encode_notice(notice)?),
    })
}

/// The item of a kind and body.
pub(super) fn decode(kind: &str, body: &str) -> Result<OutboxItem, StoreError> {
    Ok(match kind {
        "config" => OutboxItem::Config {
            revision: body.parse().map_err(|err| unreadable(body, err))?,
        },
        "member" => OutboxItem::Member(decode_member(body)?),
        "violation" => OutboxItem::Violation(decode_notice(body)?),
        "supported" => OutboxItem::Supported(decode_notice(body)?),
        other => {
            let expected = "expected config, member, violation or supported";
            return Err(StoreError::corrupt("kind of an outbox item", other, expected));
        }
    })
}

fn encode_member(member: &Member) -> Result<String, StoreError> {
    let written = WrittenMember {
        thing: member.thing.to_string(),
        is_registered: member.is_registered,
        groups: member.groups.iter().map(ToString::to_string).collect(),
    };
    serde_json::to_string(&written).map_err(|err| unreadable(&written.thing, err))
}

fn decode_member(body: &str) -> Result<Member, StoreError> {
    let written: WrittenMember = serde_json::from_str(body).map_err(|err| unreadable(body, err))?;
    let groups = written.groups.iter().map(|group| group.parse());
    Ok(Member {
        thing: written.thing.parse().map_err(|err| unreadable(body, err))?,
        is_registered: written.is_registered,
        groups: groups.collect::<Result<_, _>>().map_err(|err| unreadable(body, err))?,
    })
}

fn encode_notice(notice: &ViolationNotice) -> Result<String, StoreError> {
    let body = notice.encode();
    String::from_utf8(body).map_err(|err| unreadable(&notice.id.to_string(), err))
}

fn decode_notice(body: &str) -> Result<ViolationNotice, StoreError> {
    ViolationNotice::decode(body.as_bytes()).map_err(|err| unreadable(body, err))
}

fn unreadable(found: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::corrupt("outbox item", found, source)
}
