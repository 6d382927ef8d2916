//! admix-mix
