// SPDX-License-Identifier: MIT OR Apache-2.0
//! Events as JSON, one object a line, each with the version of its form. The last line is the report or the failure.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::event::{Event, VERSION};
use crate::report::Failure;
use crate::ui::say;

/// One JSON object with the version in it.
#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    version: u32,
    #[serde(flatten)]
    value: T,
}

/// `value` as one line, with the version of the form.
pub fn line<T: Serialize>(value: &T) -> String {
    let text = serde_json::to_string(&Versioned {
        version: VERSION,
        value,
    });
    // Only a map with keys that are no text could fail; say so instead of nothing.
    let text = text.unwrap_or_else(|error| {
        json!({ "version": VERSION, "error": error.to_string() }).to_string()
    });
    text + "\n"
}

/// What [`line`] wrote, read again; the error says what is wrong with it.
pub fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T, String> {
    #[derive(Deserialize)]
    struct Head {
        version: u32,
    }
    let head: Head = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    if head.version != VERSION {
        return Err(format!(
            "it has the form of version {}, not {VERSION}",
            head.version
        ));
    }
    let versioned: Versioned<T> = serde_json::from_slice(line).map_err(|e| e.to_string())?;
    Ok(versioned.value)
}

/// Prints events.
#[derive(Debug, Default)]
pub struct Json {
    last: u64,
}

/// Progress is told in steps of this many thousandths of the job.
const STEP: u64 = 5;

impl Json {
    /// Takes one event.
    pub fn event(&mut self, event: &Event) {
        if let Event::Progress { done, total, .. } = event {
            let now = done.0.saturating_mul(1000) / total.0.max(1) / STEP;
            if now == self.last {
                return;
            }
            self.last = now;
        }
        say(&line(event));
    }
}

/// The last event of a job that did not begin.
pub fn failure(failure: Failure) {
    say(&line(&Event::Failed { failure }));
}
