//! `picket diff`, `picket apply` and `picket import aws`, between real servers.

use std::fmt::Write as _;

use crate::fleet::{ACCESS_KEY_ID, Fleet, SECRET_ACCESS_KEY, binary};

const FLEET: &str = "
policies:
  DenyAll:
    document: {Version: '2012-10-17', Statement: [{Effect: Deny, Action: 'iot:*', Resource: '*'}]}
groups:
  IsolatedDevices: {description: not to be trusted, policies: [DenyAll]}
  Plant: {attributes: {site: north}}
  Hall: {parent: Plant}
customMetrics:
  cpu: {metricType: number, displayName: load}
dimensions:
  Telemetry: {stringValues: ['temperature/#']}
mitigationActions:
  Isolate:
    roleArn: arn:aws:iam::123456789012:role/Isolate
    actionParams: {addThingsToThingGroupParams: {thingGroupNames: [IsolatedDevices]}}
profiles:
  Story:
    description: what is normal
    behaviors:
      - name: BytesOut
        metric: aws:all-bytes-out
        criteria: {comparisonOperator: less-than-equals, value: {count: 5000000}, durationSeconds: 300}
      - name: Cpu
        metric: cpu
        criteria: {comparisonOperator: less-than, value: {number: 90}}
    targets: [Hall, all/registered-things]
";

const ALLOW: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iot:*","Resource":"*"}}"#;

fn file(fleet: &Fleet, text: &str) -> String {
    let path = fleet.path("fleet.yaml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_file_becomes_the_fleet_once_and_what_is_more_goes_only_when_asked() {
    let fleet = Fleet::start("");
    let path = file(&fleet, FLEET);
    let planned = fleet.cli(&["diff", "-f", &path]);
    assert!(
        planned.contains("+ policy DenyAll on group IsolatedDevices\n"),
        "{planned}"
    );
    assert_eq!(
        fleet.try_cli(&["diff", "-f", &path, "--exit-code"]).status.code(),
        Some(3)
    );
    assert_eq!(
        fleet.cli(&["apply", "-f", &path, "--dry-run"]),
        planned,
        "a dry run does nothing"
    );
    assert_eq!(fleet.cli(&["apply", "-f", &path]), planned);
    for _ in 0..2 {
        assert_eq!(fleet.cli(&["apply", "-f", &path]), "", "there is nothing left to do");
    }
    assert_eq!(
        fleet.try_cli(&["diff", "-f", &path, "--exit-code"]).status.code(),
        Some(0)
    );

    // Everything that can change changes, more often than a policy has versions.
    for n in 0..7 {
        let changed = FLEET
            .replace("not to be trusted", &format!("number {n}"))
            .replace("'iot:*', Resource", &format!("'iot:Publish{n}', Resource"))
            .replace("displayName: load", &format!("displayName: load{n}"))
            .replace("temperature/#", &format!("temperature/{n}"))
            .replace("role/Isolate", &format!("role/Isolate{n}"))
            .replace("count: 5000000", &format!("count: {n}"));
        let path = file(&fleet, &changed);
        let steps = fleet.cli(&["apply", "-f", &path]);
        assert_eq!(
            steps.lines().filter(|line| line.starts_with("~ ")).count(),
            6,
            "{steps}"
        );
        assert_eq!(fleet.cli(&["diff", "-f", &path]), "");
    }

    // What the file does not name stays, until it is to go.
    let less = "{policies: {}, groups: {Plant: {attributes: {site: north}}}, profiles: {}}";
    let path = file(&fleet, less);
    assert_eq!(fleet.cli(&["apply", "-f", &path]), "");
    let gone = fleet.cli(&["apply", "-f", &path, "--prune"]);
    let expected = "- profile Story\n- group Hall\n- group IsolatedDevices\n- policy DenyAll\n";
    assert_eq!(gone, expected);
    assert!(fleet.cli(&["diff", "-f", &path, "--prune"]).is_empty());

    let refused = fleet.try_cli(&["apply", "-f", &file(&fleet, "groups: {Plant: {parent: Other}}")]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("a group never moves"),
        "{said}"
    );
}

/// The account is another Picket: to who reads it, it speaks as AWS does.
#[test]
fn an_account_comes_over_with_its_devices_keys_and_again_without_a_difference() {
    let (account, here) = (Fleet::start("account_id = \"210987654321\""), Fleet::start(""));
    account.cli(&["apply", "-f", &file(&account, FLEET)]);
    account.policy("AllowAll", ALLOW);
    let mut certificates = String::new();
    for n in 0..3 {
        let device = account.device(&format!("pump-{n}"));
        account.cli(&["group", "add", "Hall", &device.thing]);
        writeln!(certificates, "{}", device.certificate_id).unwrap();
    }
    account.cli(&["group", "add", "IsolatedDevices", "pump-2"]);

    let import = |options: &[&str]| {
        let mut command = here.program(&binary("picket"));
        command
            .args(["import", "aws", "--from-region", "eu-west-1"])
            .args(options);
        command.arg("--from-endpoint").arg(format!("http://{}", account.api));
        command
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY);
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert!(output.status.success(), "{said}");
        said
    };
    let report = import(&["--dry-run"]);
    assert!(report.contains("nothing was done"), "{report}");
    assert!(
        report
            .lines()
            .any(|line| line.split_whitespace().eq(["certificate", "3", "3", "0"])),
        "{report}"
    );
    assert_eq!(
        here.json(&["thing", "list"])["things"].as_array().map(Vec::len),
        Some(0)
    );
    let done = import(&[]);
    assert!(done.contains("done: "), "{done}");
    for id in certificates.lines() {
        assert!(here.cli(&["certificate", "show", id]).contains("ACTIVE"), "{id}");
    }
    let again = import(&[]);
    assert!(again.contains("done: 0 changes"), "{again}");
    assert_eq!(
        here.cli(&["diff", "-f", &file(&here, FLEET)]),
        "",
        "it is the same fleet"
    );

    // A device that came over connects with the key it has always had; the one that is isolated stays out.
    let device = |n: usize| crate::fleet::Device {
        thing: format!("pump-{n}"),
        folder: account.path(&format!("device-pump-{n}")),
        certificate_id: certificates.lines().nth(n).unwrap().to_owned(),
    };
    for (n, is_admitted) in [(0, true), (2, false)] {
        let device = device(n);
        let options = ["-t", "temperature/x", "-m", "21"];
        let status = here
            .mosquitto("mosquitto_pub", &device, &device.thing, &options)
            .status()
            .unwrap();
        assert_eq!(status.success(), is_admitted, "{}", device.thing);
    }

    // What differs is left alone, and said.
    here.cli(&["certificate", "deactivate", certificates.lines().next().unwrap()]);
    let kept = import(&[]);
    assert!(kept.contains("different here, left alone: certificate"), "{kept}");
}
