//! admix-engine
