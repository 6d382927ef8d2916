//! The composer: which adapters serve which words of the prompt, how strongly, and which do not and why.
//!
//! Stylus (Luo et al. 2024, arXiv 2404.18928; `stylus/composer/composer.py`) asks a language model to do this by rules written in
//! its prompt. The same rules as arithmetic: topics in the prompt's own words that do not overlap, at most three adapters for each,
//! each adapter once, at most two styles, nothing broader or narrower than its topic, and the right to choose nothing.

use crate::admitted::Admitted;
use crate::card::Kind;
use crate::compounds;
use crate::fit::{Asked, Fit, Phrases, fit};
use crate::library::{Filter, Library, Mode};
pub use crate::suggestion::{BASE_WEIGHT, Choice, Rejected, Suggestion, Topic, weight};
use crate::text::is_stop;
use crate::topics::{PICTURE, Place, Prompt};
use crate::words::Part;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// Longest topic, in words.
const LONGEST: usize = 5;
/// Near misses that are reported.
const MOST_REJECTED: usize = 10;
/// Candidates that the assignment weighs against one another.
const MOST_RIVALS: usize = 18;

/// What the composer goes by.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Cards that the retriever hands on, over the whole prompt (Stylus: 150).
    pub retrieved: usize,
    /// How well an adapter has to fit its topic, 0..1.
    pub threshold: f32,
    /// How much better it has to fit the topic than the whole prompt.
    pub margin: f32,
    /// Most adapters for one topic.
    pub per_topic: usize,
    /// Most styles at once.
    pub styles: usize,
    /// A further adapter for a topic has to reach this part of the best one's score.
    pub runner_up: f32,
    /// Above this interference (mean absolute cosine of the changes) the weaker of two adapters is left out.
    pub interference: f64,
    /// How the retriever searches.
    pub mode: Mode,
    /// Whether anything is rejected; without it the nearest three always win, as with a retriever alone.
    pub reject: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            retrieved: 150,
            threshold: 0.6,
            margin: 0.08,
            per_topic: 3,
            styles: 2,
            runner_up: 0.92,
            interference: 0.35,
            mode: Mode::Hybrid,
            reject: true,
        }
    }
}

/// What can be asked about adapters beyond their cards. Everything is optional: nothing known is no objection.
pub trait Evidence {
    /// Why the adapter's tensors do not fit the model at hand.
    fn misfit(&self, entry: u32) -> Option<String>;
    /// Mean absolute cosine of the changes two adapters make to the weights they share.
    fn interference(&self, a: u32, b: u32) -> Option<f64>;
}

/// Nothing but the cards.
pub struct CardsOnly;

impl Evidence for CardsOnly {
    fn misfit(&self, _: u32) -> Option<String> {
        None
    }

    fn interference(&self, _: u32, _: u32) -> Option<f64> {
        None
    }
}

/// A card that may serve some words.
#[derive(Clone, Debug)]
struct Rival {
    span: Range<usize>,
    place: Place,
    entry: u32,
    fit: Fit,
}

/// Chooses adapters for a prompt.
pub fn compose(
    text: &str,
    library: &Library,
    filter: &Filter,
    evidence: &dyn Evidence,
    settings: &Settings,
) -> Suggestion {
    let prompt = Prompt::read(text, library.words(), &|stem| library.postings().knows(stem));
    let mut desk = Desk { library, settings, evidence, prompt: &prompt, rejected: HashMap::new() };
    let rivals = desk.rivals(filter);
    let chosen = desk.assign(rivals);
    let topics = topics(&prompt, library, &chosen);
    let used: HashSet<u32> = chosen.iter().map(|r| r.entry).collect();
    let mut rejected: Vec<Rejected> = desk.rejected.into_values().filter(|r| !used.contains(&r.entry)).collect();
    rejected.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.entry.cmp(&b.entry)));
    rejected.truncate(MOST_REJECTED);
    Suggestion { topics, rejected }
}

struct Desk<'a> {
    library: &'a Library,
    settings: &'a Settings,
    evidence: &'a dyn Evidence,
    prompt: &'a Prompt,
    rejected: HashMap<u32, Rejected>,
}

impl Desk<'_> {
    fn reject(&mut self, rival: &Rival, reason: impl Into<String>) {
        let topic = self.prompt.words_of(&rival.span);
        let new = Rejected { entry: rival.entry, topic, score: rival.fit.score, reason: reason.into() };
        let slot = self.rejected.entry(rival.entry).or_insert_with(|| new.clone());
        if new.score > slot.score {
            *slot = new;
        }
    }

    /// The spans of a chunk, and of this and the next where a preposition joins them ("horse with a horn").
    fn spans(&self, at: usize) -> Vec<(Range<usize>, Place)> {
        let chunk = &self.prompt.chunks[at];
        let mut out = Vec::new();
        let whole = chunk.tokens.clone();
        for start in whole.clone() {
            for end in start + 1..=whole.end.min(start + LONGEST) {
                let span = start..end;
                if !self.cuts_compound(&span, &whole) {
                    out.push((span.clone(), self.prompt.place(chunk, &span)));
                }
            }
        }
        // "after dark" is known as a whole.
        if let Some(before) = whole.start.checked_sub(1).map(|b| &self.prompt.tokens[b])
            && chunk.preposition.as_deref() == Some(before.word.as_str())
            && !is_stop(&before.stem)
        {
            out.push((whole.start - 1..whole.end, self.prompt.place(chunk, &whole)));
        }
        let joined = |c: &crate::topics::Chunk| {
            c.clause == chunk.clause
                && matches!(c.preposition.as_deref(), Some("of" | "with" | "from" | "on" | "in" | "like"))
        };
        if let Some(next) = self.prompt.chunks.get(at + 1).filter(|c| joined(c) && !chunk.action && !c.action) {
            let content = chunk.tokens.len() + next.tokens.len();
            // "a drawing of a unicorn" joins a picture and its subject: those are two topics.
            let picture = self.prompt.tokens[chunk.tokens.end - 1].stem.as_str();
            if content <= LONGEST + 1 && !(chunk.of && PICTURE.contains(&picture)) {
                // "tubes of paint": only alone is what stands before "of" a way of showing what follows.
                let place = match self.prompt.place(chunk, &chunk.tokens) {
                    Place::Style if chunk.of && !chunk.styled && !chunk.alone && chunk.preposition.is_none() => {
                        Place::Thing
                    }
                    place => place,
                };
                out.push((chunk.tokens.start..next.tokens.end, place));
                if chunk.tokens.len() > 1 {
                    out.push((chunk.tokens.end - 1..next.tokens.end, place));
                }
            }
        }
        out
    }

    /// Whether a span splits words that mean something else together ("hot dog").
    fn cuts_compound(&self, span: &Range<usize>, whole: &Range<usize>) -> bool {
        let words = self.library.words();
        let joined = |a: usize, b: usize| {
            let joined = format!("{}_{}", self.prompt.tokens[a].stem, self.prompt.tokens[b].stem);
            words.knows(&joined).then_some(joined)
        };
        let stem = |at: usize| self.prompt.tokens[at].stem.as_str();
        let own = |a: usize, b: usize| joined(a, b).is_some_and(|j| words.is_thing_of_its_own(&j, stem(b)));
        let before = span.start > whole.start && own(span.start - 1, span.start);
        // "night" of "night light" is not what the words are about, "pixel" of "pixel art" is.
        let strange = |a: usize, b: usize| match joined(a, b) {
            Some(j) => words.cosine(&j, stem(a)) < 0.5,
            None => words.is_compound(stem(a), stem(b)),
        };
        let after = span.end < whole.end && strange(span.end - 1, span.end);
        before || after
    }

    fn rivals(&mut self, filter: &Filter) -> Vec<Rival> {
        let (library, settings) = (self.library, self.settings);
        let chunks = self.prompt.chunks.len();
        let each = (settings.retrieved / chunks.max(1)).clamp(12, 60);
        let admitted = library.admitted(filter);
        let others = admitted.others();
        let everything = Asked::new(self.prompt.stems(&(0..self.prompt.tokens.len())), library.words());
        let mut passed = Vec::new();
        for at in 0..chunks {
            let spans = self.spans(at);
            let Some(reach) = spans.iter().map(|(s, _)| s.end).max() else { continue };
            let own = self.prompt.chunks[at].tokens.clone();
            let whole = own.start..reach;
            let search = |span: &Range<usize>, k: usize, mode: Mode, among: &Admitted| -> Vec<u32> {
                library.find(&self.prompt.stems(span), k, mode, among).into_iter().map(|h| h.0).collect()
            };
            let mut found = search(&whole, each, settings.mode, &admitted);
            if whole != own {
                found.extend(search(&own, each, settings.mode, &admitted));
            }
            let misfits = search(&whole, 4, Mode::Bm25, &others);
            let asked: Vec<Asked> =
                spans.iter().map(|(span, _)| Asked::new(self.prompt.stems(span), library.words())).collect();
            let mut seen = HashSet::new();
            for entry in found.into_iter().chain(misfits) {
                if !seen.insert(entry) {
                    continue;
                }
                let about = library.phrases(entry);
                let mut best: Option<Rival> = None;
                for ((span, place), asked) in spans.iter().zip(&asked) {
                    let fit = fit(asked, *place, &about, library);
                    let rival = Rival { span: span.clone(), place: *place, entry, fit };
                    self.weigh(rival, &mut best);
                }
                if let Some(rival) = best {
                    match self.verdict(&rival, &about, &everything, filter) {
                        Some(reason) if settings.reject => self.reject(&rival, reason),
                        _ => passed.push(rival),
                    }
                }
            }
        }
        passed
    }

    /// Keeps the better of two spans for one card: the better score after its place counts, then the longer.
    fn weigh(&self, mut rival: Rival, best: &mut Option<Rival>) {
        let kind = self.library.card(rival.entry).kind;
        rival.fit.score *= place_factor(kind, rival.place, rival.fit.exact);
        let (prompt, words) = (self.prompt, self.library.words());
        let is_kind_of_thing = rival.place == Place::Modifier
            && (compounds::is_inner(prompt, &rival.span, words)
                || kind == Kind::Style && compounds::names_no_style(prompt, &rival.span, words)
                || rival.fit.setting && compounds::is_shift(prompt, &rival.span, words));
        if is_kind_of_thing {
            rival.fit.score *= 0.5;
        }
        let better = best.as_ref().is_none_or(|b| {
            (rival.fit.score, rival.span.len()) > (b.fit.score + 1e-4, 0)
                || (rival.fit.score - b.fit.score).abs() <= 1e-4 && rival.span.len() > b.span.len()
        });
        if better && rival.fit.score > 0.0 {
            *best = Some(rival);
        }
    }

    /// Why a card may not serve a span; none if it may.
    fn verdict(&self, rival: &Rival, phrases: &Phrases, everything: &Asked, filter: &Filter) -> Option<String> {
        let (card, settings) = (self.library.card(rival.entry), self.settings);
        let shown = |score: f32| format!("{score:.2}");
        let fit = &rival.fit;
        if let Some(why) = filter.target.objection(card) {
            return Some(why);
        }
        if !filter.admits(card) {
            return Some("left out by the filter".into());
        }
        match card.kind {
            Kind::Speed => return Some("for fewer steps; it serves no words and needs its own sampler".into()),
            Kind::Quality => return Some("about quality, not about these words".into()),
            Kind::ConceptSlider => return Some("a slider works both ways: set it by hand".into()),
            Kind::Character if !fit.exact => return Some("a named figure that the prompt does not name".into()),
            _ => {}
        }
        if fit.score < settings.threshold {
            return Some(match fit.scope {
                Some(scope) if fit.raw >= settings.threshold => scope.to_owned(),
                _ if fit.raw >= settings.threshold => match card.kind {
                    Kind::Style => "a style, while these words are a thing in the picture".to_owned(),
                    _ => format!("a {}, while these words say how or where", card.kind.name()),
                },
                _ => format!("fits too little ({} of {})", shown(fit.score), shown(settings.threshold)),
            });
        }
        if let Some(scope) = fit.scope {
            return Some(scope.to_owned());
        }
        let own = self.prompt.stems(&rival.span);
        if own.len() * 3 <= everything.len() && !fit.exact {
            let whole = crate::fit::fit(everything, Place::Style, phrases, self.library).raw;
            if fit.raw < whole + settings.margin {
                return Some(format!(
                    "fits these words no better than the whole prompt ({} to {})",
                    shown(fit.raw),
                    shown(whole)
                ));
            }
        }
        self.evidence.misfit(rival.entry)
    }

    /// Assigns adapters to topics over the whole prompt: spans that do not overlap, each adapter once, the limits kept, the sum of
    /// scores as large as possible. Exhaustive over the best rivals, which are few once the rest is rejected.
    fn assign(&mut self, mut rivals: Vec<Rival>) -> Vec<Rival> {
        rivals.sort_by(|a, b| {
            b.fit.score.total_cmp(&a.fit.score).then(b.span.len().cmp(&a.span.len())).then(a.entry.cmp(&b.entry))
        });
        self.one_file_of_twins(&mut rivals);
        if !self.settings.reject {
            // What a retriever alone would do.
            let mut taken = HashSet::new();
            rivals.retain(|r| taken.insert(r.entry));
            rivals.truncate(self.settings.per_topic);
            return self.apart(rivals);
        }
        let mut rest = rivals.split_off(rivals.len().min(MOST_RIVALS));
        let mut search =
            Search { rivals: &rivals, settings: self.settings, library: self.library, best: (0.0, Vec::new()) };
        search.walk(0, 0.0, &mut Vec::new());
        let picked: HashSet<usize> = search.best.1.into_iter().collect();
        let mut chosen = Vec::new();
        for (i, rival) in rivals.into_iter().enumerate() {
            if picked.contains(&i) {
                chosen.push(rival);
            } else {
                rest.push(rival);
            }
        }
        for rival in &rest {
            let reason = self.why_not(rival, &chosen);
            self.reject(rival, reason);
        }
        self.without_conflicts(chosen)
    }

    /// Files with the same tensors are one adapter: the one that fits best stands for all.
    fn one_file_of_twins(&mut self, rivals: &mut Vec<Rival>) {
        let mut first: HashMap<String, u32> = HashMap::new();
        let entries = self.library.entries();
        rivals.retain(|r| match &entries[r.entry as usize].key {
            Some(key) => *first.entry(key.clone()).or_insert(r.entry) == r.entry,
            None => true,
        });
    }

    fn why_not(&self, rival: &Rival, chosen: &[Rival]) -> String {
        let name = |r: &Rival| self.library.entries()[r.entry as usize].name.clone();
        if let Some(other) = chosen.iter().find(|c| c.entry == rival.entry) {
            return format!("already used for \"{}\"", self.prompt.words_of(&other.span));
        }
        let style = |r: &&Rival| self.library.card(r.entry).kind == Kind::Style;
        let same: Vec<&Rival> = chosen.iter().filter(|c| c.span == rival.span).collect();
        if let Some(best) = same.first() {
            return format!("{} fits \"{}\" better", name(best), self.prompt.words_of(&rival.span));
        }
        if let Some(other) = chosen.iter().find(|c| overlaps(&c.span, &rival.span)) {
            return format!("{} serves \"{}\"", name(other), self.prompt.words_of(&other.span));
        }
        if style(&rival) && chosen.iter().filter(style).count() >= self.settings.styles {
            return format!("there are {} styles already", self.settings.styles);
        }
        "others fit better".into()
    }

    fn without_conflicts(&mut self, chosen: Vec<Rival>) -> Vec<Rival> {
        let mut kept: Vec<Rival> = Vec::new();
        for rival in chosen {
            let clash = kept.iter().find_map(|k| {
                let figure = self.evidence.interference(k.entry, rival.entry)?;
                (figure > self.settings.interference).then_some((k.entry, figure))
            });
            match clash {
                Some((other, figure)) => {
                    let name = &self.library.entries()[other as usize].name;
                    self.reject(&rival, format!("changes the same weights as {name} (interference {figure:.2})"));
                }
                None => kept.push(rival),
            }
        }
        kept
    }

    /// Without a reject step spans may overlap: the later ones keep the words that are left.
    fn apart(&self, rivals: Vec<Rival>) -> Vec<Rival> {
        let mut kept: Vec<Rival> = Vec::new();
        for mut rival in rivals {
            if let Some(other) = kept.iter().find(|k| overlaps(&k.span, &rival.span)) {
                rival.span = other.span.clone();
            }
            kept.push(rival);
        }
        kept
    }
}

fn overlaps(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

/// Whether a kind may stand at a place: 1 at its own, less where it would be odd.
fn place_factor(kind: Kind, place: Place, exact: bool) -> f32 {
    match (kind, place) {
        (Kind::Style, Place::Style) => 1.0,
        (Kind::Style, Place::Modifier) => 0.97,
        (Kind::Style, Place::Setting) => 0.95,
        (Kind::Style, Place::Thing | Place::Action) => 0.5,
        (Kind::Pose, Place::Action) => 1.0,
        (Kind::Pose, _) => 0.7,
        (_, Place::Thing | Place::Style) => 1.0,
        (_, Place::Setting) => 0.9,
        // "a robot dog" is a dog; a name that is called outright still counts for something.
        (_, Place::Modifier) => {
            if exact {
                0.62
            } else {
                0.5
            }
        }
        (_, Place::Action) => 0.5,
    }
}

struct Search<'a> {
    rivals: &'a [Rival],
    settings: &'a Settings,
    library: &'a Library,
    best: (f32, Vec<usize>),
}

impl Search<'_> {
    fn walk(&mut self, from: usize, sum: f32, picked: &mut Vec<usize>) {
        if sum > self.best.0 + 1e-4 {
            self.best = (sum, picked.clone());
        }
        let bound: f32 = self.rivals[from..].iter().map(|r| r.fit.score).sum();
        if from == self.rivals.len() || sum + bound <= self.best.0 + 1e-4 {
            return;
        }
        if let Some(gain) = self.gain(from, picked) {
            picked.push(from);
            self.walk(from + 1, sum + gain, picked);
            picked.pop();
        }
        self.walk(from + 1, sum, picked);
    }

    /// What taking a rival adds; none if it may not be taken with these.
    fn gain(&self, candidate: usize, picked: &[usize]) -> Option<f32> {
        let rival = &self.rivals[candidate];
        let kind = |r: &Rival| self.library.card(r.entry).kind;
        let (mut here, mut top, mut styles) = (0, 0.0f32, 0);
        for other in picked.iter().map(|i| &self.rivals[*i]) {
            if other.entry == rival.entry || other.span != rival.span && overlaps(&other.span, &rival.span) {
                return None;
            }
            if other.span == rival.span {
                here += 1;
                top = top.max(other.fit.score);
            }
            styles += usize::from(kind(other) == Kind::Style);
        }
        let crowded = here >= self.settings.per_topic || rival.fit.score < top * self.settings.runner_up;
        let dressed = kind(rival) == Kind::Style && styles >= self.settings.styles;
        if crowded || dressed {
            return None;
        }
        // A second adapter for the same words is worth less than a first one for others.
        Some(rival.fit.score * [1.0, 0.3, 0.2, 0.1][here.min(3)])
    }
}

/// All topics of the prompt: the served spans, and what is left of each chunk (adjectives apart from what they describe).
fn topics(prompt: &Prompt, library: &Library, chosen: &[Rival]) -> Vec<Topic> {
    let mut out: Vec<Topic> = Vec::new();
    let mut served: Vec<Range<usize>> = chosen.iter().map(|r| r.span.clone()).collect();
    served.sort_by_key(|s| s.start);
    served.dedup();
    let topic = |span: &Range<usize>, place: Place| Topic {
        text: prompt.words_of(span),
        span: prompt.characters(span),
        weight: prompt.weight(span),
        place,
        choices: Vec::new(),
    };
    for span in &served {
        let own: Vec<&Rival> = chosen.iter().filter(|r| r.span == *span).collect();
        let mut made = topic(span, own[0].place);
        for r in &own {
            let card = library.card(r.entry);
            made.choices.push(Choice {
                entry: r.entry,
                score: r.fit.score.min(1.0),
                weight: weight(card, own.len()),
                because: r.fit.because.clone(),
            });
        }
        made.choices.sort_by(|a, b| b.score.total_cmp(&a.score));
        out.push(made);
    }
    for chunk in &prompt.chunks {
        let free = |i: &usize| !served.iter().any(|s| s.contains(i));
        let mut start = chunk.tokens.start;
        while let Some(from) = (start..chunk.tokens.end).find(free) {
            let end = (from..chunk.tokens.end).find(|i| !free(i)).unwrap_or(chunk.tokens.end);
            let mut at = from;
            while end - at > 1 && library.words().part(&prompt.tokens[at].stem) == Part::Adjective {
                out.push(topic(&(at..at + 1), Place::Modifier));
                at += 1;
            }
            out.push(topic(&(at..end), prompt.place(chunk, &(at..end))));
            start = end;
        }
    }
    out.sort_by_key(|t| t.span);
    out
}
