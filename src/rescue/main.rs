//! The rescue page's own small program: no arguments, all it needs stands in the environment of its service.

use std::process::ExitCode;

fn main() -> ExitCode {
    rill::rescue::driver::run()
}
