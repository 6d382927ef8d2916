//! The one actor that owns the engine: takes work, does it in order, and leaves news for whoever draws.
//!
//! Natively it is a thread of its own (the device's work is ordered per thread); in a browser tab a task on the page's only thread, which yields
//! wherever the engine waits for the device. Both run the same loop (`worker`). Work for the live picture is newest-wins: a new request removes
//! the waiting one and cancels the running one. Pictures on their way travel in a slot that holds the latest only.

mod queue;
mod work;
mod worker;

use std::sync::Arc;

use admix_engine::tensor::Gpu;
use admix_engine::{Picture, Session};

pub use work::{
    Card, Count, Export, Finished, Given, ModelCard, News, Open, Purpose, Render, Shelved, Stage, Trouble, Waiting,
    Work,
};

use queue::Shared;

/// Asks whoever draws to look for news.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// The handle to the actor. Dropping it cancels what runs and ends the actor.
pub struct Desk {
    shared: Arc<Shared>,
    next: u64,
    #[cfg(not(target_arch = "wasm32"))]
    thread: Option<std::thread::JoinHandle<()>>,
}

/// The latest word on the running work.
#[derive(Clone, Debug)]
pub struct Live {
    /// Number of the work ([`Desk::submit`] gave it).
    pub id: u64,
    /// What kind of render it is.
    pub purpose: Purpose,
    /// What is happening.
    pub stage: Stage,
    /// Seconds since the work began.
    pub started: web_time::Instant,
    /// When the first step of denoising began and how many were done then, to tell the time left.
    pub steps_since: Option<web_time::Instant>,
    /// The newest preview, and its number.
    pub preview: Option<(Arc<Picture>, usize)>,
}

impl Live {
    /// Seconds left of the denoising, once a step is done.
    pub fn seconds_left(&self) -> Option<f64> {
        let Stage::Step { done, total } = self.stage else { return None };
        let since = self.steps_since?;
        (done > 0).then(|| since.elapsed().as_secs_f64() / done as f64 * total.saturating_sub(done) as f64)
    }
}

impl Desk {
    /// Starts the actor on a device that exists (the window's).
    pub fn start(gpu: Arc<Gpu>, wake: Wake) -> Desk {
        let shared = Arc::new(Shared::new(wake));
        let theirs = shared.clone();
        #[cfg(not(target_arch = "wasm32"))]
        {
            let run = move || {
                use std::panic::{AssertUnwindSafe, catch_unwind};
                // Nothing of a session that panicked is used again: the next one starts from the files.
                let work = || pollster::block_on(worker::run(Session::with_device(gpu.clone()), theirs.clone()));
                while catch_unwind(AssertUnwindSafe(work)).is_err() {
                    theirs.broke();
                }
            };
            let thread = std::thread::Builder::new().name("engine".into()).spawn(run);
            if let Err(error) = &thread {
                shared.news(News::Failed {
                    id: 0,
                    purpose: None,
                    error: format!("the engine's thread cannot start: {error}"),
                    trouble: Trouble::Other,
                });
            }
            Desk { shared, next: 0, thread: thread.ok() }
        }
        #[cfg(target_arch = "wasm32")]
        {
            wasm_bindgen_futures::spawn_local(worker::run(Session::with_device(gpu), theirs));
            Desk { shared, next: 0 }
        }
    }

    /// Hands over work and gives its number.
    pub fn submit(&mut self, work: Work) -> u64 {
        self.next += 1;
        #[cfg(target_arch = "wasm32")]
        if let Work::Open(open) = &work {
            wasm_bindgen_futures::spawn_local(worker::glance(open.clone(), self.shared.clone()));
        }
        self.shared.push(self.next, work);
        self.next
    }

    /// Names the folders and files among which adapters that a prompt names are looked for, from the next work on. In a tab the engine has them all.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn set_libraries(&self, libraries: Vec<std::path::PathBuf>) {
        self.shared.set_libraries(libraries);
    }

    /// Cancels the running render or export and, with `waiting`, what waits behind it.
    pub fn cancel(&self, waiting: bool) {
        self.shared.cancel(waiting);
    }

    /// Cancels one piece of work, running or waiting.
    pub fn cancel_one(&self, id: u64) {
        self.shared.cancel_one(id);
    }

    /// Forgets what waits and lets what runs end.
    pub fn cancel_rest(&self) {
        self.shared.drop_waiting(|_| true);
    }

    /// Renders and exports that wait, in order.
    pub fn queue(&self) -> Vec<Waiting> {
        self.shared.list()
    }

    /// Cancels live previews only.
    pub fn cancel_live(&self) {
        self.shared.cancel_live();
    }

    /// News since the last call, oldest first.
    pub fn news(&self) -> Vec<News> {
        self.shared.take_news()
    }

    /// What runs right now.
    pub fn live(&self) -> Option<Live> {
        self.shared.live()
    }

    /// Renders and exports that wait because somebody asked for them (no studies).
    pub fn waiting(&self) -> usize {
        self.shared.waiting()
    }

    /// True while something runs or waits.
    pub fn is_busy(&self) -> bool {
        self.shared.is_busy()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.shared.close();
        // A step is short: waiting for it lets the device go away in order.
        #[cfg(not(target_arch = "wasm32"))]
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the engine's thread ended in a panic");
        }
    }
}
