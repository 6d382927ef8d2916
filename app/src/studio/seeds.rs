//! The seed while it is open: another one for every picture, and drawing it is no step to undo.

use admix_engine::mix::Recipe;

use super::Studio;
use super::document::Document;

/// What is known of the seeds drawn so far.
#[derive(Clone, Default)]
pub struct Seeds {
    /// The state of the dice.
    dice: u64,
    /// The seed drawn last and the one that a person had chosen before it: as far as undo knows, that one is still set.
    drawn: Option<(u64, Option<u64>)>,
    /// The picture that was asked for last.
    asked: Option<Asked>,
}

#[derive(Clone)]
struct Asked {
    id: u64,
    recipe: Recipe,
    is_done: bool,
}

impl Seeds {
    /// Dice that go on from any number.
    pub fn new(dice: u64) -> Seeds {
        Seeds { dice, ..Seeds::default() }
    }

    /// The next seed of the dice.
    fn next(&mut self) -> u64 {
        // Steele et al. 2014's SplitMix64: any state will do, repeats are 2^32 draws away.
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) >> 32
    }

    /// The seed a person chose last, of which the one that is set was drawn.
    fn root(&self, seed: Option<u64>) -> Option<u64> {
        match self.drawn {
            Some((drawn, root)) if seed == Some(drawn) => root,
            _ => seed,
        }
    }

    /// Draws a seed of the program's own accord.
    fn draw(&mut self, document: &mut Document) {
        let root = self.root(document.recipe.sample.seed);
        let seed = self.next();
        document.recipe.sample.seed = Some(seed);
        self.drawn = Some((seed, root));
    }

    /// Before a picture is asked for: while the seed is open, the same one would make the same picture again.
    pub fn before(&mut self, document: &mut Document) {
        let Some(asked) = self.asked.as_ref().filter(|_| !document.seed_locked) else { return };
        let is_same = match asked.is_done {
            // It is still on its way; what changed meanwhile is to be seen on another seed all the same.
            false => asked.recipe.sample.seed == document.recipe.sample.seed,
            true => asked.recipe == document.effective(),
        };
        if is_same {
            self.draw(document);
        }
    }

    /// A picture is asked for.
    pub fn asked(&mut self, id: u64, recipe: Recipe) {
        self.asked = Some(Asked { id, recipe, is_done: false });
    }

    /// A picture is there. `moves`: an open seed goes on, unless somebody changed it since or another picture waits with it.
    pub fn done(&mut self, id: u64, of: Option<u64>, document: &mut Document, moves: bool) -> bool {
        if let Some(asked) = self.asked.as_mut().filter(|a| a.id == id) {
            asked.is_done = true;
        }
        let is_due = moves && !document.seed_locked && document.recipe.sample.seed == of;
        if is_due {
            self.draw(document);
        }
        is_due
    }

    /// A picture was not made: the same settings may be tried again.
    pub fn missed(&mut self, id: u64) {
        self.asked.take_if(|asked| asked.id == id);
    }

    /// The settings were brought from elsewhere, seed and all: their picture may be made once more.
    pub fn forget(&mut self) {
        self.asked = None;
    }

    /// The settings as steps to undo know them: an open seed that was drawn counts as the one chosen before.
    pub fn steady(&self, document: &Document) -> Document {
        let mut steady = document.clone();
        if !document.seed_locked {
            steady.recipe.sample.seed = self.root(document.recipe.sample.seed);
        }
        steady
    }

    /// The settings of a step, with the seed as it is where the step did not touch it.
    fn brought_back(&self, now: &Document, mut step: Document) -> Document {
        if step.recipe.sample.seed == self.steady(now).recipe.sample.seed {
            step.recipe.sample.seed = now.recipe.sample.seed;
        }
        step
    }
}

impl Studio {
    /// Draws another seed because somebody asked for one: a step like any other.
    pub fn roll_seed(&mut self) {
        self.document.recipe.sample.seed = Some(self.seeds.next());
    }

    /// True when there is something to undo.
    pub fn can_undo(&self) -> bool {
        self.undo.has_undo(&self.seeds.steady(&self.document))
    }

    /// True when there is something to redo.
    pub fn can_redo(&self) -> bool {
        self.undo.has_redo(&self.seeds.steady(&self.document))
    }

    /// One step back.
    pub fn undo(&mut self) {
        if let Some(step) = self.undo.undo(&self.seeds.steady(&self.document)) {
            self.document = self.seeds.brought_back(&self.document, step.clone());
        }
    }

    /// One step forth.
    pub fn redo(&mut self) {
        if let Some(step) = self.undo.redo(&self.seeds.steady(&self.document)) {
            self.document = self.seeds.brought_back(&self.document, step.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed(document: &Document) -> Option<u64> {
        document.recipe.sample.seed
    }

    /// What `Studio::make` does with the seed.
    fn make(seeds: &mut Seeds, document: &mut Document, id: u64) -> Option<u64> {
        seeds.before(document);
        seeds.asked(id, document.effective());
        seed(document)
    }

    #[test]
    fn an_open_seed_never_makes_the_same_picture_twice() {
        let (mut seeds, mut d) = (Seeds::new(1), Document::default());
        let made: Vec<_> = (0..3).map(|id| make(&mut seeds, &mut d, id)).collect();
        assert!(made[0] == Some(1) && made[1] != made[0] && made[2] != made[1], "{made:?}");
        // The first two are done: the seed is that of the third, which still waits.
        for id in 0..2 {
            assert!(!seeds.done(id, made[id as usize], &mut d, true));
        }
        assert_eq!(seed(&d), made[2]);
        assert!(seeds.done(2, made[2], &mut d, true) && seed(&d) != made[2]);

        // The very first picture leaves its seed, so that what is mixed in next is seen on it; but not the same picture once more.
        let (mut seeds, mut d) = (Seeds::new(1), Document::default());
        make(&mut seeds, &mut d, 0);
        seeds.done(0, Some(1), &mut d, false);
        let mut changed = d.clone();
        changed.recipe.sample.cfg = Some(2.0);
        assert_eq!(make(&mut seeds.clone(), &mut changed, 1), Some(1));
        assert_ne!(make(&mut seeds, &mut d, 1), Some(1));
        // A failure may be tried again as it was.
        let failed = seed(&d);
        seeds.missed(1);
        assert_eq!(make(&mut seeds, &mut d, 2), failed);
        // A locked seed stays in any case.
        d.seed_locked = true;
        assert_eq!(make(&mut seeds, &mut d, 3), failed);
        assert!(!seeds.done(3, failed, &mut d, true));
    }

    #[test]
    fn a_seed_typed_while_a_picture_is_made_stays() {
        let (mut seeds, mut d) = (Seeds::new(1), Document::default());
        let first = make(&mut seeds, &mut d, 0);
        d.recipe.sample.seed = Some(77);
        assert!(!seeds.done(0, first, &mut d, true));
        assert_eq!(seed(&d), Some(77));
        assert_eq!(make(&mut seeds, &mut d, 1), Some(77));
    }

    #[test]
    fn a_drawn_seed_is_no_step() {
        let (mut seeds, mut d) = (Seeds::new(1), Document::default());
        d.recipe.sample.seed = Some(77);
        let before = seeds.steady(&d);
        for id in 0..2 {
            let now = make(&mut seeds, &mut d, id);
            seeds.done(id, now, &mut d, true);
        }
        assert_ne!(seed(&d), Some(77));
        assert_eq!(seeds.steady(&d), before, "to undo nothing happened");
        // A step that changed something else keeps the seed, one that typed it brings the older one back.
        let mut step = before.clone();
        step.recipe.sample.cfg = Some(2.0);
        assert_eq!(seed(&seeds.brought_back(&d, step.clone())), seed(&d));
        step.recipe.sample.seed = Some(5);
        assert_eq!(seed(&seeds.brought_back(&d, step)), Some(5));
    }
}
