//! The loop that answers: one thread natively, one task in the tab. Reading and hashing are jobs of their own, so that it always has an ear.

use std::sync::Arc;

use admix_engine::select::Error;
use admix_engine::select::masks::{Candidate, Masks, candidates};
use admix_engine::suggest::Adviser;
use futures_channel::mpsc::{UnboundedReceiver, UnboundedSender};

use super::job::{Job, Jobs, Kind};
use super::{Answer, Ask, Change, Offer, Offered, Reply, Request, spawn};
use crate::io::library::{self, Places};

/// Most offers at once.
const MOST: usize = 3;
/// Pictures of a comparison.
const CANDIDATES: usize = 6;

pub(super) async fn run(
    own: UnboundedSender<Request>,
    mut requests: UnboundedReceiver<Request>,
    jobs: Arc<Jobs>,
    reply: Reply,
) {
    let mut worker = Worker {
        own,
        jobs,
        reply,
        ready: None,
        ask: None,
        loading: None,
        is_stale: false,
        is_renewing: false,
        given_up: None,
        wanted: None,
    };
    while let Ok(first) = requests.recv().await {
        let mut next = Some(first);
        while let Some(request) = next {
            if matches!(request, Request::End) {
                return;
            }
            worker.take(request).await;
            next = requests.try_recv().ok();
        }
        worker.load_what_is_missing();
        worker.answer().await;
    }
}

struct Worker {
    /// For its jobs to report to.
    own: UnboundedSender<Request>,
    jobs: Arc<Jobs>,
    reply: Reply,
    ready: Option<(Places, Adviser)>,
    ask: Option<Ask>,
    loading: Option<(Places, Arc<Job>)>,
    /// A card was changed: what is at hand has the old one.
    is_stale: bool,
    /// What is being read will have the new one.
    is_renewing: bool,
    /// Places that the person did not want to wait for.
    given_up: Option<Places>,
    /// A card that is asked for.
    wanted: Option<String>,
}

impl Worker {
    async fn take(&mut self, request: Request) {
        match request {
            Request::Ask(ask) => self.ask = Some(ask),
            Request::Card(reference) => self.wanted = Some(reference),
            Request::Change(reference, change) => self.is_stale |= self.change(&reference, change).await,
            Request::Loaded(places, job, outcome) => self.loaded(places, &job, outcome),
            Request::Key(reference, key) => {
                let Some((_, adviser)) = &mut self.ready else { return };
                match adviser.learn_key(&reference, key).await {
                    Ok(is_said) => self.is_stale |= is_said,
                    Err(error) => log::warn!("the hash of {reference} is not kept: {error}"),
                }
            }
            Request::ReadOn => {
                self.given_up = None;
                self.reply.answer(Answer::GivenUp(false));
            }
            Request::End => {}
        }
    }

    async fn change(&self, reference: &str, change: Change) -> bool {
        let Some(home) = self.ready.as_ref().and_then(|(_, adviser)| adviser.home(reference)) else {
            self.reply.answer(Answer::Trouble(format!("{reference} has no card to change here")));
            return false;
        };
        let done = match change {
            Change::Edit(edits) => home.edit(*edits).await,
            Change::Clear => home.clear().await,
            Change::Seen(seen, png) => home.keep_seen(seen, &png).await,
        };
        if let Err(error) = &done {
            self.reply.answer(Answer::Trouble(format!("the card is not kept: {error}")));
        }
        done.is_ok()
    }

    fn loaded(&mut self, places: Places, job: &Arc<Job>, outcome: Result<Box<Adviser>, Error>) {
        let is_latest = self.loading.as_ref().is_some_and(|(_, latest)| Arc::ptr_eq(latest, job));
        self.jobs.end(job);
        if !is_latest {
            return;
        }
        (self.loading, self.is_renewing) = (None, false);
        match outcome {
            Ok(adviser) => {
                self.hash_the_rest(&adviser);
                self.ready = Some((places, *adviser));
            }
            Err(Error::Cancelled) => {
                self.given_up = Some(places);
                self.reply.answer(Answer::GivenUp(true));
            }
            Err(error) => {
                // Said again only when something else is asked for.
                log::warn!("no adapters are offered for this model: {error}");
                self.ready = None;
                self.given_up = Some(places);
            }
        }
    }

    /// Has the question's places read, if that is not what is at hand or on its way.
    fn load_what_is_missing(&mut self) {
        let Some(ask) = &self.ask else { return };
        let built_in = Places { base: ask.places.base.clone(), ..Places::default() };
        let mut places = ask.places.clone();
        // What was given up stays away; what is built in answers before the rest is read.
        if self.given_up.as_ref() == Some(&places) || self.ready.is_none() && self.loading.is_none() {
            places = built_in;
        }
        let on_its_way = self.loading.as_ref().is_some_and(|(loading, _)| *loading == places);
        let at_hand = self.loading.is_none() && self.ready.as_ref().is_some_and(|(ready, _)| *ready == places)
            || self.given_up.as_ref() == Some(&places);
        // The first answer is awaited, too, before anything larger is begun.
        let first = self.ready.is_none() && self.loading.as_ref().is_some_and(|(l, _)| l.base == places.base);
        if !self.is_stale && (on_its_way || at_hand || first) {
            return;
        }
        self.is_renewing |= std::mem::take(&mut self.is_stale);
        let job = self.jobs.begin(Kind::Reading);
        self.loading = Some((places.clone(), job.clone()));
        let own = self.own.clone();
        spawn("reading cards", move || async move {
            let heard = |done, of| job.note(done, of);
            let outcome = library::open(&places, &heard, job.stop()).await.map(Box::new);
            // The worker has ended: nobody wants it.
            let _ = own.unbounded_send(Request::Loaded(places, job, outcome));
        });
    }

    /// Hashes in the background what was too large for it on the way.
    fn hash_the_rest(&self, adviser: &Adviser) {
        let open = adviser.unhashed();
        if open.is_empty() {
            return self.jobs.stop(Kind::Hashing);
        }
        let (own, jobs, job) = (self.own.clone(), self.jobs.clone(), self.jobs.begin(Kind::Hashing));
        spawn("hashing", move || async move {
            for (done, (reference, place)) in open.iter().enumerate() {
                job.note(done, open.len());
                match place.key(&|| !job.is_stopped()).await {
                    Ok(Some(key)) => drop(own.unbounded_send(Request::Key(reference.clone(), key))),
                    Ok(None) if job.is_stopped() => break,
                    Ok(None) => {}
                    Err(error) => log::warn!("{reference} is not hashed: {error}"),
                }
            }
            job.note(open.len(), open.len());
            jobs.end(&job);
        });
    }

    async fn answer(&mut self) {
        let (Some(ask), Some((places, adviser))) = (&self.ask, &self.ready) else { return };
        if let Some(reference) = self.wanted.take_if(|_| !self.is_renewing) {
            match adviser.card(&reference) {
                Some(card) => self.reply.answer(Answer::Card(reference, Box::new(card.clone()))),
                // It may be among what is still being read.
                None if self.loading.is_some() => self.wanted = Some(reference),
                None => self.reply.answer(Answer::Trouble(format!("{reference} has no card here"))),
            }
        }
        // What fits one model need not fit another.
        if places.base == ask.places.base {
            self.reply.answer(Answer::Offered(offered(adviser, &ask.prompt).await));
        }
    }
}

async fn offered(adviser: &Adviser, prompt: &str) -> Offered {
    let start = web_time::Instant::now();
    let found = adviser.suggest(prompt).await;
    let offers = adviser.proposals(&found).into_iter().take(MOST).map(|p| Offer {
        reference: p.reference.to_owned(),
        name: p.name.to_owned(),
        words: p.topic.text.clone(),
        place: p.topic.span[0]..p.topic.span[1],
        weight: p.choice.weight,
        triggers: p.card.triggers.clone(),
        because: p.choice.because.clone(),
        about: if p.card.description.is_empty() { &p.card.seen } else { &p.card.description }.clone(),
    });
    let offers = offers.collect();
    let of = |candidate: &Candidate| {
        let adapters = adviser.adapters(&found, candidate);
        adapters.into_iter().map(|(p, weight)| (p.reference.to_owned(), weight)).collect()
    };
    let candidates = candidates(&found, Masks::Paper, CANDIDATES, 1).iter().map(of).collect();
    Offered { prompt: prompt.to_owned(), offers, candidates, seconds: start.elapsed().as_secs_f64() }
}
