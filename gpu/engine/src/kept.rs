//! Results that stay true as long as what they were made from stays the same: a slider that is dragged asks for the same things again and again.

use std::sync::{Arc, Mutex, PoisonError};

/// The last results, by a text that names everything they depend on.
pub(crate) struct Kept<T> {
    most: usize,
    /// The one used last is at the end.
    held: Mutex<Vec<(String, Arc<T>)>>,
}

impl<T> Kept<T> {
    /// Keeps at most so many.
    pub fn new(most: usize) -> Kept<T> {
        Kept { most, held: Mutex::default() }
    }

    /// What is kept under `key`.
    pub fn get(&self, key: &str) -> Option<Arc<T>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let at = held.iter().position(|(k, _)| k == key)?;
        let entry = held.remove(at);
        let value = entry.1.clone();
        held.push(entry);
        Some(value)
    }

    /// Keeps a result in place of the one that was not used for longest.
    pub fn put(&self, key: String, value: Arc<T>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|(k, _)| *k != key);
        if held.len() >= self.most && !held.is_empty() {
            held.remove(0);
        }
        held.push((key, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_leaves() {
        let kept = Kept::new(2);
        kept.put("a".into(), Arc::new(1));
        kept.put("b".into(), Arc::new(2));
        assert_eq!(kept.get("a").as_deref(), Some(&1));
        kept.put("c".into(), Arc::new(3));
        assert_eq!((kept.get("b"), kept.get("a").as_deref(), kept.get("c").as_deref()), (None, Some(&1), Some(&3)));
        kept.put("c".into(), Arc::new(4));
        assert_eq!((kept.get("a").as_deref(), kept.get("c").as_deref()), (Some(&1), Some(&4)), "one entry a key");
    }
}
