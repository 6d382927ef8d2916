//! Where the log goes: nowhere unless asked, and for the window, which has no terminal to speak to, into a file.

use env_logger::{Builder, Env};

/// Sets the log up. What matters is said by the commands themselves; `RUST_LOG` asks for more.
pub fn start() {
    #[cfg_attr(not(feature = "studio"), allow(unused_mut))]
    let mut builder = Builder::from_env(Env::default().default_filter_or("off"));
    #[cfg(feature = "studio")]
    if std::env::args_os().len() == 1
        && std::env::var_os("RUST_LOG").is_none()
        && let Some(file) = crate::io::store::root().ok().and_then(|folder| open(&folder))
    {
        builder.filter_level(log::LevelFilter::Error).target(env_logger::Target::Pipe(Box::new(file)));
    }
    // A second logger is harmless: the first stays.
    let _ = builder.try_init();
}

/// A log this long begins anew.
#[cfg(feature = "studio")]
const LONGEST: u64 = 1 << 20;

/// The log in the program's data folder; none where nothing can be written there.
#[cfg(feature = "studio")]
fn open(folder: &std::path::Path) -> Option<std::fs::File> {
    let path = folder.join("admix.log");
    std::fs::create_dir_all(folder).ok()?;
    let is_long = std::fs::metadata(&path).is_ok_and(|about| about.len() > LONGEST);
    std::fs::OpenOptions::new().create(true).append(!is_long).write(true).truncate(is_long).open(path).ok()
}

#[cfg(all(test, feature = "studio"))]
mod tests {
    use std::io::Write as _;

    #[test]
    fn the_log_goes_on_and_does_not_grow_for_ever() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |bytes: &[u8]| super::open(folder.path()).expect("opens").write_all(bytes).expect("writes");
        let length = || std::fs::metadata(folder.path().join("admix.log")).expect("is there").len();
        write(b"one");
        write(b"two");
        assert_eq!(length(), 6);
        write(&vec![b'x'; super::LONGEST as usize]);
        write(b"new");
        assert_eq!(length(), 3);
        assert!(super::open(&folder.path().join("admix.log")).is_none());
    }
}
