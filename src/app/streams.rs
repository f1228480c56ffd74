//! The owners of live streams: the relay, and the servers that fill it and read it.
//!
//! start: sockets are taken before the first process may write to them · reload: everything that can fail, then `apply`.

use std::os::fd::OwnedFd;

use crate::base::alarm::Alarms;
use crate::base::blocking::Blocking;
use crate::config::Config;
use crate::listen::Shelf;
use crate::media::Repairs;
use crate::relay::Relay;
use crate::rtmp;
use crate::session;
use crate::srt;
use crate::sys;
use crate::tls;

/// Cheap handles to all of them.
#[derive(Clone)]
pub(super) struct Streams {
    pub(super) relay: Relay,
    pub(super) rtmp: rtmp::Handle,
    pub(super) srt: srt::Handle,
}

/// What the servers work with.
pub(super) struct Deps {
    pub(super) alarms: Alarms,
    pub(super) blocking: Blocking,
    pub(super) shelf: Shelf,
    pub(super) repairs: Repairs,
    pub(super) sessions: session::Registry,
    pub(super) tls: tls::Handle,
    /// The limit of the process.
    pub(super) open_files: usize,
}

/// What a reload does, once nothing of it can fail any more.
pub(super) struct Prepared {
    rtmp: rtmp::Change,
    srt: Option<srt::Prepared>,
}

impl Streams {
    /// Starts the servers that are configured.
    ///
    /// # Errors
    /// A port is taken, or an address is not of this box.
    pub(super) async fn start(config: &Config, deps: Deps) -> Result<Self, super::Error> {
        let relay = Relay::new(sys::memory::available());
        let Deps { alarms, blocking, shelf, repairs, sessions, tls, open_files } = deps;
        let srt = srt::spawn(srt::Deps {
            alarms: alarms.clone(),
            blocking: blocking.clone(),
            shelf: shelf.clone(),
            relay: relay.clone(),
            repairs: repairs.clone(),
            sessions: sessions.clone(),
        });
        let rtmp = rtmp::spawn(
            rtmp::Deps { alarms, blocking, shelf, relay: relay.clone(), repairs, sessions, tls },
            open_files,
        );
        let streams = Self { relay, rtmp, srt };
        let prepared = streams.prepare(config).await?;
        streams.apply(config, prepared);
        Ok(streams)
    }

    /// Everything of a reload that can fail.
    pub(super) async fn prepare(&self, config: &Config) -> Result<Prepared, super::Error> {
        let rtmp = self.rtmp.prepare(rtmp::Section::new(config).as_ref()).await?;
        let srt = self.srt.prepare(&config.srt).await?;
        Ok(Prepared { rtmp, srt })
    }

    /// What stays the same is not touched, nor are its connections.
    pub(super) fn apply(&self, config: &Config, prepared: Prepared) {
        self.rtmp.apply(prepared.rtmp);
        self.srt.apply(&config.srt, prepared.srt);
    }

    pub(super) fn shutdown(&self) {
        self.rtmp.shutdown();
        self.srt.shutdown();
    }

    /// Open files that are left for everything else.
    pub(super) fn files_left(open_files: usize) -> usize {
        open_files.saturating_sub(rtmp::connections(open_files))
    }

    /// For `Shelf::keep`.
    pub(super) fn sockets(&self) -> Vec<OwnedFd> {
        self.rtmp.sockets().into_iter().chain(self.srt.socket()).collect()
    }
}
