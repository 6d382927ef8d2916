//! admix-tensor
