//! What a large library costs: 100,000 cards searched, and files indexed from their headers. The bars are those of the finished
//! program: they are meant for the release build. `--nocapture` shows the figures.

#[path = "proof/distractors.rs"]
mod distractors;

use admix_files::DType;
use admix_files::safetensors::{TensorSpec, write_to_vec};
use admix_select::admitted::Admitted;
use admix_select::bm25::best;
use admix_select::catalogue::Catalogue;
use admix_select::compose::{CardsOnly, Settings, compose};
use admix_select::words::dot;
use admix_select::{Error, Filter, Library, Mode, Target, Words, indexer};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

fn words() -> Arc<Words> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/select/words.safetensors");
    Arc::new(Words::from_bytes(&std::fs::read(path).expect("ships")).expect("reads"))
}

/// Resident memory in bytes, where the system tells.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(text.split(' ').nth(1)?.parse::<u64>().ok()? * 4096)
}

const QUERIES: [&str; 10] = [
    "watercolour painting",
    "a robot",
    "neon lights",
    "samurai in plate armor",
    "cherry blossom",
    "gothic cathedral at night",
    "pixel art",
    "wedding dress",
    "film noir detective",
    "a red apple",
];

/// Milliseconds of a call: the best of several, what the work takes and not what else the machine does.
fn milliseconds(mut work: impl FnMut()) -> f64 {
    let once = |_| {
        let start = Instant::now();
        work();
        1e3 * start.elapsed().as_secs_f64()
    };
    (0..15).map(once).fold(f64::INFINITY, f64::min)
}

fn mean(of: impl Fn(&str) -> f64) -> f64 {
    QUERIES.iter().map(|q| of(q)).sum::<f64>() / QUERIES.len() as f64
}

#[test]
#[ignore = "a measurement: run it in the release build on a quiet machine"]
fn a_hundred_thousand_cards() {
    let words = words();
    let before = resident();
    let entries = distractors::distractors(100_000, 11, 768);
    let start = Instant::now();
    let library = Library::new(words.clone(), entries);
    println!("100,000 cards indexed in {:.2} s", start.elapsed().as_secs_f64());
    let tables = (library.vectors().bytes(), library.postings().bytes());
    println!("vectors {} MB, words {} MB", tables.0 >> 20, tables.1 >> 20);
    if let (Some(before), Some(after)) = (before, resident()) {
        let grown = after.saturating_sub(before);
        println!("memory, the cards themselves and what the building left behind included: {} MB", grown >> 20);
        assert!(grown < 200 << 20, "{grown}");
    }
    let filter = Filter { target: Target { family: Some("sd1".into()), context: Some(768) }, ..Filter::default() };
    let first = Instant::now();
    let admitted = library.admitted(&filter);
    println!("a new filter: {:.2} ms, once", 1e3 * first.elapsed().as_secs_f64());
    for (mode, name) in [(Mode::Bm25, "words"), (Mode::Embedding, "vectors")] {
        let stage = mean(|q| {
            milliseconds(|| assert!(!library.search(q, 150, mode, &admitted).is_empty() || mode == Mode::Bm25))
        });
        println!("  {name}: {stage:.2} ms");
    }
    let query = mean(|q| milliseconds(|| assert!(!library.retrieve(q, &filter, 150, Mode::Hybrid).is_empty())));
    println!("a query: {query:.2} ms");
    assert!(query < 10.0, "{query}");
    let prompt = "a robot samurai in plate armor at night, watercolour, pixel art";
    let settings = Settings::default();
    let whole = milliseconds(|| drop(compose(prompt, &library, &filter, &CardsOnly, &settings)));
    println!("a whole prompt: {whole:.1} ms");
    assert!(whole < 50.0, "{whole}");
    recall(&library, &words);
}

/// Recall of the reduced, quantised search against the exact one, on the library's own vectors.
fn recall(library: &Library, words: &Words) {
    let entries = distractors::distractors(100_000, 11, 768);
    let vectors: Vec<Vec<f32>> = entries.iter().map(|e| library.meaning(&e.name, &e.found)).collect();
    let asked: Vec<String> = QUERIES.iter().map(|q| (*q).to_owned()).chain(prompts()).collect();
    let (mut hits, mut all, mut worst) = (0, 0, 1.0f64);
    for query in asked.iter().filter_map(|q| words.embed(q)) {
        let mut exact: Vec<(u32, f32)> = (0..).zip(vectors.iter().map(|v| dot(v, &query))).collect();
        best(&mut exact, 150);
        // Where several are equally far, any of them is right: the generator makes twins.
        let last = exact.last().map_or(0.0, |e| e.1) - 1e-4;
        let found = library.vectors().search(&query, 150, &Admitted::all(library.len()));
        let right = found.iter().filter(|(row, _)| dot(&vectors[*row as usize], &query) >= last).count();
        (hits, all) = (hits + right, all + 150);
        let share = right as f64 / 150.0;
        worst = worst.min(share);
    }
    let recall = f64::from(hits as u32) / f64::from(all);
    println!("recall@150 {recall:.3} over {} queries, the worst {worst:.3}", all / 150);
    assert!(recall >= 0.95, "{recall}");
}

/// A hundred prompts of the labelled set, without their labels.
fn prompts() -> impl Iterator<Item = String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/select/held_out.txt");
    let text = std::fs::read_to_string(path).expect("is there");
    let plain = |line: &str| {
        let parts = line.split(['[', ']']).map(|p| p.split('|').next().unwrap_or_default().to_owned());
        parts.collect::<String>()
    };
    text.lines().filter(|l| !l.starts_with('#')).map(plain).take(100).collect::<Vec<_>>().into_iter()
}

/// A kohya file as they are, but with tensors of rank 1: long headers, little data.
fn adapter_file(n: usize) -> Vec<u8> {
    let mut specs = Vec::new();
    let mut data: Vec<Vec<u8>> = Vec::new();
    for block in 0..16 {
        for part in [
            "attn1_to_q",
            "attn1_to_k",
            "attn1_to_v",
            "attn1_to_out_0",
            "attn2_to_q",
            "attn2_to_k",
            "attn2_to_v",
            "attn2_to_out_0",
            "ff_net_0_proj",
            "ff_net_2",
        ] {
            let name =
                format!("lora_unet_down_blocks_{}_attentions_{}_transformer_blocks_0_{part}", block / 4, block % 4);
            for (end, shape) in [("alpha", vec![]), ("lora_down.weight", vec![1, 8]), ("lora_up.weight", vec![8, 1])] {
                let size = 2 * shape.iter().product::<usize>();
                specs.push(TensorSpec { name: format!("{name}.{end}"), dtype: DType::F16, shape });
                data.push(vec![(n % 251) as u8 & 0x3b; size]);
            }
        }
    }
    let tags = format!(r#"{{"1_set": {{"tag {n}": 20, "1girl": 18, "solo": 9}}}}"#);
    let metadata = [
        ("ss_tag_frequency", tags),
        ("ss_output_name", format!("adapter_{n}")),
        ("ss_base_model_version", "sd_v1".into()),
    ];
    let metadata = metadata.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    write_to_vec(&specs, &metadata, data).expect("writes")
}

#[test]
fn files_are_indexed_from_their_headers() {
    index_files(if cfg!(debug_assertions) { 60 } else { 500 });
}

#[test]
#[ignore = "a measurement: 600 MB of files"]
fn ten_thousand_files() {
    index_files(10_000);
}

fn index_files(count: usize) {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(dir.path().join("more")).expect("made");
    for n in 0..count {
        let folder = if n % 2 == 0 { "." } else { "more" };
        std::fs::write(dir.path().join(folder).join(format!("adapter_{n}.safetensors")), adapter_file(n))
            .expect("written");
    }
    std::fs::write(dir.path().join("broken.safetensors"), b"not one").expect("written");
    let go = AtomicBool::new(false);
    let mut catalogue = Catalogue::default();
    let heard = AtomicUsize::new(0);
    let start = Instant::now();
    let progress = |_: usize, of: usize| {
        assert_eq!(of, count + 1);
        heard.fetch_add(1, Ordering::Relaxed);
    };
    let report = indexer::index(dir.path(), &mut catalogue, &progress, &go).expect("indexes");
    let seconds = start.elapsed().as_secs_f64();
    println!("{count} files indexed in {seconds:.2} s, {:.1} s for 10,000", seconds * 1e4 / count as f64);
    assert_eq!((report.adapters, report.read, report.removed), (count, count + 1, 0));
    assert_eq!(report.passed_over.len(), 1);
    assert_eq!(heard.load(Ordering::Relaxed), count + 1);
    if !cfg!(debug_assertions) {
        assert!(seconds * 1e4 / (count as f64) < 60.0);
    }
    // Nothing changed: nothing is read. One new, one gone: one is.
    let again = indexer::index(dir.path(), &mut catalogue, &|_, _| {}, &go).expect("indexes");
    assert_eq!((again.adapters, again.read), (count, 0));
    std::fs::rename(dir.path().join("adapter_0.safetensors"), dir.path().join("renamed.safetensors")).expect("renamed");
    let moved = indexer::index(dir.path(), &mut catalogue, &|_, _| {}, &go).expect("indexes");
    assert_eq!((moved.adapters, moved.read, moved.removed), (count, 1, 1));
}

#[test]
fn indexing_can_be_stopped_and_taken_up_again() {
    let dir = tempfile::tempdir().expect("a folder");
    for n in 0..40 {
        std::fs::write(dir.path().join(format!("a{n:02}.safetensors")), adapter_file(n)).expect("written");
    }
    let stop = AtomicBool::new(false);
    let mut catalogue = Catalogue::default();
    let stopped =
        indexer::index(dir.path(), &mut catalogue, &|done, _| stop.store(done >= 5, Ordering::Relaxed), &stop);
    assert!(matches!(stopped, Err(Error::Cancelled)));
    let kept = catalogue.files.len();
    assert!((5..40).contains(&kept), "{kept}");
    let rest = indexer::index(dir.path(), &mut catalogue, &|_, _| {}, &AtomicBool::new(false)).expect("indexes");
    assert_eq!((rest.adapters, rest.read), (40, 40 - kept));
    assert!(indexer::index(&dir.path().join("none"), &mut catalogue, &|_, _| {}, &stop).is_err());
}

#[test]
fn keys_are_those_of_the_tensors_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let bytes = adapter_file(3);
    std::fs::write(dir.path().join("a.safetensors"), &bytes).expect("written");
    // The same tensors under other metadata.
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let at = text.find("adapter_3").expect("is there");
    let mut other = bytes.clone();
    other[at..at + 9].copy_from_slice(b"renamed_3");
    std::fs::write(dir.path().join("b.safetensors"), &other).expect("written");
    let mut catalogue = Catalogue::default();
    indexer::index(dir.path(), &mut catalogue, &|_, _| {}, &AtomicBool::new(false)).expect("indexes");
    let keys: Vec<_> = catalogue.files.values().map(|r| r.key.clone()).collect();
    assert!(keys[0].is_some() && keys[0] == keys[1], "{keys:?}");
    assert_eq!(catalogue.files["b.safetensors"].card.as_ref().map(|c| c.title.as_str()), Some("renamed 3"));
}
