//! The queue between the studio and the actor, and the slots in which the actor leaves its news.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::mem::discriminant;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use admix_engine::Cancel;

use super::work::{News, Purpose, Stage, Waiting, Work};
use super::{Live, Wake};

/// Both sides' view.
pub(super) struct Shared {
    inner: Mutex<Inner>,
    wake: Wake,
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<(u64, Work)>,
    running: Option<Running>,
    /// The actor, asleep for want of work.
    sleeper: Option<Waker>,
    news: Vec<News>,
    closed: bool,
    #[cfg(not(target_arch = "wasm32"))]
    libraries: std::sync::Arc<Vec<std::path::PathBuf>>,
}

struct Running {
    live: Live,
    is_render: bool,
    cancel: Cancel,
    /// A study's work, kept to start it again when it steps aside.
    again: Option<Work>,
    /// It was asked to step aside, not to end.
    steps_aside: bool,
    /// When whoever draws was last woken for it.
    told: Option<web_time::Instant>,
}

/// Time between two frames for counts alone.
const BETWEEN_COUNTS: Duration = Duration::from_millis(200);

impl Running {
    /// Ends it for good.
    fn stop(&mut self) {
        self.steps_aside = false;
        self.cancel.cancel();
    }
}

fn live_render(work: &Work) -> bool {
    matches!(work, Work::Render(render) if render.purpose.is_live())
}

fn study(work: &Work) -> bool {
    matches!(work, Work::Render(render) if render.purpose == Purpose::Study)
}

/// The order in which work is done: looking at a file takes milliseconds and is waited for, studies and figures have time.
fn rank(work: &Work) -> u8 {
    match work {
        Work::Open(_) | Work::Count { .. } => 0,
        Work::Understand(_) => 2,
        _ if !study(work) => 1,
        _ => 2,
    }
}

impl Shared {
    pub(super) fn new(wake: Wake) -> Shared {
        Shared { inner: Mutex::default(), wake }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code panics while it holds the lock; a poisoned one holds sound data all the same.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds work. A render pushes aside live renders, and a study that runs steps aside, for a file that somebody has just brought too; token counts
    /// replace each other.
    pub(super) fn push(&self, id: u64, work: Work) {
        let mut inner = self.lock();
        let is_render = matches!(work, Work::Render(_)) && !study(&work);
        let is_new_file = matches!(&work, Work::Open(open) if open.bundle.is_some());
        if is_render {
            inner.waiting.retain(|(_, w)| !live_render(w));
        }
        if (is_render || is_new_file)
            && let Some(running) = &mut inner.running
            && (running.live.purpose == Purpose::Study || is_render && running.live.purpose != Purpose::Asked)
        {
            running.steps_aside |= running.live.purpose == Purpose::Study && !running.cancel.is_cancelled();
            running.cancel.cancel();
        }
        match &work {
            Work::Count { .. } => inner.waiting.retain(|(_, w)| !matches!(w, Work::Count { .. })),
            Work::Understand(_) => inner.waiting.retain(|(_, w)| !matches!(w, Work::Understand(_))),
            Work::Open(open) => inner
                .waiting
                .retain(|(_, w)| !matches!(w, Work::Open(o) if o.reference == open.reference && o.bundle.is_none())),
            _ => {}
        }
        let at = inner.waiting.iter().position(|(_, w)| rank(w) > rank(&work)).unwrap_or(inner.waiting.len());
        inner.waiting.insert(at, (id, work));
        if let Some(sleeper) = inner.sleeper.take() {
            sleeper.wake();
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn set_libraries(&self, libraries: Vec<std::path::PathBuf>) {
        self.lock().libraries = std::sync::Arc::new(libraries);
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn libraries(&self) -> std::sync::Arc<Vec<std::path::PathBuf>> {
        self.lock().libraries.clone()
    }

    /// Stops what runs and, with `waiting`, everything behind it.
    pub(super) fn cancel(&self, waiting: bool) {
        if let Some(running) = &mut self.lock().running {
            running.stop();
        }
        if waiting {
            self.drop_waiting(|_| true);
        }
    }

    /// Takes renders and exports that `is_meant` out of the queue; each leaves word that it was cancelled.
    pub(super) fn drop_waiting(&self, is_meant: impl Fn(u64) -> bool) {
        let mut inner = self.lock();
        let (out, kept) = std::mem::take(&mut inner.waiting)
            .into_iter()
            .partition(|(id, w)| matches!(w, Work::Render(_) | Work::Export(_)) && is_meant(*id));
        inner.waiting = kept;
        let out: VecDeque<(u64, Work)> = out;
        inner.news.extend(out.into_iter().map(|(id, _)| News::Cancelled { id }));
    }

    /// Cancels one piece of work, running or waiting.
    pub(super) fn cancel_one(&self, id: u64) {
        if let Some(running) = self.lock().running.as_mut().filter(|r| r.live.id == id) {
            running.stop();
        }
        self.drop_waiting(|waiting| waiting == id);
    }

    /// Renders and exports that wait, in order.
    pub(super) fn list(&self) -> Vec<Waiting> {
        self.lock().waiting.iter().filter_map(|(id, work)| work.waiting(*id)).collect()
    }

    pub(super) fn cancel_live(&self) {
        let mut inner = self.lock();
        inner.waiting.retain(|(_, w)| !live_render(w));
        if let Some(running) = &mut inner.running
            && running.live.purpose.is_live()
        {
            running.stop();
        }
    }

    pub(super) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.waiting.clear();
        if let Some(running) = &mut inner.running {
            running.stop();
        }
        if let Some(sleeper) = inner.sleeper.take() {
            sleeper.wake();
        }
    }

    pub(super) fn take_news(&self) -> Vec<News> {
        std::mem::take(&mut self.lock().news)
    }

    pub(super) fn live(&self) -> Option<Live> {
        let inner = self.lock();
        inner.running.as_ref().filter(|r| r.is_render || r.live.stage != Stage::Starting).map(|r| r.live.clone())
    }

    /// Renders and exports that wait because somebody asked for them.
    pub(super) fn waiting(&self) -> usize {
        self.lock().waiting.iter().filter(|(_, w)| rank(w) == 1).count()
    }

    pub(super) fn is_busy(&self) -> bool {
        let inner = self.lock();
        inner.running.is_some() || !inner.waiting.is_empty()
    }

    // The actor's side.

    /// The next piece of work with the flag that stops it; none once the desk is gone.
    pub(super) async fn next(&self) -> Option<(u64, Work, Cancel)> {
        poll_fn(|context| {
            let mut inner = self.lock();
            if inner.closed {
                return Poll::Ready(None);
            }
            let Some((id, work)) = inner.waiting.pop_front() else {
                inner.sleeper = Some(context.waker().clone());
                return Poll::Pending;
            };
            let cancel = Cancel::default();
            let (is_render, purpose) = match &work {
                Work::Render(render) => (true, render.purpose),
                // Figures step aside as studies do.
                Work::Understand(_) => (false, Purpose::Study),
                _ => (false, Purpose::Asked),
            };
            let live = Live {
                id,
                purpose,
                stage: Stage::Starting,
                started: web_time::Instant::now(),
                steps_since: None,
                preview: None,
            };
            let again = (purpose == Purpose::Study).then(|| work.clone());
            inner.running =
                Some(Running { live, is_render, cancel: cancel.clone(), again, steps_aside: false, told: None });
            Poll::Ready(Some((id, work, cancel)))
        })
        .await
    }

    /// Updates the slot of the running work. Whoever draws is woken for what is new, and for counts that rise now and then only: on a software device a
    /// frame takes its share of the very processor that the work waits for.
    pub(super) fn update(&self, change: impl FnOnce(&mut Live)) {
        let mut is_told = false;
        if let Some(running) = &mut self.lock().running {
            let facts = |live: &Live| (discriminant(&live.stage), live.preview.as_ref().map(|(_, step)| *step));
            let before = facts(&running.live);
            change(&mut running.live);
            let now = web_time::Instant::now();
            is_told = facts(&running.live) == before && running.told.is_some_and(|at| now - at < BETWEEN_COUNTS);
            if !is_told {
                running.told = Some(now);
            }
        }
        if !is_told {
            (self.wake)();
        }
    }

    /// Leaves news.
    pub(super) fn news(&self, news: News) {
        self.lock().news.push(news);
        (self.wake)();
    }

    /// The running work is over.
    pub(super) fn done(&self, news: News) {
        {
            let mut inner = self.lock();
            let running = inner.running.take();
            match (&news, running.filter(|r| r.steps_aside && !inner.closed).and_then(|r| r.again)) {
                (News::Cancelled { id }, Some(again)) => {
                    let at = inner.waiting.iter().position(|(_, w)| study(w)).unwrap_or(inner.waiting.len());
                    inner.waiting.insert(at, (*id, again));
                }
                _ => inner.news.push(news),
            }
        }
        (self.wake)();
    }
}

impl Shared {
    /// The engine panicked at the running work: it is over, and said to have failed.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn broke(&self) {
        let running = self.lock().running.take();
        let (id, purpose) = running.map_or((0, None), |r| (r.live.id, r.is_render.then_some(r.live.purpose)));
        let error = "the engine stopped at a fault of its own and was started again; admix.log in the program's data folder names the place, please report it";
        self.news(News::Failed { id, purpose, error: error.into(), trouble: super::Trouble::Other });
    }
}

/// For tests of the rules.
#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::work::{Open, Render};
    use super::*;
    use admix_engine::mix::Recipe;

    fn render(purpose: Purpose) -> Work {
        Work::Render(Box::new(Render::new(Recipe::new("builtin"), purpose)))
    }

    fn next(shared: &Shared) -> (u64, Cancel) {
        let (id, _, cancel) = pollster::block_on(shared.next()).expect("work waits");
        (id, cancel)
    }

    #[test]
    fn newest_live_render_wins_and_asked_ones_stay() {
        let shared = Shared::new(Arc::new(|| {}));
        shared.push(1, render(Purpose::Asked));
        shared.push(2, render(Purpose::Scrub));
        shared.push(3, render(Purpose::Scrub));
        shared.push(4, render(Purpose::Asked));
        shared.push(5, render(Purpose::Settle));
        assert_eq!(shared.waiting(), 3, "2 and 3 were replaced");
        let (first, cancel) = next(&shared);
        assert_eq!(first, 1);
        shared.push(6, render(Purpose::Scrub));
        assert!(!cancel.is_cancelled(), "an asked render is never pushed aside");
        shared.done(News::Cancelled { id: 1 });
        assert_eq!(next(&shared).0, 4);
        shared.done(News::Cancelled { id: 4 });
        let (last, cancel) = next(&shared);
        assert_eq!(last, 6);
        shared.push(7, render(Purpose::Scrub));
        assert!(cancel.is_cancelled(), "stale live work is aborted");
    }

    #[test]
    fn studies_step_aside_for_a_file_that_is_brought() {
        let shared = Shared::new(Arc::new(|| {}));
        shared.push(1, render(Purpose::Study));
        let cancel = next(&shared).1;
        let open = Open { reference: "a".into(), bundle: None, against: "builtin".into() };
        shared.push(2, Work::Open(open.clone()));
        assert!(!cancel.is_cancelled(), "a row that came into sight can wait");
        let bytes = Arc::new(admix_engine::files::MemSource::new(Vec::new()));
        let bundle = Some(admix_engine::files::Bundle::file("b", bytes));
        shared.push(3, Work::Open(Open { bundle, reference: "b".into(), ..open }));
        assert!(cancel.is_cancelled());
        shared.done(News::Cancelled { id: 1 });
        for id in [2, 3, 1] {
            assert_eq!(next(&shared).0, id);
            shared.done(News::Cancelled { id });
        }
    }

    #[test]
    fn studies_step_aside_and_come_again() {
        let shared = Shared::new(Arc::new(|| {}));
        shared.push(1, render(Purpose::Study));
        shared.push(2, render(Purpose::Study));
        let (first, cancel) = next(&shared);
        assert_eq!(first, 1);
        shared.push(3, render(Purpose::Scrub));
        assert!(cancel.is_cancelled());
        shared.done(News::Cancelled { id: 1 });
        assert!(shared.take_news().is_empty(), "it only stepped aside");
        let order: Vec<u64> = (0..3)
            .map(|_| {
                let id = next(&shared).0;
                shared.done(News::Cancelled { id });
                id
            })
            .collect();
        assert_eq!(order, [3, 1, 2]);

        // Cancelled by a person, it is gone.
        shared.take_news();
        shared.push(4, render(Purpose::Study));
        next(&shared);
        shared.push(5, render(Purpose::Study));
        shared.push(6, render(Purpose::Asked));
        shared.cancel_one(5);
        shared.cancel_one(4);
        shared.done(News::Cancelled { id: 4 });
        let gone: Vec<u64> =
            shared.take_news().iter().map(|n| if let News::Cancelled { id } = n { *id } else { 0 }).collect();
        assert_eq!(gone, [5, 4]);
        assert_eq!(shared.list().iter().map(|w| w.id).collect::<Vec<_>>(), [6]);
    }

    #[test]
    fn a_fault_ends_the_running_work_and_the_rest_goes_on() {
        let shared = Shared::new(Arc::new(|| {}));
        shared.push(1, render(Purpose::Asked));
        shared.push(2, render(Purpose::Asked));
        assert_eq!(next(&shared).0, 1);
        shared.broke();
        assert!(matches!(shared.take_news()[..], [News::Failed { id: 1, purpose: Some(Purpose::Asked), .. }]));
        assert_eq!(next(&shared).0, 2);
    }

    #[test]
    fn files_are_looked_at_before_pictures_are_made() {
        let shared = Shared::new(Arc::new(|| {}));
        shared.push(1, render(Purpose::Asked));
        let open = |name: &str| Work::Open(Open { reference: name.into(), bundle: None, against: String::new() });
        shared.push(2, open("a"));
        shared.push(3, open("b"));
        let order: Vec<u64> = (0..3).map(|_| next(&shared).0).collect();
        assert_eq!(order, [2, 3, 1]);
        shared.push(4, render(Purpose::Asked));
        shared.close();
        assert!(pollster::block_on(shared.next()).is_none());
    }
}
