// SPDX-License-Identifier: MIT OR Apache-2.0
//! The JSON contract: what every stream of events keeps.

use serde_json::Value;

use crate::written::number;

/// The events of a stick that was written.
pub fn judge(said: &str) -> Vec<Value> {
    assert!(said.ends_with('\n'));
    let events: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}")))
        .collect();
    let kinds: Vec<&str> = events
        .iter()
        .map(|event| {
            assert!(event.is_object());
            assert_eq!(event["version"], 1, "{event}");
            event["event"].as_str().unwrap()
        })
        .collect();
    let count = |kind| kinds.iter().filter(|k| **k == kind).count();
    assert_eq!((kinds[0], count("planned")), ("planned", 1));
    assert_eq!((kinds[kinds.len() - 1], count("done")), ("done", 1));
    assert_eq!(count("failed"), 0);

    // Each step begins and ends once, in order, and progress is told inside of steps only.
    let steps = events[0]["steps"].as_array().unwrap();
    let total = number(&events[0]["total"]);
    let sum: u64 = steps.iter().map(|step| number(&step["bytes"])).sum();
    assert_eq!(sum, total);
    assert!(
        steps
            .iter()
            .all(|step| step["title"].is_string() && !step["work"].is_null())
    );
    let (mut at_work, mut ended, mut done) = (None, 0, 0);
    for event in &events[1..events.len() - 1] {
        match event["event"].as_str().unwrap() {
            "started" => {
                assert_eq!((at_work, number(&event["step"])), (None, ended));
                at_work = Some(ended);
            }
            "progress" => {
                assert_eq!(Some(number(&event["step"])), at_work);
                assert_eq!(event["total"], total);
                let now = number(&event["done"]);
                assert!(now >= done && now <= total, "{done} {event}");
                done = now;
            }
            "finished" => {
                assert_eq!(Some(number(&event["step"])), at_work);
                at_work = None;
                ended += 1;
            }
            "note" => assert!(event["text"].is_string()),
            other => panic!("{other}"),
        }
    }
    assert_eq!((ended, at_work), (steps.len() as u64, None));
    assert_eq!(done, total);
    events
}
