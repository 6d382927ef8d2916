//! What comes with the program, and names for people.

/// Something built in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// How recipes name it.
    pub reference: String,
    /// Its name.
    pub name: String,
    /// Adapter, else a model or a fine-tune.
    pub is_adapter: bool,
}

/// Everything built in.
#[cfg(not(target_arch = "wasm32"))]
pub fn builtin() -> Vec<Item> {
    use admix_engine::files::builtin::{Kind, catalogue};
    let items = catalogue().unwrap_or_else(|error| {
        log::warn!("{error}");
        Vec::new()
    });
    let item = |i: admix_engine::files::builtin::Item| Item {
        reference: format!("builtin:{}", i.name),
        is_adapter: i.kind == Kind::Adapter,
        name: i.name,
    };
    items.into_iter().map(item).collect()
}

/// Everything built in, as the page's list says.
#[cfg(target_arch = "wasm32")]
pub fn builtin() -> Vec<Item> {
    super::assets::catalogue()
}

/// The name of a reference for people: `mini` of `builtin:mini`, `ink` of `/models/ink.safetensors`.
pub fn short(reference: &str) -> String {
    if reference == "builtin" {
        return "mini".into();
    }
    let tail = reference.trim_end_matches(['/', '\\']).rsplit(['/', '\\', ':']).next().unwrap_or(reference);
    tail.strip_suffix(".safetensors").unwrap_or(tail).to_string()
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_short() {
        for (reference, name) in [
            ("builtin", "mini"),
            ("builtin:flat", "flat"),
            ("/a/ink.safetensors", "ink"),
            ("drop:x.safetensors", "x"),
            ("C:\\m\\y/", "y"),
        ] {
            assert_eq!(super::short(reference), name);
        }
    }
}
