//! How long the prompts are, and what of them is read.

use admix_engine::model::prompt::Rules;
use admix_engine::settings::Options;

use super::Studio;
use crate::session::{Count, Purpose, Work};

/// What was asked about, and the answer for prompt and negative prompt.
#[derive(Default)]
pub struct Counting {
    asked: Option<(String, [String; 2], Rules)>,
    known: Option<([String; 2], [Count; 2])>,
}

impl Counting {
    /// Takes an answer, unless the prompts have changed since.
    pub fn learn(&mut self, texts: &[String; 2], counts: [Count; 2]) {
        if self.asked.as_ref().is_some_and(|(_, asked, _)| asked == texts) {
            self.known = Some((texts.clone(), counts));
        }
    }

    /// Tokens and room of the prompt (0) or the negative prompt (1), once they were counted.
    pub fn of(&self, which: usize) -> Option<Count> {
        self.known.as_ref().map(|(_, counts)| counts[which])
    }

    /// Characters of a prompt as it is now that are read. What was typed since the last count is read until it is counted.
    pub fn kept(&self, which: usize, text: &str) -> usize {
        let known = self.known.as_ref().filter(|(texts, _)| texts[which] == text);
        known.map_or(usize::MAX, |(_, counts)| counts[which].kept)
    }
}

impl Studio {
    /// Has the prompts counted where they, the model or the way they are read have changed.
    pub(super) fn count_tokens(&mut self) {
        let s = &self.document.recipe.sample;
        let texts = [s.prompt.clone().unwrap_or_default(), s.negative.clone().unwrap_or_default()];
        let model = self.document.recipe.base.reference.clone();
        let rules = Options::read(s).map(|o| o.rules()).unwrap_or_default();
        let wanted = (model.clone(), texts.clone(), rules);
        let is_rendering = self.desk.live().is_some_and(|l| l.purpose == Purpose::Asked);
        if self.counting.asked.as_ref() != Some(&wanted) && !is_rendering {
            self.counting.asked = Some(wanted);
            self.desk.submit(Work::Count { model, texts, rules });
        }
    }
}
