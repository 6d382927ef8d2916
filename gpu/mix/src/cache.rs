//! What stays between two recipes that follow one another: pristine inputs on the device, what methods found out about them (thresholds of
//! trims, L1 norms, inner products), and the results of surveys.
//!
//! A changed weight or lambda then reads nothing from files and searches for nothing: one pass over the inputs is left. Changes themselves are not
//! kept: they are one subtraction away from the inputs, and reading them would move more bytes than reading those.
//!
//! Inputs have a budget. Recipes walk through all tensors in the same order, which is the worst case of throwing out what was used longest ago;
//! instead, what the last two recipes did not use makes room, and what does not fit is read again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use admix_tensor::{Gpu, Recorder, Tensor};

use crate::MixError;
use crate::flat::Flat;
use crate::method::Facts;

/// Small results kept at most; beyond, all are forgotten. A model has some thousand tensors.
const MOST_FOUND: usize = 20_000;

/// What is kept. Shared by the mixers of one session.
pub struct Cache {
    budget: u64,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Counts recipes.
    round: u64,
    /// Errors the device had reported when the recipe began.
    failures: u64,
    bytes: u64,
    /// By checksum of the file and name of the tensor.
    inputs: HashMap<(String, String), Input>,
    /// By a text that names everything it depends on.
    found: HashMap<String, Tensor>,
    facts: HashMap<String, Arc<Facts>>,
    counts: Counts,
    /// No inputs are kept until everything is forgotten.
    closed: bool,
}

struct Input {
    flat: Flat,
    used: u64,
}

/// How often the cache had what was asked for, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Inputs taken from the device.
    pub kept: u64,
    /// Inputs read from files.
    pub read: u64,
    /// Thresholds, norms and products taken from the device.
    pub known: u64,
    /// Those that had to be found.
    pub found: u64,
}

impl Cache {
    /// An empty cache for at most `budget` bytes of inputs.
    pub fn new(budget: u64) -> Cache {
        Cache { budget, inner: Mutex::default() }
    }

    /// A cache for a quarter of the memory the device says it has, at most 8 GiB; 512 MiB where it does not say.
    pub fn for_device(gpu: &Gpu) -> Cache {
        Cache::new(gpu.memory(0).map_or(512 << 20, |free| (free / 4).min(8 << 30)))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets everything.
    pub fn clear(&self) {
        let mut inner = self.lock();
        *inner = Inner { round: inner.round, failures: inner.failures, counts: inner.counts, ..Inner::default() };
    }

    /// Lets go of the inputs and keeps none until [`Cache::clear`]: the device has no room for them beside the model. What was found out about
    /// them stays.
    pub fn close_inputs(&self) {
        let mut inner = self.lock();
        (inner.closed, inner.bytes) = (true, 0);
        inner.inputs.clear();
    }

    /// Bytes of inputs on the device.
    pub fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    /// How often it had what was asked for.
    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// A new recipe begins, on a device that has reported `failures` errors. New ones since the last recipe: what was kept may hold nothing.
    pub(crate) fn begin_round(&self, failures: u64) {
        if self.lock().failures != failures {
            self.clear();
        }
        let mut inner = self.lock();
        inner.round += 1;
        inner.failures = failures;
    }

    /// A file's tensor, if it is there.
    pub(crate) fn input(&self, sum: &str, name: &str) -> Option<Flat> {
        let mut inner = self.lock();
        let round = inner.round;
        let found = inner.inputs.get_mut(&(sum.to_string(), name.to_string())).map(|input| {
            input.used = round;
            input.flat.clone()
        });
        match found {
            Some(_) => inner.counts.kept += 1,
            None => inner.counts.read += 1,
        }
        found
    }

    /// Keeps a file's tensor if there is room, or room can be made of what the last two recipes did not use.
    pub(crate) fn keep_input(&self, sum: &str, name: &str, flat: &Flat) {
        let mut inner = self.lock();
        if inner.closed {
            return;
        }
        let (round, bytes) = (inner.round, flat.data.bytes());
        if inner.bytes + bytes > self.budget {
            let Inner { inputs, bytes: held, .. } = &mut *inner;
            inputs.retain(|_, input| {
                let stays = input.used + 1 >= round;
                if !stays {
                    *held -= input.flat.data.bytes();
                }
                stays
            });
        }
        if inner.bytes + bytes <= self.budget {
            let input = Input { flat: flat.clone(), used: round };
            let before = inner.inputs.insert((sum.to_string(), name.to_string()), input);
            inner.bytes += bytes;
            inner.bytes -= before.map_or(0, |b| b.flat.data.bytes());
        }
    }

    /// A survey's result.
    pub(crate) fn facts(&self, key: &str) -> Option<Arc<Facts>> {
        self.lock().facts.get(key).cloned()
    }

    /// Keeps a survey's result.
    pub(crate) fn keep_facts(&self, key: String, facts: Arc<Facts>) {
        let mut inner = self.lock();
        if inner.facts.len() >= MOST_FOUND {
            inner.facts.clear();
        }
        inner.facts.insert(key, facts);
    }
}

/// What is known of one merge's inputs: small tensors that depend on nothing but them.
pub struct Known {
    cache: Arc<Cache>,
    /// Names the inputs.
    inputs: String,
    /// Recorded, but not yet computed.
    pending: Mutex<Vec<(String, Tensor)>>,
}

impl Known {
    /// Of the inputs that `inputs` names.
    pub(crate) fn new(cache: &Arc<Cache>, inputs: String) -> Known {
        Known { cache: cache.clone(), inputs, pending: Mutex::default() }
    }

    /// The tensor that `record` makes, from the cache where it is there. `what` names everything it depends on beside the inputs.
    pub(crate) fn or_record(
        &self,
        rec: &mut Recorder,
        what: &str,
        record: impl FnOnce(&mut Recorder) -> Result<Tensor, MixError>,
    ) -> Result<Tensor, MixError> {
        let key = format!("{}|{what}", self.inputs);
        {
            let mut inner = self.cache.lock();
            if let Some(tensor) = inner.found.get(&key).cloned() {
                inner.counts.known += 1;
                return Ok(tensor);
            }
            inner.counts.found += 1;
        }
        let made = record(rec)?;
        // The recording's own buffers serve other operations later.
        let kept = Tensor::empty(rec.gpu(), "known", made.rows, made.cols)?;
        rec.copy(&made, 0, &kept, 0, made.bytes());
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).push((key, kept));
        Ok(made)
    }

    /// The recording has been submitted: what it makes may be used from now on.
    pub(crate) fn settle(self) {
        let mut inner = self.cache.lock();
        if inner.found.len() >= MOST_FOUND {
            inner.found.clear();
        }
        inner.found.extend(self.pending.into_inner().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flat::Kind;
    use crate::testing::devices;

    /// Inputs that fit stay; what two recipes have not used makes room; what they use is not thrown out for what comes after.
    #[test]
    fn inputs_stay_within_the_budget() {
        let gpu = &devices()[0];
        let flat = || Flat::empty(gpu, "input", 1024, Kind::F32).expect("small");
        let cache = Cache::new(3 * 4096);
        cache.begin_round(0);
        for name in ["a", "b", "c", "d"] {
            assert!(cache.input("sum", name).is_none());
            cache.keep_input("sum", name, &flat());
        }
        assert_eq!(cache.bytes(), 3 * 4096);
        assert!(cache.input("sum", "d").is_none() && cache.input("other", "a").is_none());
        // "a" and "b" are used again, "c" is not, for two recipes.
        for _ in 0..2 {
            cache.begin_round(0);
            assert!(cache.input("sum", "a").is_some() && cache.input("sum", "b").is_some());
        }
        cache.keep_input("sum", "d", &flat());
        assert!(cache.input("sum", "c").is_none() && cache.input("sum", "d").is_some());
        assert_eq!(cache.bytes(), 3 * 4096);
        cache.close_inputs();
        cache.keep_input("sum", "a", &flat());
        assert!(cache.bytes() == 0 && cache.input("sum", "a").is_none());
        cache.clear();
        assert!(cache.bytes() == 0 && cache.input("sum", "a").is_none());
        cache.keep_input("sum", "a", &flat());
        assert!(cache.input("sum", "a").is_some());
        // The device failed meanwhile.
        cache.begin_round(1);
        assert!(cache.input("sum", "a").is_none());
    }
}
