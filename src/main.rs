// SPDX-License-Identifier: MIT OR Apache-2.0
//! The `livestick` program: from the command line to a front end, and an exit status.

use std::process::ExitCode;

use clap::Parser;
use livestick::cli::{Cli, Command};
use livestick::command;
use livestick::report::Exit;
use livestick::writer;

fn main() -> ExitCode {
    if std::env::args_os().skip(1).eq([writer::NAME]) {
        return status(writer::run());
    }
    status(match Cli::parse().command {
        Command::Inspect(options) => command::inspect(&options),
        Command::List(options) => command::list(&options),
        Command::Write(options) => command::write(&options),
    })
}

fn status(exit: Result<(), Exit>) -> ExitCode {
    ExitCode::from(match exit {
        Ok(()) => Exit::Verified.code(),
        Err(exit) => exit.code(),
    })
}
