//! Ctrl-C: the first asks running work to stop, so that unfinished files are removed; the second ends the program.

use admix_engine::Cancel;

/// A flag that the first Ctrl-C sets.
pub fn on_ctrl_c() -> Cancel {
    let cancel = Cancel::default();
    let flag = cancel.clone();
    // Without a handler Ctrl-C ends the program at once, which is no loss.
    let _ = ctrlc::set_handler(move || {
        if flag.is_cancelled() {
            std::process::exit(1);
        }
        flag.cancel();
    });
    cancel
}
