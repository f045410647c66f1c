//! `swiped`: the command. Everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    swiped::cli::run(std::env::args_os())
}
