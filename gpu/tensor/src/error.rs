//! What can go wrong between a program and the device.

/// An error of the device layer. Each text is one line for people: what, where, what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TensorError {
    /// No adapter that can run compute shaders was found.
    #[error(
        "no graphics adapter was found: install a Vulkan driver (Debian/Ubuntu: `apt-get install mesa-vulkan-drivers libvulkan1`; \
         a graphics card also works with its vendor's driver; in a browser use one with WebGPU), then start again"
    )]
    NoAdapter,
    /// The adapter refused to give a device.
    #[error("the graphics adapter {adapter} gave no device: {reason}")]
    NoDevice {
        /// Adapter name as the driver reports it.
        adapter: String,
        /// The driver's words.
        reason: String,
    },
    /// A buffer is larger than the device allows.
    #[error("{what} needs {needed} bytes in one buffer, but this device binds at most {limit}")]
    TooLarge {
        /// What the buffer was for.
        what: String,
        /// Bytes asked for.
        needed: u64,
        /// Bytes the device allows.
        limit: u64,
    },
    /// The device ran out of memory, was lost, or rejected a command.
    #[error("the graphics device failed: {0}; free memory or choose smaller pictures, then try again")]
    Device(String),
    /// A shader was asked for that does not exist or is malformed.
    #[error("shader {name}: {reason}")]
    Shader {
        /// Stem below `shaders/`.
        name: String,
        /// Why it cannot be used.
        reason: String,
    },
}
