// SPDX-License-Identifier: MIT OR Apache-2.0
//! The `livestick` program: from the command line to a front end, and an exit status.

use std::process::ExitCode;

use clap::Parser;
use livestick::cli::{Cli, Command};
use livestick::command;
use livestick::report::Exit;

fn main() -> ExitCode {
    let exit = match Cli::parse().command {
        Command::Inspect(options) => command::inspect(&options),
        Command::List(options) => command::list(&options),
        Command::Write(options) => command::write(&options),
    };
    ExitCode::from(match exit {
        Ok(()) => Exit::Verified.code(),
        Err(exit) => exit.code(),
    })
}
