//! Adapter files.

/// Whether a key is one that adapters have and checkpoints do not.
pub fn looks_like_adapter_key(key: &str) -> bool {
    [".lora_", "lora_A.", "lora_B.", ".hada_", ".lokr_", ".lora.", ".oft_", ".boft_"].iter().any(|p| key.contains(p))
}
