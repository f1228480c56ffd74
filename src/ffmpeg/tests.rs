//! What the reference recorded against what we read.
