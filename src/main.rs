//! The `sidestream` command: everything is in the library, this only hands it the process.

use std::process::ExitCode;

fn main() -> ExitCode {
    sidestream::cli::main(std::env::args_os())
}
