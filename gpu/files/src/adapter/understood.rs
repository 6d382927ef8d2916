//! Whether all of a file's modules is understood. A module with one tensor too many, or with numbers of another kind, would be applied wrongly
//! while the report says that it matched; so the file is refused, with the tensor's name.

use super::dialect::PEFT_PREFIX;
use super::family::{ALPHA, BIAS, RESHAPE, WHOLE_BIAS};
use super::open::Claimed;
use crate::error::{Error, Result};
use std::collections::HashSet;

/// Roles of tensors that may hold whole numbers: signs, places, sizes, switches.
const WHOLE_NUMBERS: [&str; 5] = [ALPHA, "on_input", "mask", "shira_indices", RESHAPE];

/// Checks the modules against the tensors that make no module of their own (with their files), and against what their own kinds read.
pub(super) fn check<'a>(
    claimed: &[Claimed],
    stray: &[(usize, String)],
    file_of: &dyn Fn(usize) -> &'a str,
) -> Result<()> {
    let refused = |source: usize, module: &str, why: String| {
        Err(Error::NotA { file: file_of(source).into(), why: format!("module `{module}` {why}") })
    };
    // Kinds that are not applied are refused by their names.
    let applied = || claimed.iter().filter(|(.., family)| family.is_applied());
    let names: HashSet<&str> = applied().map(|(name, ..)| name.as_str()).collect();
    for (source, key) in stray {
        let owner =
            key.match_indices('.').rev().map(|(dot, _)| key.split_at(dot)).find(|(name, _)| names.contains(name));
        if let Some((module, rest)) = owner {
            let rest = rest.trim_start_matches('.');
            let why = format!("also has `{rest}`, which no known kind of adapter has; half of it would be wrong");
            return refused(*source, module, why);
        }
    }
    for (name, _, source, group, family) in applied() {
        for (role, slot) in &group.slots {
            let key = &slot.key;
            // Only peft is known to save a bias whole; elsewhere `bias` could be anything.
            let common = matches!(*role, ALPHA | BIAS | RESHAPE) || *role == WHOLE_BIAS && key.contains(PEFT_PREFIX);
            if !common && !family.takes(group, role) {
                let why = format!(
                    "also has `{key}`, which a {} module does not have; half of it would be wrong",
                    family.label()
                );
                return refused(*source, name, why);
            }
            if !slot.info.dtype.is_float() && !WHOLE_NUMBERS.contains(role) {
                let dtype = slot.info.dtype.name();
                let why =
                    format!("has whole numbers ({dtype}) in `{key}`; it is quantised or damaged, use the f16 file");
                return refused(*source, name, why);
            }
        }
    }
    Ok(())
}
