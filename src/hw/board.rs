//! Which board this is, by the `compatible` words of its device tree, and what is known of it: data in `board/`.
//!
//! A file of `board/` is lines `key = value`, `#` begins a comment line; an image build reads the same files. The model's
//! text is for people only: firmware and mainline kernels word it differently. A PC has no device tree; its name is DMI's.

use super::snapshot::Snapshot;

/// The files of `board/`.
const BOARDS: [&str; 11] = [
    include_str!("../../board/raspberrypi-1.conf"),
    include_str!("../../board/raspberrypi-2-3.conf"),
    include_str!("../../board/raspberrypi-4.conf"),
    include_str!("../../board/raspberrypi-5.conf"),
    include_str!("../../board/rockchip-rk3566.conf"),
    include_str!("../../board/rockchip-rk3588.conf"),
    include_str!("../../board/allwinner-h3.conf"),
    include_str!("../../board/allwinner-h616.conf"),
    include_str!("../../board/nxp-imx6.conf"),
    include_str!("../../board/nxp-imx8m.conf"),
    include_str!("../../board/ti-am335x.conf"),
];

/// A board, and what `board/` says of its kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Board {
    /// As firmware or BIOS says it; `None`: neither does.
    pub model: Option<String>,
    /// Words of the device tree, the most particular one first.
    pub compatible: Vec<String>,
    /// What `board/` knows of it.
    pub known: Option<Known>,
}

/// A file of `board/`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    pub name: String,
    pub soc: String,
    /// Macroblocks (16×16 pixels) a second that all hardware encodings together may have.
    pub encoder_macroblocks: Option<u64>,
    /// The pixel format that FFmpeg has to be told (`-pix_fmt`).
    pub encoder_pix_fmt: Option<String>,
    /// Parameter sets come once, at the start of the stream.
    pub has_headers_once: bool,
    /// For people: what to know about video on it.
    pub note: Option<String>,
}

impl Board {
    /// The board of `snapshot`.
    pub fn of(snapshot: &Snapshot) -> Self {
        let words = |text: &str| text.split('\0').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        let compatible: Vec<String> = snapshot.text("/proc/device-tree/compatible").map(words).unwrap_or_default();
        let tree = snapshot.text("/proc/device-tree/model").map(str::to_owned);
        let model = tree.or_else(|| dmi(snapshot));
        let known = compatible.iter().find_map(|word| BOARDS.iter().find_map(|file| known(file, word)));
        Self { model, compatible, known }
    }

    /// What it is called: by us, by its firmware, or not at all.
    pub fn name(&self) -> &str {
        let known = self.known.as_ref().map(|known| known.name.as_str());
        self.model.as_deref().or(known).unwrap_or("unknown")
    }
}

/// Maker and model of a PC. Boards leave what nobody filled in as it was.
fn dmi(snapshot: &Snapshot) -> Option<String> {
    let part = |name: &str| {
        let text = snapshot.text(&format!("/sys/class/dmi/id/{name}"))?;
        (!text.is_empty() && text != "To Be Filled By O.E.M." && text != "Default string").then_some(text)
    };
    match (part("sys_vendor"), part("product_name").or_else(|| part("board_name"))) {
        (Some(vendor), Some(product)) => Some(format!("{vendor} {product}")),
        (vendor, product) => vendor.or(product).map(str::to_owned),
    }
}

/// `file`, if it is about a board with the word `compatible`.
fn known(file: &str, compatible: &str) -> Option<Known> {
    let value = |key: &str| {
        file.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
            let (name, value) = line.split_once('=')?;
            (name.trim() == key).then(|| value.trim().to_owned())
        })
    };
    value("compatible")?.split(' ').any(|word| word == compatible).then(|| Known {
        name: value("name").unwrap_or_default(),
        soc: value("soc").unwrap_or_default(),
        encoder_macroblocks: value("encoder_macroblocks_per_second").and_then(|number| number.parse().ok()),
        encoder_pix_fmt: value("encoder_pix_fmt"),
        has_headers_once: value("encoder_headers").as_deref() == Some("once"),
        note: value("note"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_says_what_it_is_about() {
        const KEYS: [&str; 7] = [
            "name",
            "compatible",
            "soc",
            "encoder_macroblocks_per_second",
            "encoder_pix_fmt",
            "encoder_headers",
            "note",
        ];
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("board");
        assert_eq!(std::fs::read_dir(folder).expect("a folder").count(), BOARDS.len(), "each file is built in");
        let mut words: Vec<&str> = Vec::new();
        for file in BOARDS {
            for line in file.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
                let (key, value) = line.split_once(" = ").unwrap_or_else(|| panic!("{line:?}"));
                assert!(KEYS.contains(&key) && !value.trim().is_empty(), "{line:?}");
                if key == "compatible" {
                    words.extend(value.split(' '));
                }
            }
            let word = file.lines().find_map(|line| line.strip_prefix("compatible = ")).expect("a board");
            let known = known(file, word.split(' ').next().unwrap_or_default()).expect("found by its own word");
            assert!(!known.name.is_empty() && !known.soc.is_empty(), "{file}");
        }
        let all = words.len();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), all, "a word leads to one file");
    }
}
