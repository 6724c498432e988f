//! Tests that need a port which belongs to somebody else: they run in a network of their own.

use std::process::Command;

/// Says that the test already runs in a network of its own.
const MARK: &str = "PICKET_TEST_OWN_NETWORK";

/// Whether this process is such a child: everything is built, and nothing can be fetched.
pub(crate) fn is_inside() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Runs `body` in a new network that has a loopback and nothing else, where every port is free and may be listened on,
/// and where disks may be mounted that nobody else sees.
/// The test of this name is run once more for it, as a child.
pub(crate) fn run(test: &str, body: impl FnOnce()) {
    if is_inside() {
        return body();
    }
    // Built here: inside there is no way out.
    crate::fleet::built();
    let script = r#"ip link set lo up && exec "$0" "$@""#;
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--mount", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    assert!(
        String::from_utf8_lossy(&said).contains("1 passed"),
        "no test is called {test}"
    );
}
