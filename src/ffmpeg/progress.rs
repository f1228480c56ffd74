//! Progress of one run, whatever source told it: `-progress` on fd 3, stderr lines or jsonstats.

/// Totals and rates of a run (`contract/ffmpeg-parsing.md` §5).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    pub inputs: Vec<IoProgress>,
    pub outputs: Vec<IoProgress>,
    pub frame: u64,
    pub packet: u64,
    pub size_bytes: u64,
    pub drop: u64,
    pub dup: u64,
    pub fps: f64,
    pub q: f64,
    /// Seconds of media.
    pub time: f64,
    /// Bit per second.
    pub bitrate: f64,
    pub speed: f64,
}

/// One stream of an input or output.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IoProgress {
    /// Config id of the input or output with this file index; empty beyond the config.
    pub id: String,
    /// As FFmpeg reports it.
    pub address: String,
    pub format: String,
    /// `video`, `audio` or `subtitle`.
    pub kind: String,
    pub codec: String,
    pub coder: String,
    /// File number, then stream number within it, as FFmpeg prints them.
    pub index: u64,
    pub stream: u64,
    pub frame: u64,
    pub keyframe: u64,
    pub packet: u64,
    pub size_bytes: u64,
    pub extradata_size_bytes: u64,
    pub framerate: FrameRate,
    pub fps: f64,
    pub pps: f64,
    /// Bit per second.
    pub bitrate: f64,
    pub q: f64,
    pub pix_fmt: String,
    pub width: u64,
    pub height: u64,
    /// Frames in a second of media, as the table of streams says; 0 if it does not.
    pub rate: f64,
    pub sampling_hz: u64,
    pub layout: String,
    pub channels: u64,
    pub avstream: Option<AvStream>,
}

/// Frame rates seen, from jsonstats.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FrameRate {
    pub min: f64,
    pub max: f64,
    pub avg: f64,
}

/// State of a playout input, from `avstream.progress:` lines.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AvStream {
    pub input: AvStreamIo,
    pub output: AvStreamIo,
    pub aqueue: u64,
    pub queue: u64,
    pub dup: u64,
    pub drop: u64,
    pub enc: u64,
    pub looping: bool,
    pub looping_runtime: u64,
    pub duplicating: bool,
    pub gop: String,
}

/// One side of a playout input.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AvStreamIo {
    pub state: String,
    pub packet: u64,
    pub time: u64,
    /// Bytes; Core answers them under the name `size_kb`.
    pub size_bytes: u64,
}
