//! Cuts a child's output into lines: bytes in, lossy UTF-8 lines out (`ffmpeg-parsing.md` §1).
//!
//! Any run of CR and LF ends a line, empty lines never appear, blanks are kept. A line longer than `LINE` is cut
//! there and its rest discarded; reading goes on, so that the child never blocks on a full pipe.

/// Longest line kept, in bytes.
pub const LINE: usize = 64 * 1024;
/// A buffer that had to grow beyond this is given back after its line.
const KEPT_BUFFER: usize = 4 * 1024;

/// Holds the unterminated rest between two reads.
#[derive(Debug, Default)]
pub struct LineSplitter {
    rest: Vec<u8>,
}

impl LineSplitter {
    /// Takes what was read and hands every line that ended to `line`.
    pub fn feed(&mut self, bytes: &[u8], mut line: impl FnMut(&str)) {
        let mut pieces = bytes.split(|byte| matches!(byte, b'\r' | b'\n'));
        let mut piece = pieces.next().unwrap_or_default();
        for next in pieces {
            if self.rest.is_empty() {
                emit(&piece[..piece.len().min(LINE)], &mut line);
            } else {
                self.keep(piece);
                self.finish(&mut line);
            }
            piece = next;
        }
        self.keep(piece);
    }

    /// The end of the output: hands over the unterminated last line, if there is one.
    pub fn finish(&mut self, mut line: impl FnMut(&str)) {
        emit(&self.rest, &mut line);
        self.rest.clear();
        if self.rest.capacity() > KEPT_BUFFER {
            self.rest = Vec::new();
        }
    }

    fn keep(&mut self, piece: &[u8]) {
        let room = LINE - self.rest.len();
        self.rest.extend_from_slice(&piece[..piece.len().min(room)]);
    }
}

fn emit(bytes: &[u8], line: &mut impl FnMut(&str)) {
    if !bytes.is_empty() {
        line(&String::from_utf8_lossy(bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<String> {
        let mut splitter = LineSplitter::default();
        let mut lines = Vec::new();
        for chunk in chunks {
            splitter.feed(chunk, |line| lines.push(line.to_owned()));
        }
        splitter.finish(|line| lines.push(line.to_owned()));
        lines
    }

    #[test]
    fn runs_of_cr_and_lf_separate_and_blanks_stay() {
        assert_eq!(split(&[b"a\r\n\r\n\rb\n\n  d  \n", b"e"]), ["a", "b", "  d  ", "e"]);
        assert_eq!(split(&[b"", b"\n", b"\r"]), [""; 0]);
    }

    #[test]
    fn a_line_may_come_in_pieces() {
        assert_eq!(split(&[b"fra", b"", b"me= 1\rsi", b"ze\n"]), ["frame= 1", "size"]);
    }

    #[test]
    fn the_unterminated_piece_waits_for_the_end() {
        let mut splitter = LineSplitter::default();
        splitter.feed(b"pending", |line| panic!("{line} has not ended"));
        let mut last = String::new();
        splitter.finish(|line| line.clone_into(&mut last));
        assert_eq!(last, "pending");
        splitter.finish(|line| panic!("{line} was handed over already"));
    }

    #[test]
    fn an_over_long_line_is_cut_and_reading_goes_on() {
        for chunk in [1000, LINE - 1, LINE, LINE + 1, 3 * LINE] {
            let long = vec![b'x'; 3 * LINE];
            let mut splitter = LineSplitter::default();
            let mut lengths = Vec::new();
            for piece in long.chunks(chunk) {
                splitter.feed(piece, |line| lengths.push(line.len()));
                assert!(splitter.rest.len() <= LINE);
            }
            splitter.feed(b"\nnext\n", |line| lengths.push(line.len()));
            assert_eq!(lengths, [LINE, 4], "in chunks of {chunk}");
            assert!(splitter.rest.capacity() <= KEPT_BUFFER);
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        assert_eq!(split(&[b"a\xff\xfeb\n"]), ["a\u{fffd}\u{fffd}b"]);
    }
}
