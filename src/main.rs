//! `swiped`: the command. A table of contents; everything is in the library.

mod cli;

use std::{path::Path, process::ExitCode};

use clap::Parser;
use cli::{Cli, Command, Leases};
use swiped::{
    app,
    config::{self, Config},
};

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(file) => app::run_file(&file.config),
        Command::Check(file) => check(&file.config),
        Command::Leases(Leases::List { file, json }) => leases_list(&file.config, json),
    }
}

/// The problems are what was asked for, so they go to standard output.
fn check(file: &Path) -> ExitCode {
    match Config::load(file, config::environment()) {
        Ok(config) => {
            println!("{}: ok", file.display());
            println!("{}", config.summary());
            ExitCode::SUCCESS
        }
        Err(problems) => {
            problems.iter().for_each(|problem| println!("{problem}"));
            ExitCode::FAILURE
        }
    }
}

fn leases_list(file: &Path, json: bool) -> ExitCode {
    let listed = match Config::load(file, config::environment()) {
        Ok(config) => app::leases_list(&config, json),
        Err(problems) => {
            problems.iter().for_each(|problem| eprintln!("{problem}"));
            return ExitCode::FAILURE;
        }
    };
    match listed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("swiped: {error:#}");
            ExitCode::FAILURE
        }
    }
}
