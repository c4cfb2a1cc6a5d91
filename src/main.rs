// SPDX-License-Identifier: MIT OR Apache-2.0
//! The `livestick` program: from the command line to a front end, and an exit status.

use std::process::ExitCode;

use clap::Parser;
use livestick::cli::{Cli, Command};
use livestick::command;
use livestick::report::Exit;

fn main() -> ExitCode {
    let exit = match Cli::parse().command {
        None => command::interface_or_help(),
        Some(Command::Inspect(options)) => command::inspect(&options),
        Some(Command::List(options)) => command::list(&options),
        Some(Command::Write(options)) => command::write(&options),
        Some(Command::Tui(options)) => command::interface(&options),
    };
    ExitCode::from(match exit {
        Ok(()) => Exit::Verified.code(),
        Err(exit) => exit.code(),
    })
}
