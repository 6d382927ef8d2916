//! admix-tests
