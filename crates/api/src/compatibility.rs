//! What is answered, and where it is not as on AWS: the page docs/compatibility.md is made of this and of the routes.

use std::fmt::Write as _;

use picket_aws::service::Service;

use crate::router::operations;

/// How an operation is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// As on AWS.
    Full,
    /// As on AWS, but for what is said beside it.
    Differs,
    /// Kept and shown again; it changes nothing else here.
    Kept,
    /// Its request is checked, then it is refused.
    Refused,
}

impl Status {
    const fn in_words(self) -> &'static str {
        match self {
            Self::Full => "answered",
            Self::Differs => "answered, differs",
            Self::Kept => "kept only",
            Self::Refused => "refused",
        }
    }
}

/// What is to be known of an operation beyond that it is answered.
#[derive(Clone, Copy, Debug)]
struct Note {
    operations: &'static [&'static str],
    status: Status,
    text: &'static str,
}

const fn note(operations: &'static [&'static str], status: Status, text: &'static str) -> Note {
    Note {
        operations,
        status,
        text,
    }
}

const NO_AUDIT: &str = "Audits come in a later version: InvalidRequestException says so.";
const NO_INDEX: &str = "InvalidRequestException: dynamic groups need fleet indexing, which Picket does not have.";
const EVENTS: &str = "Stored and answered; no `$aws/events` messages are sent yet.";
const LOGGING: &str = "Stored and answered; the server's own log is set by `PICKET_LOG`.";
const TRANSIENT: &str = "Retained messages and sessions are in memory: they do not survive a restart.";

/// By what they are about; an operation stands here once at most.
const NOTES: &[Note] = &[
    note(
        &["CreateThing"],
        Status::Differs,
        "Billing groups are refused. Thing ids are UUIDs of version 8.",
    ),
    note(
        &["CreateThingType", "UpdateThingType"],
        Status::Differs,
        "`mqtt5Configuration` is stored and changes no message. An update replaces the members that it names.",
    ),
    note(
        &["ListThingGroups"],
        Status::Differs,
        "Without a parent all groups are listed; with `recursive` false the roots only.",
    ),
    note(
        &[
            "CreateDynamicThingGroup",
            "UpdateDynamicThingGroup",
            "DeleteDynamicThingGroup",
        ],
        Status::Refused,
        NO_INDEX,
    ),
    note(
        &["GetThingConnectivityData"],
        Status::Differs,
        "Of the client whose id is the thing's name, since the server started. No reason is given while it is connected.",
    ),
    note(
        &["DescribeEndpoint"],
        Status::Differs,
        "Every type of endpoint has the name that devices reach this server by.",
    ),
    note(
        &["RegisterCertificateWithoutCA"],
        Status::Differs,
        "Certificates of X.509 version 1 work too: identity is the SHA-256 of the certificate, never a name in it.",
    ),
    note(
        &["CreateCertificateFromCsr"],
        Status::Differs,
        "RSA from 2048 bits, ECDSA on P-256 and P-384; P-521 is refused. Extensions of the request are left aside.",
    ),
    note(
        &["RegisterCertificate"],
        Status::Differs,
        "A signature with SHA-1 is no signature. Of several active CAs with the same name and key, one has to be named: \
         else CertificateConflictException.",
    ),
    note(
        &["RegisterCACertificate", "UpdateCACertificate"],
        Status::Differs,
        "Auto-registration and its template are stored and shown; devices are not registered at their first connect. A CA \
         vouches for certificates when they are registered, not when a device connects. Ten CA certificates may have one \
         name; one whose time is over is CertificateValidationException; a verification certificate beside `SNI_ONLY`, and \
         `removeAutoRegistration` beside what turns it on, are refused.",
    ),
    note(
        &["CreatePolicy"],
        Status::Differs,
        "A policy without a statement is malformed. Changes of policies, attachments, memberships and certificates \
         reach live sessions before the call is answered.",
    ),
    note(
        &["TestAuthorization"],
        Status::Differs,
        "A resource of another type than its action is refused; of several resources the worst counts. No Cognito. \
         `missingContextValues` also names what the registry has no value for.",
    ),
    note(
        &["CreateCustomMetric", "CreateDimension"],
        Status::Differs,
        "The same name with another `clientRequestToken` is ResourceAlreadyExistsException, even with the same settings. \
         A dimension's value has to be an MQTT topic filter. Names of the metrics that are Picket's own \
         (`picket:silence-duration` and its kin) are refused.",
    ),
    note(
        &["CreateSecurityProfile", "UpdateSecurityProfile"],
        Status::Differs,
        "Criteria that are not judged yet are accepted with the warning `not judged yet` in the extra member \
         `picketWarnings`, where doubtful ones (a profile that alarms on quiet devices) are told as well. Exported \
         values go out at most once, to whoever subscribes to the topic: `roleArn` is stored and not used, and a topic \
         `$aws/rules/<rule>` is one like others, since there are no rules. The three values of `aws:message-byte-size` end in \
         `:min`, `:max` and `:sum`. A topic that nobody can subscribe to is refused.",
    ),
    note(
        &["ListViolationEvents"],
        Status::Differs,
        "An alarm that did not wait for the end of its window has the extra member `picketBeforeWindowEnd`; with \
         `strict_aws_timing` there is none. So do alerts.",
    ),
    note(
        &["ListActiveViolations"],
        Status::Differs,
        "A filter by a profile that does not exist gives an empty list.",
    ),
    note(
        &["ListMetricValues"],
        Status::Differs,
        "Newest first, 14 days at most. Values are kept of every metric, whether a profile names it or not. A repeated report \
         has none. Of what the server measures, one value for each aligned bucket of five minutes that is over, with the \
         bucket's end as its time: sums, and of `aws:message-byte-size` the largest message. Not kept: \
         `aws:disconnect-duration` and the metrics that begin with `picket:`.",
    ),
    note(
        &["GetBehaviorModelTrainingSummaries"],
        Status::Differs,
        "PENDING_BUILD with 0 percent: nothing is learned yet.",
    ),
    note(
        &["CreateMitigationAction", "UpdateMitigationAction"],
        Status::Differs,
        "`roleArn` is stored and not used: the server acts by itself. Only ADD_THINGS_TO_THING_GROUP is ever applied, to \
         violations; the other types belong to audits. `overrideDynamicGroups` changes nothing. An update may change the type.",
    ),
    note(
        &["StartDetectMitigationActionsTask"],
        Status::Differs,
        "Violations that are named are acted on even when suppressed; those that began after the task are not. An action adds \
         to all of its groups or to none, so an execution starts and ends at once.",
    ),
    note(
        &["CancelDetectMitigationActionsTask"],
        Status::Differs,
        "What was cancelled leaves no executions.",
    ),
    note(
        &["DescribeEventConfigurations", "UpdateEventConfigurations"],
        Status::Kept,
        EVENTS,
    ),
    note(
        &[
            "SetLoggingOptions",
            "GetLoggingOptions",
            "SetV2LoggingOptions",
            "GetV2LoggingOptions",
        ],
        Status::Kept,
        LOGGING,
    ),
    note(
        &["DescribeAccountAuditConfiguration"],
        Status::Differs,
        "Every check is disabled.",
    ),
    note(
        &[
            "UpdateAccountAuditConfiguration",
            "DeleteAccountAuditConfiguration",
            "CreateScheduledAudit",
            "UpdateScheduledAudit",
            "DescribeScheduledAudit",
            "DeleteScheduledAudit",
            "ListScheduledAudits",
            "StartOnDemandAuditTask",
            "DescribeAuditTask",
            "ListAuditTasks",
            "CancelAuditTask",
            "ListAuditFindings",
            "DescribeAuditFinding",
            "ListRelatedResourcesForAuditFinding",
            "CreateAuditSuppression",
            "UpdateAuditSuppression",
            "DescribeAuditSuppression",
            "DeleteAuditSuppression",
            "ListAuditSuppressions",
            "StartAuditMitigationActionsTask",
            "DescribeAuditMitigationActionsTask",
            "ListAuditMitigationActionsTasks",
            "ListAuditMitigationActionsExecutions",
            "CancelAuditMitigationActionsTask",
        ],
        Status::Refused,
        NO_AUDIT,
    ),
];

/// The same of the data plane.
const DATA_NOTES: &[Note] = &[
    note(
        &["Publish"],
        Status::Differs,
        "A topic that begins with `$` is refused: reports come over MQTT, because the certificate decides whom to believe. \
         A payload of more than 128 KiB is InvalidRequestException. `messageExpiry` is 1 to 604800.",
    ),
    note(
        &["GetRetainedMessage", "ListRetainedMessages"],
        Status::Differs,
        TRANSIENT,
    ),
    note(
        &["GetConnection"],
        Status::Differs,
        "The last state of 100,000 clients that are away is known. `thingName` is set when the client id names a thing \
         that the certificate is attached to.",
    ),
    note(
        &["DeleteConnection"],
        Status::Differs,
        "With `cleanSession` the session of a client that is away ends too.",
    ),
];

/// The same of topics.
const TOPIC_NOTES: &[Note] = &[
    note(
        &["CreateTopic", "SetTopicAttributes"],
        Status::Differs,
        "1000 topics at most. No FIFO topics, no encryption keys. Attributes but the display name are stored and change \
         nothing; tags are accepted and dropped.",
    ),
    note(
        &["Subscribe"],
        Status::Differs,
        "`http` and `https` are delivered to; other protocols are stored and come with a later version. Filter, redrive and \
         delivery policies are refused. Addresses of this machine are allowed, redirects are never followed.",
    ),
    note(
        &["Publish"],
        Status::Differs,
        "Signature version 2 only; the signing certificate is served by this server, so a client that insists on \
         `amazonaws.com` has to be told. A target that answers anything but 2xx is tried 100 times, in order.",
    ),
    note(
        &["Unsubscribe"],
        Status::Differs,
        "No UnsubscribeConfirmation message is sent.",
    ),
];

const HEAD: &str = "\
# Compatibility with AWS

Made from the code by a test (`UPDATE_DOCS=1 cargo test -p picket-api --test compatibility` writes it anew).

Shapes and constraints are those of the AWS IoT service model (2015-05-28), and of its data plane and SNS; a test breaks each
constraint of the installed botocore model and expects the modelled error. An operation that is not listed is answered with
404 `UnknownOperationException`.

## What differs everywhere

- **Who may call**: whoever holds an access key of this server may call everything; there are no IAM policies. Session tokens are
  refused. `UNSIGNED-PAYLOAD` is refused, over TLS too.
- **ARNs** carry the region of the caller's credential scope, and the account that the server was started with. An ARN in a request
  may have any region.
- **Requests** whose body names a key twice, or that give a member of query or headers twice, are refused.
- **Rates** are not limited as on AWS; quotas of numbers are.
- **Times**: a change is in force for live sessions when its call is answered.
- **Own members** in answers begin with `picket`.
";

const TAIL: &str = "
## What is not answered

Jobs, shadows, rules, streams, OTA updates, fleet indexing and search, provisioning templates, custom authorizers, domain
configurations, role aliases, billing groups, certificate transfer, and V2 logging levels of single targets: Picket watches and stops
devices, it does not manage them. Cognito identities are no principals here. SNS: batches, platform applications, SMS and
permissions.
";

/// The page, as Markdown.
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    let sections = [
        ("Control plane (`iot`)", Service::Iot, NOTES),
        ("Data plane (`iot-data`)", Service::IotData, DATA_NOTES),
        ("Topics (`sns`)", Service::Sns, TOPIC_NOTES),
    ];
    for (heading, service, notes) in sections {
        // Writing to a text cannot fail.
        let _ = write!(
            page,
            "\n## {heading}\n\n| operation | status | what differs |\n|---|---|---|\n"
        );
        let mut operations = operations(service);
        operations.retain(|operation| !operation.path.starts_with(OWN_PATH));
        operations.sort_by_key(|operation| operation.name);
        for operation in operations {
            let found = notes.iter().find(|note| note.operations.contains(&operation.name));
            let (status, text) = found.map_or((Status::Full, ""), |note| (note.status, note.text));
            let _ = writeln!(page, "| {} | {} | {text} |", operation.name, status.in_words());
        }
    }
    let _ = write!(page, "\n## What Picket adds\n\n| operation | request |\n|---|---|\n");
    for operation in operations(Service::Iot) {
        if operation.path.starts_with(OWN_PATH) {
            let _ = writeln!(
                page,
                "| {} | `{} {}` |",
                operation.name, operation.method, operation.path
            );
        }
    }
    page + TAIL
}

/// What AWS lacks has its own place in paths.
const OWN_PATH: &str = "/picket/";

/// The names of the operations of AWS's that a service answers here.
pub fn answered(service: Service) -> Vec<&'static str> {
    let all = operations(service).into_iter();
    all.filter(|operation| !operation.path.starts_with(OWN_PATH))
        .map(|operation| operation.name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_note_is_of_an_operation_that_is_answered_and_no_operation_has_two() {
        for (service, notes) in [
            (Service::Iot, NOTES),
            (Service::IotData, DATA_NOTES),
            (Service::Sns, TOPIC_NOTES),
        ] {
            let answered = answered(service);
            let noted: Vec<&str> = notes.iter().flat_map(|note| note.operations).copied().collect();
            for (at, name) in noted.iter().enumerate() {
                assert!(answered.contains(name), "{name} is not answered");
                assert!(!noted[..at].contains(name), "{name} has two notes");
            }
        }
    }
}
