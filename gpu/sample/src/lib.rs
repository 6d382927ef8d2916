//! admix-sample
