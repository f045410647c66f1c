//! `loadgen drain`: the real daemon and the bare loop, on a small backlog.

use std::process::{Command, Output};

use serde_json::Value;

/// What `loadgen drain` with these words says and reports.
fn drain(name: &str, words: &[&str]) -> (Output, Value) {
    let file = format!("swiped-{name}-{}.json", std::process::id());
    let file = std::env::temp_dir().join(file);
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["drain", "--cards", "300", "--json"])
        .arg(&file)
        .args(words)
        .output()
        .expect("the load generator starts");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| {
        let said = String::from_utf8_lossy(&output.stderr);
        panic!("no report: {error}\n{said}")
    });
    std::fs::remove_file(&file).expect("removes");
    // A drain that missed an objective keeps its logs and says where.
    let said = String::from_utf8_lossy(&output.stdout);
    if let Some(logs) = said.lines().find_map(|line| line.strip_prefix("logs: ")) {
        std::fs::remove_dir_all(logs).expect("removes");
    }
    drop(said);
    (output, serde_json::from_str(&text).expect("JSON"))
}

#[test]
fn a_backlog_is_drained_by_both_and_every_swipe_is_decided_once() {
    let words = "--rounds 1 --shards 2 --swipes 3000 --max-ratio 1000";
    let words: Vec<&str> = words.split(' ').collect();
    let (output, report) = drain("plain", &words);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("every swipe decided and right"), "{said}");
    let row = &report["rows"][0];
    for (field, expected) in [
        ("swipes", 3000),
        ("swipe_records", 3000),
        ("decided", 3000),
        ("lost", 0),
        ("duplicates", 0),
    ] {
        assert_eq!(row[field], expected, "{field}");
    }
    // The loop writes as many records as the daemon, of the same size but for what rounding takes.
    assert_eq!(row["written"]["entries"], 3000);
    assert_eq!(row["bare_written"]["entries"], 3000);
    let bytes = |who: &str| row[who]["bytes"].as_f64().expect("a number");
    let ratio = bytes("bare_written") / bytes("written");
    assert!((0.99..1.01).contains(&ratio), "{ratio}");
    for field in ["cpu_us_per_swipe", "bare_cpu_us_per_swipe", "ratio"] {
        assert!(report[field].as_f64() > Some(0.0), "{field}");
    }
}

#[test]
fn aggregates_go_to_the_table_and_a_missed_objective_is_told() {
    let words = "--rounds 1 --shards 2 --swipes 1500 --aggregate 20 --sink table --look-ups --min-per-core 1e12";
    let words: Vec<&str> = words.split(' ').collect();
    let (output, report) = drain("table", &words);
    assert_eq!(output.status.code(), Some(1));
    let row = &report["rows"][0];
    assert_eq!((&row["decided"], &row["lost"]), (&1500.into(), &0.into()));
    assert!(row["swipe_records"].as_u64() < Some(200), "{row}");
    assert_eq!(row["replay"]["swipes"], 1500);
}

#[test]
fn the_daemon_catches_up_on_a_backlog_while_swipes_go_on() {
    let words = "--shards 2 --swipes 6000 --live 200 --deadline 30";
    let words: Vec<&str> = words.split(' ').collect();
    let (output, report) = drain("live", &words);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("caught up; every swipe decided"), "{said}");
    for field in ["lost", "wrong", "contradictory", "unexpected", "duplicates"] {
        assert_eq!(report[field], 0, "{field}");
    }
    assert!(report["live"].as_u64() > Some(400), "{report}");
    assert!(report["behind_most"].as_u64() > Some(3000), "{report}");
    assert!(report["behind_at_end"].as_u64() <= Some(200), "{report}");
    for field in ["caught_up_seconds", "cpu_seconds", "resident_peak_bytes"] {
        assert!(report[field].as_f64() > Some(0.0), "{field}");
    }
}
