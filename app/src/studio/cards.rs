//! The studio's cards: a thread of its own reads the person's adapters and answers which of them suit the prompt as it is typed.
//!
//! Questions are newest-wins; a change to a card is never passed over. The built-in adapters answer at once, folders once they are read.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use admix_engine::files::builtin;
use admix_engine::files::checkpoint::Checkpoint;
use admix_engine::select::card::Seen;
use admix_engine::select::compose::{Settings, compose, weight};
use admix_engine::select::masks::{Masks, candidates};
use admix_engine::select::shelf::{Files, Home, Shelf, shipped_words, target};
use admix_engine::select::{Card, Edits, Error, Filter, Library, Suggestion};

use super::panels::suggest::Offer;

/// Most offers at once.
const MOST: usize = 3;
/// Pictures of a comparison.
const CANDIDATES: usize = 6;

/// What the prompt is and where adapters may come from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ask {
    /// The model that they shall fit, as recipes name it.
    pub base: String,
    /// The person's folders.
    pub folders: Vec<PathBuf>,
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

enum Request {
    Ask(Ask, Arc<AtomicBool>),
    Change(String, Change),
    Card(String),
}

/// What comes back.
pub enum Answer {
    /// For a prompt.
    Offered(Offered),
    /// The card of an adapter, as its row names it.
    Card(String, Box<Card>),
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

/// The handle to the thread.
pub struct Cards {
    send: Sender<Request>,
    answers: Receiver<Answer>,
    /// Ends the reading of folders that are no longer asked for.
    stop: Arc<AtomicBool>,
    last: Option<Ask>,
}

impl Cards {
    /// Starts the thread; `wake` is called when there is an answer. None where there can be no thread: then nothing is offered, and
    /// nothing else is lost.
    pub fn start(wake: impl Fn() + Send + 'static) -> Option<Cards> {
        let (send, requests) = channel();
        let (reply, answers) = channel();
        let work = move || Worker { reply, wake: Box::new(wake), ready: None }.run(&requests);
        let thread = std::thread::Builder::new().name("cards".into()).spawn(work);
        if let Err(error) = &thread {
            log::error!("no thread to read cards with: {error}");
        }
        thread.ok().map(|_| Cards { send, answers, stop: Arc::default(), last: None })
    }

    /// Asks, if this was not asked last.
    pub fn ask(&mut self, ask: Ask) {
        if self.last.as_ref() == Some(&ask) {
            return;
        }
        if self.last.as_ref().is_none_or(|l| (&l.base, &l.folders) != (&ask.base, &ask.folders)) {
            self.stop.store(true, Ordering::Relaxed);
            self.stop = Arc::default();
        }
        self.last = Some(ask.clone());
        self.tell(Request::Ask(ask, self.stop.clone()));
    }

    /// Changes a card.
    pub fn change(&self, reference: &str, change: Change) {
        self.tell(Request::Change(reference.into(), change));
    }

    /// Asks for a card.
    pub fn card(&self, reference: &str) {
        self.tell(Request::Card(reference.into()));
    }

    fn tell(&self, request: Request) {
        // The thread lives as long as this.
        let _ = self.send.send(request);
    }

    /// The next answer, if there is one.
    pub fn answer(&self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }
}

impl Drop for Cards {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The cards of some places, for one base model.
struct Ready {
    base: String,
    folders: Vec<PathBuf>,
    library: Library,
    filter: Filter,
    files: Files,
    homes: HashMap<String, Home>,
}

impl Ready {
    fn load(base: &str, folders: &[PathBuf], stop: &AtomicBool) -> Result<Ready, Error> {
        let model = Checkpoint::open(builtin::resolve_model(base)?)?;
        let filter = Filter { target: target(&model), ..Filter::default() };
        // A drive that is not plugged in takes nothing away from the rest.
        let there: Vec<PathBuf> = folders.iter().filter(|f| f.is_dir()).cloned().collect();
        let own = crate::io::own_catalogue().unwrap_or_default();
        let shelf = Shelf::open(&there, true, &own, &|_, _| {}, stop)?;
        shelf.notes.iter().for_each(|note| log::info!("{note}"));
        let homes = shelf.entries.iter().map(|e| e.reference.clone()).zip(shelf.homes).collect();
        Ok(Ready {
            base: base.to_owned(),
            folders: folders.to_vec(),
            files: Files::new(shelf.paths, &model),
            library: Library::new(shipped_words()?, shelf.entries),
            filter,
            homes,
        })
    }

    fn offered(&self, prompt: &str) -> Offered {
        let start = web_time::Instant::now();
        let found = compose(prompt, &self.library, &self.filter, &self.files, &Settings::default());
        let entries = self.library.entries();
        let offer =
            |(topic, choice): (&admix_engine::select::compose::Topic, &admix_engine::select::compose::Choice)| {
                let entry = &entries[choice.entry as usize];
                Offer {
                    reference: entry.reference.clone(),
                    name: entry.name.clone(),
                    words: topic.text.clone(),
                    place: topic.span[0]..topic.span[1],
                    weight: choice.weight,
                    triggers: entry.found.triggers.clone(),
                    because: choice.because.clone(),
                    about: if entry.found.description.is_empty() {
                        &entry.found.seen
                    } else {
                        &entry.found.description
                    }
                    .clone(),
                }
            };
        let offers = found.ranked().into_iter().take(MOST).map(offer).collect();
        let candidates = self.candidates(&found);
        Offered { prompt: prompt.to_owned(), offers, candidates, seconds: start.elapsed().as_secs_f64() }
    }

    fn candidates(&self, found: &Suggestion) -> Vec<Vec<(String, f64)>> {
        let of = |candidate: &admix_engine::select::masks::Candidate| {
            let on = candidate.on().filter_map(|(topic, choice, sharing)| {
                let choice = found.topics.get(topic)?.choices.get(choice)?;
                let reference = self.library.entries()[choice.entry as usize].reference.clone();
                Some((reference, weight(self.library.card(choice.entry), sharing)))
            });
            on.collect()
        };
        candidates(found, Masks::Paper, CANDIDATES, 1).iter().map(of).collect()
    }

    fn card(&self, reference: &str) -> Option<Card> {
        self.library.entries().iter().find(|e| e.reference == reference).map(|e| e.found.clone())
    }
}

struct Worker {
    reply: Sender<Answer>,
    wake: Box<dyn Fn() + Send>,
    ready: Option<Ready>,
}

impl Worker {
    fn answer(&self, answer: Answer) {
        // Nobody listens any more: the studio is closing.
        let _ = self.reply.send(answer);
        (self.wake)();
    }

    fn run(mut self, requests: &Receiver<Request>) {
        let mut last: Option<(Ask, Arc<AtomicBool>)> = None;
        let mut wanted: Option<String> = None;
        while let Ok(first) = requests.recv() {
            let mut changed = false;
            for request in std::iter::once(first).chain(requests.try_iter()) {
                match request {
                    Request::Ask(ask, stop) => last = Some((ask, stop)),
                    Request::Change(reference, change) => changed |= self.change(&reference, change),
                    Request::Card(reference) => wanted = Some(reference),
                }
            }
            let Some((ask, stop)) = &last else { continue };
            self.bring_up_to_date(ask, stop, changed);
            let Some(ready) = &self.ready else { continue };
            if let Some(reference) = wanted.take()
                && let Some(card) = ready.card(&reference)
            {
                self.answer(Answer::Card(reference, Box::new(card)));
            }
            self.answer(Answer::Offered(ready.offered(&ask.prompt)));
        }
    }

    fn change(&self, reference: &str, change: Change) -> bool {
        let Some(home) = self.ready.as_ref().and_then(|r| r.homes.get(reference)) else {
            self.answer(Answer::Trouble(format!("{reference} has no card here: watch its folder to keep one")));
            return false;
        };
        let done = match change {
            Change::Edit(edits) => home.edit(*edits),
            Change::Clear => home.clear(),
            Change::Seen(seen, png) => home.keep_seen(seen, &png),
        };
        if let Err(error) = &done {
            self.answer(Answer::Trouble(format!("the card is not kept: {error}")));
        }
        done.is_ok()
    }

    /// Loads what the question needs, if that is not what is there.
    fn bring_up_to_date(&mut self, ask: &Ask, stop: &AtomicBool, changed: bool) {
        let same = |r: &Ready| r.base == ask.base && r.folders == ask.folders;
        if !changed && self.ready.as_ref().is_some_and(same) {
            return;
        }
        let load = |folders: &[PathBuf]| Ready::load(&ask.base, folders, stop);
        if self.ready.is_none() && !ask.folders.is_empty() {
            // Folders may take a while.
            self.ready = load(&[]).ok();
            if let Some(ready) = &self.ready {
                self.answer(Answer::Offered(ready.offered(&ask.prompt)));
            }
        }
        match load(&ask.folders) {
            Ok(ready) => self.ready = Some(ready),
            Err(Error::Cancelled) => {}
            Err(error) => {
                log::warn!("no adapters are offered for this model: {error}");
                self.ready = None;
            }
        }
    }
}
