//! The program `rill-admin`: what needs root, for one connection.

use std::process::ExitCode;

fn main() -> ExitCode {
    rill::admin::server::run(std::env::args_os().skip(1))
}
