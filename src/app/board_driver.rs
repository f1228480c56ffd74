//! Which hardware encoders the board has something for, told to the trials as the probe finds it.
//!
//! `hw::Hardware`, versions of firmware → `trial::Board`. Whether a node really encodes is what the trial shows.

use crate::base::task;
use crate::hw::{self, Direction, Feed, Hardware};
use crate::skills::trial::{self, Board, CANDIDATES, Candidate};

/// Texts that change when firmware does: BIOS, boot loader of a Raspberry Pi.
const FIRMWARE: [&str; 2] = ["/sys/class/dmi/id/bios_version", "/proc/device-tree/chosen/bootloader/version"];

/// Offers what `hardware` finds, from its first look on.
pub(super) fn offer(mut hardware: hw::Handle, trials: trial::Handle) {
    task::spawn(async move {
        let firmware = FIRMWARE.map(|file| std::fs::read_to_string(file).unwrap_or_default());
        let firmware = firmware.join(" ").replace('\0', "").trim().to_owned();
        loop {
            trials.offer(board(&*hardware.hardware().await, firmware.clone()));
            hardware.changed().await;
        }
    });
}

fn board(hardware: &Hardware, firmware: String) -> Board {
    let known = hardware.board.known.as_ref();
    let is_tried = |name: &str| trial::codec(name).is_some();
    let encoders = hardware.coders.iter().filter(|coder| coder.direction == Direction::Encode && is_tried(&coder.name));
    let candidates = encoders.map(|coder| Candidate {
        encoder: coder.name.clone(),
        device: match &coder.feed {
            Feed::Device(node) => Ok(node.into()),
            Feed::None(reason) => Err(reason.clone()),
        },
        macroblocks_per_second: known.and_then(|known| known.encoder_macroblocks),
    });
    // Those with a device come first where there are too many.
    let (mut candidates, without): (Vec<_>, Vec<_>) = candidates.partition(|candidate| candidate.device.is_ok());
    candidates.extend(without);
    candidates.truncate(CANDIDATES);
    Board { candidates, firmware }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn encoders_of_recorded_boards() {
        let device = |file: &str, encoder: &str| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/boards").join(file);
            let hardware = Hardware::new(&hw::replay(&path).expect("a tree"));
            let board = board(&hardware, String::new());
            assert!(board.candidates.len() <= CANDIDATES);
            let candidate =
                board.candidates.into_iter().find(|candidate| candidate.encoder == encoder).expect("listed");
            (candidate.device.is_ok(), candidate.macroblocks_per_second)
        };
        assert_eq!(device("rpi-4_64bit.json", "h264_v4l2m2m"), (true, Some(245_760)));
        assert!(!device("rpi-4_64bit.json", "h264_omx").0);
        assert!(!device("rpi-5_64bit.json", "h264_v4l2m2m").0);
    }
}
