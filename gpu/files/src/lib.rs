//! admix-files
