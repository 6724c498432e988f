//! A question to the policies, and the answer.

/// What a principal wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The action.
    pub action: Action,
    /// What it is done to, as named on the wire: the client id of a connect, the topic of a publish or receive, the
    /// filter of a subscribe as the client wrote it, the thing of a shadow or job action.
    pub name: &'a str,
}

/// What can be done. The actions of AWS IoT that a device asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// `iot:Connect` on `client/<client id>`.
    Connect,
    /// `iot:Publish` on `topic/<topic>`; also asked for the will, already at connect.
    Publish,
    /// `iot:RetainPublish` on `topic/<topic>`; asked in addition to [`Action::Publish`] when RETAIN is set.
    RetainPublish,
    /// `iot:Subscribe` on `topicfilter/<filter>`; wildcards in the filter are plain characters here.
    Subscribe,
    /// `iot:Receive` on `topic/<topic>`; asked at every delivery.
    Receive,
    /// `iot:GetRetainedMessage` on `topic/<topic>`.
    GetRetainedMessage,
    /// `iot:ListRetainedMessages` on `*`.
    ListRetainedMessages,
    /// `iot:GetThingShadow` on `thing/<name>`.
    GetThingShadow,
    /// `iot:UpdateThingShadow` on `thing/<name>`.
    UpdateThingShadow,
    /// `iot:DeleteThingShadow` on `thing/<name>`.
    DeleteThingShadow,
    /// `iot:ListNamedShadowsForThing` on `*`.
    ListNamedShadowsForThing,
    /// `iot:DescribeJobExecution` on `thing/<name>`.
    DescribeJobExecution,
    /// `iot:GetPendingJobExecutions` on `thing/<name>`.
    GetPendingJobExecutions,
    /// `iot:StartNextPendingJobExecution` on `thing/<name>`.
    StartNextPendingJobExecution,
    /// `iot:UpdateJobExecution` on `thing/<name>`.
    UpdateJobExecution,
    /// `iot:AssumeRoleWithCertificate` on `rolealias/<alias>`.
    AssumeRoleWithCertificate,
}

/// The answer. Only [`Decision::Allow`] permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Something allows it and nothing denies it.
    Allow,
    /// A `Deny` statement matches, whatever else allows.
    ExplicitDeny,
    /// No statement matches.
    ImplicitDeny,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Connect,
        Self::Publish,
        Self::RetainPublish,
        Self::Subscribe,
        Self::Receive,
        Self::GetRetainedMessage,
        Self::ListRetainedMessages,
        Self::GetThingShadow,
        Self::UpdateThingShadow,
        Self::DeleteThingShadow,
        Self::ListNamedShadowsForThing,
        Self::DescribeJobExecution,
        Self::GetPendingJobExecutions,
        Self::StartNextPendingJobExecution,
        Self::UpdateJobExecution,
        Self::AssumeRoleWithCertificate,
    ];

    /// The name in a policy document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "iot:Connect",
            Self::Publish => "iot:Publish",
            Self::RetainPublish => "iot:RetainPublish",
            Self::Subscribe => "iot:Subscribe",
            Self::Receive => "iot:Receive",
            Self::GetRetainedMessage => "iot:GetRetainedMessage",
            Self::ListRetainedMessages => "iot:ListRetainedMessages",
            Self::GetThingShadow => "iot:GetThingShadow",
            Self::UpdateThingShadow => "iot:UpdateThingShadow",
            Self::DeleteThingShadow => "iot:DeleteThingShadow",
            Self::ListNamedShadowsForThing => "iot:ListNamedShadowsForThing",
            Self::DescribeJobExecution => "iot:DescribeJobExecution",
            Self::GetPendingJobExecutions => "iot:GetPendingJobExecutions",
            Self::StartNextPendingJobExecution => "iot:StartNextPendingJobExecution",
            Self::UpdateJobExecution => "iot:UpdateJobExecution",
            Self::AssumeRoleWithCertificate => "iot:AssumeRoleWithCertificate",
        }
    }

    /// What stands before the name in the resource's ARN, with the slash; empty where there is no resource but `*`.
    pub const fn resource_prefix(self) -> &'static str {
        match self {
            Self::Connect => "client/",
            Self::Publish | Self::RetainPublish | Self::Receive | Self::GetRetainedMessage => "topic/",
            Self::Subscribe => "topicfilter/",
            Self::GetThingShadow
            | Self::UpdateThingShadow
            | Self::DeleteThingShadow
            | Self::DescribeJobExecution
            | Self::GetPendingJobExecutions
            | Self::StartNextPendingJobExecution
            | Self::UpdateJobExecution => "thing/",
            Self::ListRetainedMessages | Self::ListNamedShadowsForThing => "",
            Self::AssumeRoleWithCertificate => "rolealias/",
        }
    }
}
