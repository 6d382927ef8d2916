//! Work on cards that takes its time: shown as a row below the prompt, and given up with a click.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use web_time::Instant;

/// Files between two frames that show how far it is.
const STEP: usize = 16;

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Headers are read, and cards made of them.
    Reading,
    /// The tensors of large files are hashed: their cards then outlive the files' names.
    Hashing,
}

/// A piece of it.
pub struct Job {
    kind: Kind,
    started: Instant,
    done: AtomicUsize,
    of: AtomicUsize,
    stop: AtomicBool,
    wake: Arc<dyn Fn() + Send + Sync>,
}

impl Job {
    /// Notes how many files of how many are done.
    pub fn note(&self, done: usize, of: usize) {
        self.done.store(done, Ordering::Relaxed);
        self.of.store(of, Ordering::Relaxed);
        if done.is_multiple_of(STEP) || done == of {
            (self.wake)();
        }
    }

    /// The flag that ends it early.
    pub fn stop(&self) -> &AtomicBool {
        &self.stop
    }

    /// Whether it was asked to end.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// How far a piece of work is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// What it is.
    pub kind: Kind,
    /// Files done.
    pub done: usize,
    /// Of so many; 0 while that is not known.
    pub of: usize,
    /// Seconds since it began.
    pub seconds: f64,
}

/// All work at hand, at most one piece of a kind.
pub struct Jobs {
    open: Mutex<Vec<Arc<Job>>>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

impl Jobs {
    /// None yet; `wake` is called when there is something to show.
    pub fn new(wake: Arc<dyn Fn() + Send + Sync>) -> Jobs {
        Jobs { open: Mutex::default(), wake }
    }

    fn with<T>(&self, look: impl FnOnce(&mut Vec<Arc<Job>>) -> T) -> T {
        look(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins a piece of work, in place of the one of its kind that may be going on.
    pub fn begin(&self, kind: Kind) -> Arc<Job> {
        self.stop(kind);
        let job = Arc::new(Job {
            kind,
            started: Instant::now(),
            done: AtomicUsize::default(),
            of: AtomicUsize::default(),
            stop: AtomicBool::default(),
            wake: self.wake.clone(),
        });
        self.with(|open| open.push(job.clone()));
        job
    }

    /// Asks the work of a kind to end.
    pub fn stop(&self, kind: Kind) {
        let of_kind: Vec<Arc<Job>> = self.with(|open| open.extract_if(.., |job| job.kind == kind).collect());
        of_kind.iter().for_each(|job| job.stop.store(true, Ordering::Relaxed));
    }

    /// Asks everything to end.
    pub fn stop_all(&self) {
        [Kind::Reading, Kind::Hashing].into_iter().for_each(|kind| self.stop(kind));
    }

    /// Takes a piece of work off the list; false if another has taken its place or it was given up.
    pub fn end(&self, job: &Arc<Job>) -> bool {
        self.with(|open| {
            let before = open.len();
            open.retain(|other| !Arc::ptr_eq(other, job));
            open.len() < before
        })
    }

    /// What is going on.
    pub fn progress(&self) -> Vec<Progress> {
        let of = |job: &Arc<Job>| Progress {
            kind: job.kind,
            done: job.done.load(Ordering::Relaxed),
            of: job.of.load(Ordering::Relaxed),
            seconds: job.started.elapsed().as_secs_f64(),
        };
        self.with(|open| open.iter().map(of).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_work_takes_the_place_of_older() {
        let jobs = Jobs::new(Arc::new(|| ()));
        let (first, keys) = (jobs.begin(Kind::Reading), jobs.begin(Kind::Hashing));
        let second = jobs.begin(Kind::Reading);
        second.note(3, 9);
        assert!(first.is_stopped() && !second.is_stopped() && !keys.is_stopped());
        assert!(!jobs.end(&first) && jobs.end(&keys) && !jobs.end(&keys));
        let shown = jobs.progress();
        assert_eq!((shown.len(), shown[0].kind, shown[0].done, shown[0].of), (1, Kind::Reading, 3, 9));
        jobs.stop_all();
        assert!(second.is_stopped() && jobs.progress().is_empty());
    }
}
