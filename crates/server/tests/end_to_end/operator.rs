//! The operator's commands as they are typed: what they say, and what they end with.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

use serde_json::json;

use crate::fleet::{ACCESS_KEY_ID, Fleet, binary};

/// The exit code, and what was said on stdout and stderr.
fn told(output: &Output) -> (Option<i32>, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

fn file(fleet: &Fleet, name: &str, text: &str) -> String {
    let path = fleet.path(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn commands_say_what_they_found_and_what_they_expected() {
    let fleet = Fleet::start("");
    let behavior =
        |criteria| json!({ "behaviors": [{ "name": "out", "metric": "aws:all-bytes-out", "criteria": criteria }] });
    let inverted =
        behavior(json!({ "comparisonOperator": "greater-than", "value": { "count": 200 }, "durationSeconds": 300 }));
    let endless = behavior(json!({ "comparisonOperator": "less-than", "value": { "count": 200 } }));
    let files = [
        ("inverted.json", inverted.to_string()),
        ("endless.json", endless.to_string()),
        ("misspelled.json", inverted.to_string().replace("criteria", "critera")),
        ("half.json", "{".to_owned()),
        (
            "policy.json",
            r#"{"Statement":{"Effect":"Deny","Actions":"*","Resource":"*"}}"#.to_owned(),
        ),
    ];
    let [inverted, endless, misspelled, half, policy] = files.map(|(name, text)| file(&fleet, name, &text));
    for (line, code, part) in [
        ("thing create pump-7 --attribute site=north", 0, "created thing pump-7"),
        ("thing create pump-7", 1, "exists already"),
        ("thing create pump/7", 2, "expected only [a-zA-Z0-9:_-]"),
        ("thing describe nobody", 1, "thing nobody does not exist"),
        ("thing list --output yaml", 2, "possible values: table, json"),
        ("thing release pump-7", 0, "nothing to release"),
        ("thing quarantine pump-7", 0, "quarantined pump-7"),
        ("response undo 1", 0, "undid decision 1"),
        ("response undo 1", 0, "nothing to undo"),
        ("response undo 99", 1, "does not exist"),
        ("response create Stop", 2, "--quarantine"),
        (
            "response create Stop --profile Stroy --quarantine",
            0,
            "warning: security profile Stroy does not exist",
        ),
        ("response delete Stop", 0, "deleted"),
        (
            &format!("profile create P --file {inverted}"),
            0,
            "did you mean less-than-equals 200?",
        ),
        (
            &format!("profile create Q --file {endless}"),
            1,
            "requires criteria's duration field to be set",
        ),
        (
            &format!("profile create Q --file {misspelled}"),
            1,
            "unknown member `critera`",
        ),
        (&format!("profile create Q --file {half}"), 1, "is not JSON"),
        (&format!("policy create Q {policy}"), 1, "unknown field `Actions`"),
        ("policy create Q /nowhere", 1, "cannot read /nowhere"),
        ("certificate show 12", 2, "expected 64 hex digits"),
        (
            "violation explain 00000000000000000000000000000000",
            1,
            "does not exist",
        ),
        ("key disable AKIANOBODY0000000000", 1, "AKIANOBODY0000000000"),
    ] {
        let arguments: Vec<&str> = line.split(' ').collect();
        let (found, said) = told(&fleet.try_cli(&arguments));
        assert!(
            found == Some(code) && said.contains(part),
            "picket {line}: {found:?}: {said}"
        );
    }
}

#[test]
fn a_key_is_made_used_and_disabled_at_once() {
    let fleet = Fleet::start("");
    let made = fleet.json(&["key", "create", "--description", "a test"]);
    let text = |member: &str| made[member].as_str().unwrap().to_owned();
    let (id, secret) = (text("accessKeyId"), text("secretAccessKey"));
    let with_it = || {
        let mut command = fleet.program(&binary("picket"));
        command.args(["thing", "list"]);
        command
            .env("PICKET_ACCESS_KEY_ID", &id)
            .env("PICKET_SECRET_ACCESS_KEY", &secret);
        told(&command.output().unwrap())
    };
    assert_eq!(with_it().0, Some(0));
    fleet.cli(&["key", "disable", &id]);
    let (code, said) = with_it();
    assert!(code == Some(1) && said.contains("unknown or disabled"), "{said}");
    let keys = fleet.json(&["key", "list"]);
    let disabled: Vec<&str> = keys["keys"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|key| key["isEnabled"] == false)
        .filter_map(|key| key["accessKeyId"].as_str())
        .collect();
    assert_eq!(
        disabled,
        [id.as_str()],
        "the key that was named, and not the one that signed"
    );
    assert!(!keys.to_string().contains(&secret) && !fleet.server_log().contains(&secret));
}

#[test]
fn servers_and_keys_that_cannot_be_used_are_named() {
    let fleet = Fleet::start("");
    let operator = std::fs::read_to_string(fleet.data().join("operator.toml")).unwrap();
    let key_file = |name, text: &str, mode| {
        let path = file(&fleet, name, text);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let good = key_file("good.toml", &operator, 0o600);
    let open = key_file("open.toml", &operator, 0o644);
    let stranger = operator.replace(ACCESS_KEY_ID, "AKIDNOBODY0000000001");
    let unknown = key_file("unknown.toml", &stranger, 0o600);
    let picket = |arguments: &[&str]| {
        let mut command = Command::new(binary("picket"));
        command
            .env_clear()
            .env("HOME", fleet.path("nobody"))
            .args(["thing", "list"]);
        told(&command.args(arguments).output().unwrap())
    };
    for (arguments, part) in [
        (&[][..], "PICKET_ENDPOINT"),
        (&["--credentials", &open], "its mode is 644, expected 600"),
        (&["--credentials", &unknown], "unknown or disabled"),
        (&["--credentials", "/nowhere"], "/nowhere"),
        (&["--credentials", &good, "--endpoint", "nonsense"], "nonsense"),
    ] {
        let (code, said) = picket(arguments);
        assert!(
            code == Some(1) && said.contains(part),
            "{arguments:?}: {code:?}: {said}"
        );
        assert!(!said.contains("secret_access_key ="), "{said}");
    }
    // Port 1 is nobody's.
    let mut command = fleet.program(&binary("picket"));
    command.args(["thing", "list", "--endpoint", "http://127.0.0.1:1"]);
    let (code, said) = told(&command.output().unwrap());
    assert!(
        code == Some(1) && said.contains("cannot reach the server at http://127.0.0.1:1"),
        "{said}"
    );
}
