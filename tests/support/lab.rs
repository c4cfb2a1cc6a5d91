// SPDX-License-Identifier: MIT OR Apache-2.0
//! Small live images, each made once for a test binary, and a place for them and for what is made from them.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Arc, LazyLock, Mutex, OnceLock};

use super::program::{command, run, text};

/// A directory of this process. What ended processes left is removed when the next one asks for its own.
pub fn scratch() -> &'static Path {
    static SCRATCH: LazyLock<PathBuf> = LazyLock::new(|| {
        let top = Path::new(env!("CARGO_TARGET_TMPDIR"));
        for entry in fs::read_dir(top).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap_or_default();
            let process = name.strip_prefix("lab-");
            if process.is_some_and(|id| !Path::new("/proc").join(id).exists()) {
                // Another test binary may be at it, too.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let own = top.join(format!("lab-{}", process::id()));
        fs::create_dir_all(&own).unwrap();
        own
    });
    &SCRATCH
}

/// The image that `tests/lab/small-iso` makes of these arguments.
pub fn iso(layout: &str, options: &[&str]) -> PathBuf {
    type Made = Arc<OnceLock<PathBuf>>;
    static MADE: LazyLock<Mutex<HashMap<String, Made>>> = LazyLock::new(Mutex::default);
    let name = [&[layout], options].concat().join("");
    let made = Arc::clone(MADE.lock().unwrap().entry(name.clone()).or_default());
    let path = made.get_or_init(|| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/small-iso");
        let path = scratch().join(name + ".iso");
        run(script, &[&[layout, text(&path)], options].concat());
        path
    });
    path.clone()
}

/// The program under test, with these arguments.
pub fn livestick(arguments: &[&str]) -> process::Output {
    let program = env!("CARGO_BIN_EXE_livestick");
    command(program).args(arguments).output().unwrap()
}
