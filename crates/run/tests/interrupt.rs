//! Signals, in a process of their own: this test starts itself again as the child.

use std::process::Command;

use bedstone_run::{Interrupt, interrupt};

const CHILD: &str = "BEDSTONE_TEST_CHILD";

#[track_caller]
fn check(signals: &str, out: &str, code: Option<i32>) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--include-ignored"])
        .env(CHILD, signals)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&child.stdout);
    assert!(text.contains(out), "{text}");
    assert!(!text.contains("survived") || code == Some(0), "{text}");
    assert_eq!(child.status.code(), code);
}

#[test]
fn first_signal_asks_second_ends() {
    check("", "requested: false\nsurvived", Some(0));
    check("INT", "requested: true\nsurvived", Some(0));
    check("TERM", "requested: true\nsurvived", Some(0));
    check("INT INT", "", Some(interrupt::EXIT_CODE));
    check("TERM INT", "", Some(interrupt::EXIT_CODE));
    check("INT TERM", "", Some(interrupt::EXIT_CODE));
}

#[test]
#[ignore = "the child of the test above"]
fn child() {
    let Ok(signals) = std::env::var(CHILD) else { return };
    let flag = Interrupt::of_process(|| ()).unwrap();
    for signal in signals.split_whitespace() {
        let number = if signal == "INT" { signal_hook::consts::SIGINT } else { signal_hook::consts::SIGTERM };
        signal_hook::low_level::raise(number).unwrap();
    }
    assert_eq!(Interrupt::of_process(|| ()).unwrap().requested(), flag.requested());
    // The test harness has no line end before this.
    let text = format!("\nrequested: {}\nsurvived\n", flag.requested());
    std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes()).unwrap();
}
