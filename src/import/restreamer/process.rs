//! What all imported processes have in common.

use crate::process::{Order, ProcessConfig};
use crate::store::Record;

pub(super) fn common() -> ProcessConfig {
    ProcessConfig {
        options: super::sources::words(&["-err_detect", "ignore_err"]),
        reconnect: true,
        autostart: true,
        ..ProcessConfig::default()
    }
}

pub(super) fn record(config: ProcessConfig, order: Order, unix: i64) -> Record {
    Record { config, created_at: unix, updated_at: unix, order }
}
