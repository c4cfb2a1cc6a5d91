// SPDX-License-Identifier: MIT OR Apache-2.0
//! The identifiers of what is made: random, or derived from `--seed` so that the same request gives the same stick.

use uuid::Uuid;

/// The namespace of derived identifiers (RFC 9562, 5.5); any constant would do.
const NAMESPACE: Uuid = uuid::uuid!("5f0f0a5e-6c1b-4d2e-9f4e-6c6976657374");

/// A source of identifiers.
#[derive(Clone, Debug)]
pub struct Ids {
    seed: Option<String>,
}

impl Ids {
    /// Random ones without a seed.
    pub fn new(seed: Option<&str>) -> Ids {
        Ids {
            seed: seed.map(Into::into),
        }
    }

    /// The identifier of `what`.
    pub fn uuid(&self, what: &str) -> Uuid {
        match &self.seed {
            None => Uuid::new_v4(),
            Some(seed) => Uuid::new_v5(&NAMESPACE, format!("{seed}/{what}").as_bytes()),
        }
    }
}
