//! The ARN of a resource, made from the ARN of another one of the same account.

/// Which account and region a name belongs to is for the server to say: this takes both from `arn`, which the server
/// has answered, and puts `resource` behind them. `None` when `arn` is not one.
pub(crate) fn sibling(arn: &str, resource: &str) -> Option<String> {
    let mut parts = arn.splitn(6, ':');
    let prefix: Vec<&str> = parts.by_ref().take(5).collect();
    let is_arn = prefix.len() == 5 && prefix.first() == Some(&"arn") && parts.next().is_some();
    is_arn.then(|| format!("{}:{resource}", prefix.join(":")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn siblings_share_all_but_the_resource() {
        for (arn, expected) in [
            (
                "arn:aws:iot:eu-west-1:123456789012:policy/a",
                Some("arn:aws:iot:eu-west-1:123456789012:cert/ff"),
            ),
            (
                "arn:aws:iot:eu-west-1:123456789012:thing/a:b",
                Some("arn:aws:iot:eu-west-1:123456789012:cert/ff"),
            ),
            ("arn:aws:iot:eu-west-1:123456789012", None),
            ("policy/a", None),
            ("urn:aws:iot:eu-west-1:123456789012:policy/a", None),
        ] {
            assert_eq!(sibling(arn, "cert/ff").as_deref(), expected, "{arn}");
        }
    }
}
