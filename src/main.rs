// SPDX-License-Identifier: MIT OR Apache-2.0
//! The `livestick` program: from the command line to a front end, and an exit status.

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use livestick::cli::{self, Cli, Command};
use livestick::command;
use livestick::host;
use livestick::livecd_iso_to_disk;
use livestick::report::Exit;
use livestick::secret;
use livestick::writer;

fn main() -> ExitCode {
    secret::keep_from_cores();
    host::await_randomness();
    host::place_temporary_files();
    if std::env::args_os().skip(1).eq([writer::NAME]) {
        return status(writer::run());
    }
    let mut words = std::env::args_os();
    if livecd_iso_to_disk::is_called(words.next().as_deref()) {
        return status(command::livecd_iso_to_disk(words));
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // What was asked for, or the whole help where nothing was.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::DisplayHelp
                    | ErrorKind::DisplayVersion
                    | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            ) =>
        {
            error.exit()
        }
        Err(error) => {
            let json = std::env::args_os().any(|word| word == "--json");
            return ExitCode::from(command::usage(cli::reason(&error), json).code());
        }
    };
    status(match cli.command {
        None => command::interface_or_help(),
        Some(Command::Inspect(options)) => command::inspect(&options),
        Some(Command::List(options)) => command::list(&options),
        Some(Command::Write(options)) => command::write(&options),
        Some(Command::Tui(options)) => command::interface(&options),
        Some(Command::Verify(options)) => command::verify(&options),
        Some(Command::Repair(options)) => command::repair(&options),
        Some(Command::Extract(options)) => command::extract(&options),
        Some(Command::Reset(options)) => command::reset(&options),
        Some(Command::Detach(options)) => command::detach(&options),
        Some(Command::Doctor(options)) => command::doctor(&options),
        Some(Command::LivecdIsoToDisk(options)) => command::livecd_iso_to_disk(options.words),
        Some(Command::Probe(options)) => command::probe(&options),
    })
}

fn status(exit: Result<(), Exit>) -> ExitCode {
    ExitCode::from(match exit {
        Ok(()) => Exit::Verified.code(),
        Err(exit) => exit.code(),
    })
}
