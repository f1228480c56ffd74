//! The module list of Rill, from the edge down to the leaves; ARCHITECTURE.md is the map.

pub mod app;
pub mod cli;
// edge
pub mod admin;
pub mod http;
pub mod import;
pub mod outside;
pub mod rescue;
// services
pub mod monitor;
pub mod rtmp;
pub mod srt;
pub mod supervisor;
// resources
pub mod cgroup;
pub mod events;
pub mod hw;
pub mod listen;
pub mod skills;
pub mod storage;
pub mod store;
pub mod tls;
// domain
pub mod auth;
pub mod ffmpeg;
pub mod hls;
pub mod media;
pub mod memfs;
pub mod metrics;
pub mod process;
pub mod relay;
pub mod session;
// base
pub mod base;
pub mod config;
pub mod log;
pub mod sys;
