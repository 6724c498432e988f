//! docs/leaving-aws.md, as it stands there: the account is another Picket.

use crate::fleet::{ACCESS_KEY_ID, Fleet, SECRET_ACCESS_KEY};
use crate::own_network;
use crate::page::{self, Fact, Shell};

/// What the account has, and alerts a topic of.
const ACCOUNT: &str = "
groups:
  Plant: {attributes: {site: north}}
profiles:
  Story:
    behaviors:
      - name: BytesOut
        metric: aws:all-bytes-out
        criteria: {comparisonOperator: less-than-equals, value: {count: 5000000}, durationSeconds: 300}
    alertTargets:
      SNS: {alertTargetArn: 'arn:aws:sns:eu-west-1:123456789012:BadIoTDevices', roleArn: 'arn:aws:iam::123456789012:role/Alert'}
    targets: [Plant]
";

#[test]
fn an_account_is_left_as_written() {
    own_network::run("leaving::an_account_is_left_as_written", || {
        let account = Fleet::start("account_id = \"123456789012\"\nregion = \"eu-west-1\"");
        let file = account.path("fleet.yaml");
        std::fs::write(&file, ACCOUNT).unwrap();
        account.cli(&["apply", "-f", file.to_str().unwrap()]);
        let device = account.device("pump-0");
        account.cli(&["group", "add", "Plant", "pump-0"]);
        let shell = Shell::start();
        std::fs::create_dir(shell.path("pump-0")).unwrap();
        for name in ["cert.pem", "private.key"] {
            std::fs::copy(device.folder.join(name), shell.path("pump-0").join(name)).unwrap();
        }

        let from = format!("--from-region eu-west-1 --from-endpoint http://{}", account.api);
        let key = format!("export AWS_ACCESS_KEY_ID={ACCESS_KEY_ID} AWS_SECRET_ACCESS_KEY={SECRET_ACCESS_KEY}");
        let replaced = [
            ("picket.example.com", "localhost"),
            ("eval $(aws configure export-credentials --format env)", key.as_str()),
            ("--from-region eu-west-1", from.as_str()),
        ];
        let facts: [Fact; 7] = [
            ("the server is ready", |shell| {
                shell.file("server.out").contains("url=https://localhost:8443")
            }),
            ("the report counts", |shell| {
                shell.said().contains("nothing was done") && reports(shell, ["certificate", "1", "1", "0"])
            }),
            ("it is brought over", |shell| {
                shell.said().contains("done: ") && shell.said().contains("BadIoTDevices")
            }),
            ("scripts find the things by their ARNs", |shell| {
                shell.said().contains("arn:aws:iot:eu-west-1:123456789012:thing/pump-0")
            }),
            ("the topic has its subscriber", |shell| {
                shell.said().contains(r#""SubscriptionArn": "pending confirmation""#)
            }),
            ("a response is there", |shell| shell.said().contains("Isolate")),
            ("the device is let in", |_| true),
        ];
        page::run_in(shell, "docs/leaving-aws.md", &replaced, &facts);
    });
}

/// Whether a line of the import's report has these words.
fn reports(shell: &Shell, words: [&str; 4]) -> bool {
    shell.said().lines().any(|line| line.split_whitespace().eq(words))
}
