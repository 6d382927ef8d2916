//! What the files of adapters say beyond their cards: whether the tensors fit the model, and how much two adapters interfere.
//!
//! The composer asks and does not wait. Natively every answer is there at once; in a browser tab reading takes its time, so what could not
//! be answered is noted, read afterwards, and the composer is asked again ([`suggest`]).

use crate::compose::{Evidence, Settings, compose};
use crate::interference::interference;
use crate::library::{Filter, Library};
use crate::place::Place;
use crate::suggestion::Suggestion;
use admix_files::adapter::{Adapter, Targets};
use admix_files::checkpoint::Checkpoint;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// The files of a library's entries, beside one model.
pub struct Files {
    places: Vec<Place>,
    targets: Targets,
    /// Adapters that were opened; none for those that cannot be.
    opened: RefCell<HashMap<u32, Option<Arc<Adapter>>>>,
    /// Interference of pairs that were asked for.
    figures: RefCell<HashMap<(u32, u32), Option<f64>>>,
    open: RefCell<BTreeSet<Question>>,
}

/// What nobody knows yet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Question {
    Opens(u32),
    Interferes(u32, u32),
}

impl Files {
    /// For the adapters at `places`, by the numbers of their entries.
    pub fn new(places: Vec<Place>, model: &Checkpoint) -> Files {
        Files {
            places,
            targets: Targets::of(model),
            opened: RefCell::default(),
            figures: RefCell::default(),
            open: RefCell::default(),
        }
    }

    async fn load(&self, entry: u32) -> Option<Arc<Adapter>> {
        let bundle = self.places.get(entry as usize)?.bundle().ok()?;
        Adapter::load(bundle).await.ok().map(Arc::new)
    }

    /// The adapter of an entry: none where it has to be waited for, and none inside where it cannot be opened.
    fn opened(&self, entry: u32) -> Option<Option<Arc<Adapter>>> {
        if let Some(known) = self.opened.borrow().get(&entry) {
            return Some(known.clone());
        }
        match at_once(self.load(entry)) {
            Some(adapter) => {
                self.opened.borrow_mut().insert(entry, adapter.clone());
                Some(adapter)
            }
            None => {
                self.open.borrow_mut().insert(Question::Opens(entry));
                None
            }
        }
    }

    /// Finds out what was asked in vain; true if there was something.
    pub async fn catch_up(&self) -> bool {
        let open = std::mem::take(&mut *self.open.borrow_mut());
        for question in &open {
            match *question {
                Question::Opens(entry) => {
                    let adapter = self.load(entry).await;
                    self.opened.borrow_mut().insert(entry, adapter);
                }
                Question::Interferes(a, b) => {
                    let figure = match (self.opened(a), self.opened(b)) {
                        (Some(Some(one)), Some(Some(other))) => self.figure(&one, &other).await,
                        _ => None,
                    };
                    self.figures.borrow_mut().insert((a, b), figure);
                }
            }
        }
        !open.is_empty()
    }

    async fn figure(&self, one: &Adapter, other: &Adapter) -> Option<f64> {
        interference(one, other, &self.targets).await.ok().flatten()
    }
}

impl Evidence for Files {
    fn misfit(&self, entry: u32) -> Option<String> {
        // What has to be waited for is no objection: the composer is asked again.
        let Some(adapter) = self.opened(entry)? else { return Some("its file cannot be read".into()) };
        if let Err(e) = adapter.check_supported() {
            return Some(e.to_string());
        }
        let fit = adapter.fit_targets(&self.targets);
        fit.matched.is_empty().then(|| fit.cause.unwrap_or_else(|| "none of its modules fits this model".into()))
    }

    fn interference(&self, a: u32, b: u32) -> Option<f64> {
        if let Some(figure) = self.figures.borrow().get(&(a, b)) {
            return *figure;
        }
        let (one, other) = (self.opened(a), self.opened(b));
        let (one, other) = (one??, other??);
        match at_once(self.figure(&one, &other)) {
            Some(figure) => {
                self.figures.borrow_mut().insert((a, b), figure);
                figure
            }
            None => {
                self.open.borrow_mut().insert(Question::Interferes(a, b));
                None
            }
        }
    }
}

/// The value of a future that need not wait.
fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// Chooses adapters for a prompt with everything that their files say.
pub async fn suggest(
    prompt: &str,
    library: &Library,
    filter: &Filter,
    files: &Files,
    settings: &Settings,
) -> Suggestion {
    loop {
        let suggestion = compose(prompt, library, filter, files, settings);
        // Every question is asked once, so this ends.
        if !files.catch_up().await {
            return suggestion;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use admix_files::source::ReadFuture;
    use admix_files::{Bundle, ByteSource, MemSource, builtin, ready};
    use std::ops::Range;

    /// Bytes that are never there at once, as in a browser tab.
    struct Slow(MemSource);

    impl ByteSource for Slow {
        fn len(&self) -> u64 {
            self.0.len()
        }

        fn read(&self, range: Range<u64>) -> ReadFuture<'_> {
            Box::pin(async move {
                let mut waited = false;
                std::future::poll_fn(|context| {
                    context.waker().wake_by_ref();
                    if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
                self.0.read(range).await
            })
        }
    }

    /// Polls until it is done.
    fn wait<T>(future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return value;
            }
        }
    }

    #[test]
    fn what_has_to_be_waited_for_is_found_out() {
        let model = Checkpoint::open(builtin::resolve_model("builtin").unwrap()).unwrap();
        let place = |name: &str| {
            let bytes = std::fs::read(builtin::resolve_adapter(name).unwrap()).unwrap();
            Place::Held(Bundle::file(format!("{name}.safetensors"), Arc::new(Slow(MemSource::new(bytes)))))
        };
        let bad = Place::Held(Bundle::file("x.safetensors", Arc::new(Slow(MemSource::new(b"x".to_vec())))));
        let files = Files::new(vec![place("builtin:neon"), place("builtin:neon"), bad], &model);
        assert!(files.misfit(2).is_none() && files.interference(0, 1).is_none(), "nobody knows yet");
        assert!(wait(files.catch_up()));
        assert_eq!(files.misfit(2).as_deref(), Some("its file cannot be read"));
        assert!(files.misfit(0).is_none() && files.interference(0, 1).is_none());
        assert!(wait(files.catch_up()), "the figure");
        assert!((files.interference(0, 1).unwrap() - 1.0).abs() < 1e-6);
        assert!(!wait(files.catch_up()));
        // The same at once, from bytes that are there.
        let file = builtin::resolve_adapter("builtin:neon").unwrap();
        let files = Files::new(vec![Place::Path(file.clone()), Place::Path(file)], &model);
        assert!((files.interference(0, 1).unwrap() - 1.0).abs() < 1e-6);
        assert!(!ready(async { Ok(files.catch_up().await) }).unwrap());
    }
}
