//! The studio's cards: they are read in the background, natively on threads and in the tab in tasks, and asked which adapters suit the prompt
//! as it is typed.
//!
//! Questions are newest-wins; a change to a card is never passed over. The built-in adapters answer at once, folders and dropped files once
//! they are read.

mod job;
mod worker;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use admix_engine::select::card::Seen;
use admix_engine::select::{Card, Edits, Error};
use admix_engine::suggest::Adviser;
use futures_channel::mpsc::{UnboundedSender, unbounded};

use super::panels::suggest::Offer;
use crate::io::library::Places;

pub use job::{Job, Jobs, Kind, Progress};

/// What the prompt is and where adapters may come from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ask {
    /// The model and the places.
    pub places: Places,
    /// The prompt.
    pub prompt: String,
}

/// A change to a card.
pub enum Change {
    /// A person's words.
    Edit(Box<Edits>),
    /// The card as the files have it.
    Clear,
    /// What pictures showed, and a PNG of one.
    Seen(Seen, Vec<u8>),
}

/// What the worker is told, from the studio and from its own jobs.
enum Request {
    Ask(Ask),
    Change(String, Change),
    Card(String),
    /// Read what was given up after all.
    ReadOn,
    Loaded(Places, Arc<Job>, Result<Box<Adviser>, Error>),
    Key(String, String),
    End,
}

/// What comes back.
pub enum Answer {
    /// For a prompt.
    Offered(Offered),
    /// The card of an adapter, as its row names it.
    Card(String, Box<Card>),
    /// The reading was given up (or goes on again).
    GivenUp(bool),
    /// One line for the person.
    Trouble(String),
}

/// Adapters for a prompt.
#[derive(Clone, Debug, Default)]
pub struct Offered {
    /// The prompt as it was.
    pub prompt: String,
    /// At most three, the best first.
    pub offers: Vec<Offer>,
    /// Recipes worth comparing, as (reference, weight), everything on first and nothing on last.
    pub candidates: Vec<Vec<(String, f64)>>,
    /// Seconds that the answer took.
    pub seconds: f64,
}

/// The handle to the worker.
pub struct Cards {
    send: UnboundedSender<Request>,
    answers: Receiver<Answer>,
    jobs: Arc<Jobs>,
    last: Option<Ask>,
}

/// Where the worker leaves its answers.
struct Reply {
    send: Sender<Answer>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

impl Reply {
    fn answer(&self, answer: Answer) {
        // Nobody listens any more: the studio is closing.
        let _ = self.send.send(answer);
        (self.wake)();
    }
}

impl Cards {
    /// Starts the worker; `wake` is called when there is something new. None where there can be no thread: then nothing is offered, and
    /// nothing else is lost.
    pub fn start(wake: impl Fn() + Send + Sync + 'static) -> Option<Cards> {
        let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(wake);
        let (send, requests) = unbounded();
        let (reply, answers) = channel();
        let jobs = Arc::new(Jobs::new(wake.clone()));
        let (own, theirs) = (send.clone(), jobs.clone());
        let work = move || worker::run(own, requests, theirs, Reply { send: reply, wake });
        spawn("cards", work).then_some(Cards { send, answers, jobs, last: None })
    }

    /// Asks, if this was not asked last.
    pub fn ask(&mut self, ask: Ask) {
        if self.last.as_ref() != Some(&ask) {
            self.last = Some(ask.clone());
            self.tell(Request::Ask(ask));
        }
    }

    /// Changes a card.
    pub fn change(&self, reference: &str, change: Change) {
        self.tell(Request::Change(reference.into(), change));
    }

    /// Asks for a card.
    pub fn card(&self, reference: &str) {
        self.tell(Request::Card(reference.into()));
    }

    /// What is being read.
    pub fn progress(&self) -> Vec<Progress> {
        self.jobs.progress()
    }

    /// Gives the work of a kind up; what was done is kept.
    pub fn give_up(&self, kind: Kind) {
        self.jobs.stop(kind);
    }

    /// Goes on reading what was given up.
    pub fn read_on(&self) {
        self.tell(Request::ReadOn);
    }

    fn tell(&self, request: Request) {
        // The worker lives as long as this.
        let _ = self.send.unbounded_send(request);
    }

    /// The next answer, if there is one.
    pub fn answer(&self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }
}

impl Drop for Cards {
    fn drop(&mut self) {
        self.jobs.stop_all();
        self.tell(Request::End);
    }
}

/// Starts work beside the drawing, on a thread of its own. False where there can be none.
#[cfg(not(target_arch = "wasm32"))]
fn spawn<F: Future<Output = ()>>(name: &str, work: impl FnOnce() -> F + Send + 'static) -> bool {
    let thread = std::thread::Builder::new().name(name.into()).spawn(move || pollster::block_on(work()));
    if let Err(error) = &thread {
        log::error!("no thread for {name}: {error}");
    }
    thread.is_ok()
}

/// Starts work beside the drawing, as a task of the page's thread.
#[cfg(target_arch = "wasm32")]
fn spawn<F: Future<Output = ()> + 'static>(_name: &str, work: impl FnOnce() -> F) -> bool {
    wasm_bindgen_futures::spawn_local(work());
    true
}
