//! Which cards of a library a search may give.

/// A set of entries, a bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admitted {
    bits: Vec<u64>,
    len: usize,
}

impl Admitted {
    /// Those of `len` entries that pass.
    pub fn of(len: usize, pass: impl Fn(u32) -> bool) -> Admitted {
        let word = |at: usize| {
            (at * 64..len.min(at * 64 + 64)).filter(|e| pass(*e as u32)).fold(0u64, |bits, e| bits | 1 << (e % 64))
        };
        Admitted { bits: (0..len.div_ceil(64)).map(word).collect(), len }
    }

    /// All of `len` entries.
    pub fn all(len: usize) -> Admitted {
        Admitted::of(len, |_| true)
    }

    /// The others.
    pub fn others(&self) -> Admitted {
        Admitted::of(self.len, |e| !self.contains(e))
    }

    /// Whether an entry is among them.
    pub fn contains(&self, entry: u32) -> bool {
        self.bits.get(entry as usize / 64).is_some_and(|word| word >> (entry % 64) & 1 == 1)
    }

    /// The entries in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0u32..).zip(&self.bits).flat_map(|(at, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let next = (left != 0).then(|| at * 64 + left.trailing_zeros());
                left &= left.wrapping_sub(1);
                next
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_hold_what_was_put_in() {
        let odd = Admitted::of(131, |e| e % 2 == 1);
        assert!(odd.iter().eq((0..131).filter(|e| e % 2 == 1)));
        assert!(odd.others().iter().eq((0..131).filter(|e| e % 2 == 0)));
        assert!(odd.contains(129) && !odd.contains(130) && !odd.contains(131) && !odd.contains(9999));
        assert_eq!(Admitted::all(64).iter().count(), 64);
        assert_eq!(Admitted::all(0).iter().count(), 0);
    }
}
