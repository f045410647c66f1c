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

fn check(file: &Path) -> ExitCode {
    let Some(config) = load(file) else {
        return ExitCode::FAILURE;
    };
    println!("{}: ok", file.display());
    println!("{}", config.summary());
    ExitCode::SUCCESS
}

fn leases_list(file: &Path, json: bool) -> ExitCode {
    let Some(config) = load(file) else {
        return ExitCode::FAILURE;
    };
    match app::leases_list(&config, json) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("swiped: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The configuration, or nothing after printing every problem, one a line.
fn load(file: &Path) -> Option<Config> {
    match Config::load(file, config::environment()) {
        Ok(config) => Some(config),
        Err(problems) => {
            for problem in problems {
                eprintln!("{problem}");
            }
            None
        }
    }
}
