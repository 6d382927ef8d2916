//! The whole way natively: files on disk, the built-in model, a suggestion.

use admix_files::builtin;
use admix_files::checkpoint::Checkpoint;
use admix_select::card::Seen;
use admix_select::compose::{Evidence, Settings, compose};
use admix_select::evidence::Files;
use admix_select::folders::{self, shipped_words};
use admix_select::shelf::target;
use admix_select::sqlite::{FILE_NAME, Store};
use admix_select::{Edits, Filter, Library, Result, Shelf, Suggestion};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

fn open(folders: &[PathBuf], built_in: bool) -> Shelf {
    folders::open(folders, built_in, Path::new("no/such/own.sqlite"), &|_, _| {}, &AtomicBool::new(false))
        .expect("opens")
}

/// The value of a future that never waits, as all are natively.
fn now<T>(future: impl Future<Output = Result<T>>) -> T {
    admix_files::ready(async { Ok(future.await) }).expect("never waits").expect("is kept")
}

fn suggest(prompt: &str, shelf: Shelf) -> (Suggestion, Library) {
    let model = Checkpoint::open(builtin::resolve_model("builtin").expect("ships")).expect("opens");
    let library = Library::new(shipped_words().expect("ships"), shelf.entries.clone());
    let filter = Filter { target: target(&model), ..Filter::default() };
    let suggestion =
        compose(prompt, &library, &filter, &Files::new(shelf.places.clone(), &model), &Settings::default());
    (suggestion, library)
}

fn chosen(prompt: &str, shelf: Shelf) -> Vec<(String, String, f64)> {
    let (suggestion, library) = suggest(prompt, shelf);
    let of = |t: &admix_select::compose::Topic| {
        t.choices
            .iter()
            .map(|c| (t.text.clone(), library.entries()[c.entry as usize].reference.clone(), c.weight))
            .collect::<Vec<_>>()
    };
    suggestion.topics.iter().flat_map(of).collect()
}

#[test]
fn the_built_in_adapters_serve_a_prompt() {
    let found = chosen("a unicorn at night, (watercolour:1.2)", open(&[], true));
    let found: Vec<(&str, &str, f64)> = found.iter().map(|(t, r, w)| (t.as_str(), r.as_str(), *w)).collect();
    let expected = [
        ("unicorn", "builtin:unicorn", 0.8),
        ("night", "builtin:night", 0.8),
        ("watercolour", "builtin:watercolour", 0.8),
    ];
    assert_eq!(found, expected);
    assert!(chosen("a red apple on a blue background", open(&[], true)).is_empty());
}

#[test]
fn copies_take_the_place_of_what_is_built_in_and_edits_stay() {
    let dir = tempfile::tempdir().expect("a folder");
    let adapters = builtin::assets_folder().expect("ships").join("adapters");
    for name in ["sketch", "robot"] {
        let file = format!("{name}.safetensors");
        std::fs::copy(adapters.join(&file), dir.path().join(&file)).expect("copied");
    }
    // peft's files say nothing of themselves: the card follows the tensors.
    let found = chosen("a cat drawn in graphite", open(&[dir.path().to_path_buf()], true));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].1, dir.path().join("sketch.safetensors").display().to_string());
    let path = dir.path().join(FILE_NAME);
    let (mut store, mut catalogue) = Store::open(&path).expect("was made");
    let mine = Edits { triggers: Some(vec!["zorgon".into()]), weight: Some(0.5), ..Edits::default() };
    catalogue.edit("robot.safetensors", mine).expect("is there");
    store.save(&catalogue).expect("writes");
    drop(store);
    // Renamed, it is known by its tensors.
    std::fs::rename(dir.path().join("robot.safetensors"), dir.path().join("x1.safetensors")).expect("renamed");
    let found = chosen("a zorgon", open(&[dir.path().to_path_buf()], false));
    assert_eq!(found, [("zorgon".to_owned(), dir.path().join("x1.safetensors").display().to_string(), 0.4)]);
}

#[test]
fn what_the_tensors_say_counts() {
    let model = Checkpoint::open(builtin::resolve_model("builtin").expect("ships")).expect("opens");
    let shelf = open(&[], true);
    let at = |name: &str| shelf.entries.iter().position(|e| e.name == name).expect("ships") as u32;
    let files = Files::new(shelf.places.clone(), &model);
    assert!(shelf.entries.iter().enumerate().all(|(i, _)| files.misfit(i as u32).is_none()));
    let itself = files.interference(at("neon"), at("neon")).expect("low rank");
    assert!((itself - 1.0).abs() < 1e-6, "{itself}");
    let apart = files.interference(at("unicorn"), at("watercolour")).expect("both change attention");
    assert!(apart < 0.35, "{apart}");
}

#[test]
fn folders_that_are_not_there_are_said_to_be() {
    let missing = PathBuf::from("no/such/folder");
    let error =
        folders::open(&[missing], true, Path::new("no/own"), &|_, _| {}, &AtomicBool::new(false)).err().expect("fails");
    assert!(error.is_user_fault() && error.to_string().contains("no/such/folder"), "{error}");
}

#[test]
fn what_a_person_says_wins_after_every_indexing() {
    let dir = tempfile::tempdir().expect("a folder");
    let shipped = builtin::resolve_adapter("builtin:neon").expect("ships");
    let file = dir.path().join("thing_v2.safetensors");
    std::fs::copy(&shipped, &file).expect("copied");
    let folders = [dir.path().to_path_buf()];
    let first = open(&folders, false);
    assert_eq!((first.entries.len(), first.homes.len()), (1, 1));
    let title = |t: &str| Edits { title: Some(t.into()), weight: Some(0.5), ..Edits::default() };
    now(first.homes[0].edit(title("Mine")));
    let seen = Seen { text: "Darker.".into(), ..Seen::default() };
    now(first.homes[0].keep_seen(seen, b"png"));
    // Touched and renamed: indexed anew, and still the person's.
    std::fs::rename(&file, dir.path().join("other.safetensors")).expect("renamed");
    std::fs::write(dir.path().join("other.json"), r#"{"description": "theirs", "preferred weight": 1.2}"#)
        .expect("written");
    let again = open(&folders, false);
    let card = again.entries[0].card();
    assert_eq!((again.entries[0].name.as_str(), card.title.as_str(), card.weight), ("other", "Mine", 0.5));
    assert_eq!((card.seen.as_str(), now(again.homes[0].picture())), ("Darker.", Some(b"png".to_vec())));
    now(again.homes[0].clear());
    assert_ne!(open(&folders, false).entries[0].card().title, "Mine");
    // The built-in ones have a catalogue of the person's own.
    let own = dir.path().join("own/catalogue.sqlite");
    let built_in = |own: &Path| folders::open(&[], true, own, &|_, _| {}, &AtomicBool::new(false)).expect("opens");
    let shelf = built_in(&own);
    let at = shelf.entries.iter().position(|e| e.name == "neon").expect("ships");
    now(shelf.homes[at].edit(title("Tubes")));
    assert_eq!(built_in(&own).entries[at].card().title, "Tubes");
}

#[test]
fn large_files_keep_their_cards_when_they_are_touched_or_renamed() {
    use admix_select::keep::Passing;
    use admix_select::loose::{self, Loose};
    use admix_select::{Home, Place};
    let dir = tempfile::tempdir().expect("a folder");
    let mut bytes = std::fs::read(builtin::resolve_adapter("builtin:neon").expect("ships")).expect("reads");
    // Too large to be hashed on the way: a longer header, which is padded with blanks.
    let header = u64::from_le_bytes(bytes[..8].try_into().expect("eight")) as usize;
    let padded = header + (600 << 10);
    bytes.splice(8 + header..8 + header, std::iter::repeat_n(b' ', 600 << 10));
    bytes[..8].copy_from_slice(&(padded as u64).to_le_bytes());
    let keeper = std::sync::Arc::new(Passing::default());
    let read = |name: &str, reference: &str| {
        let file = dir.path().join(name);
        std::fs::write(&file, &bytes).expect("written");
        let place = Place::Path(file);
        let files = [Loose { reference: reference.into(), name: "thing".into(), place }];
        now(loose::shelf(&files, keeper.clone(), &|_, _| {}, &AtomicBool::new(false)))
    };
    let first = read("a.safetensors", "drop:a");
    assert!(first.entries[0].key.is_none(), "hashed in the background");
    let mut home: Home = first.homes[0].clone();
    let key = admix_files::ready(first.places[0].key(&|| true)).expect("reads").expect("hashes");
    assert!(!now(home.learn_key(&key)), "nothing is said yet");
    now(home.edit(Edits { title: Some("Mine".into()), ..Edits::default() }));
    // Another date, another name: the same tensors, the same words.
    assert_eq!(read("c.safetensors", "drop:a").entries[0].card().title, "Mine");
    assert_eq!(read("d.safetensors", "drop:d").entries[0].card().title, "Mine");
}

#[test]
fn of_two_that_change_the_same_weights_one_is_left_out() {
    let dir = tempfile::tempdir().expect("a folder");
    let shipped = std::fs::read(builtin::resolve_adapter("builtin:neon").expect("ships")).expect("reads");
    for (name, last) in [("one", 0u8), ("two", 1)] {
        // Another file by its hash, the same change but for the last bit of one figure.
        let mut bytes = shipped.clone();
        let at = bytes.len() - 2;
        bytes[at] = bytes[at] & !1 | last;
        std::fs::write(dir.path().join(format!("{name}.safetensors")), bytes).expect("written");
    }
    let folders = [dir.path().to_path_buf()];
    for (home, trigger) in open(&folders, false).homes.iter().zip(["zorgon", "quibble"]) {
        let edits = Edits {
            title: Some(trigger.into()),
            triggers: Some(vec![trigger.into()]),
            description: Some(String::new()),
            tags: Some(Vec::new()),
            ..Edits::default()
        };
        now(home.edit(edits));
    }
    let (suggestion, _) = suggest("a cat, zorgon, quibble", open(&folders, false));
    assert_eq!(suggestion.ranked().len(), 1);
    let why = &suggestion.rejected[0].reason;
    assert!(why.starts_with("changes the same weights") && why.contains("1.00"), "{why}");
}
