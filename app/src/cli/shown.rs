//! Pictures to score mixes with: a folder of pictures, each described by the text file beside it, or by its own name.

use std::path::Path;

use admix_engine::Picture;
use admix_engine::score::Shown;

use super::fault::Fault;
use super::recipe::read_file;

const KINDS: [&str; 4] = ["png", "jpg", "jpeg", "webp"];

/// Every picture of a folder, by name. Errors: no folder, no pictures, damaged ones.
pub fn read(folder: &Path) -> Result<Vec<Shown>, Fault> {
    let shown = folder.display();
    let entries =
        std::fs::read_dir(folder).map_err(|e| Fault::input(format!("{shown}: this folder cannot be read: {e}")))?;
    let is_picture = |path: &Path| {
        let kind = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
        kind.is_some_and(|kind| KINDS.contains(&kind.as_str()))
    };
    let mut paths: Vec<_> = entries.flatten().map(|e| e.path()).filter(|p| is_picture(p)).collect();
    paths.sort();
    let mut all = Vec::new();
    for path in paths {
        let picture = Picture::decode(&read_file(&path)?, &path.display().to_string())?;
        let beside = path.with_extension("txt");
        let caption = if beside.is_file() {
            String::from_utf8_lossy(&read_file(&beside)?).trim().to_string()
        } else {
            let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
            stem.replace(['_', '-'], " ")
        };
        all.push(Shown { picture, caption });
    }
    if all.is_empty() {
        return Err(Fault::input(format!(
            "{shown} holds no pictures; put PNG, JPEG or WebP files there, each with a .txt that describes it, or named by what it shows"
        )));
    }
    Ok(all)
}
