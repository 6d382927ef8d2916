//! admix-model
