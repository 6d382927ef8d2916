//! What lies in dist/: the page with its links resolved, and the service worker that knows every file of this build.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::process::root;

/// Files under this folder are not what the page is made of: they are kept for offline use in the background.
const ASSETS: &str = "assets/";
/// Of those, what is kept only once it was used: a first visit should not fetch every checkpoint.
const ON_DEMAND: &str = "assets/finetunes/";

/// The command: `stamp [DIR]`. Trunk names the folder in an environment variable.
pub fn run(arguments: &[String]) -> Result<()> {
    let dir = arguments.first().map(PathBuf::from).or_else(|| std::env::var_os("TRUNK_STAGING_DIR").map(PathBuf::from));
    let version = stamp(&dir.context("stamp wants the folder of a built page")?)?;
    println!("stamped version {version}");
    Ok(())
}

/// Writes index.html and all it names into `out`, with the program from `bound`, where wasm-bindgen left it.
/// Returns the name of the wasm file.
pub fn page(bound: &Path, target_name: &str, out: &Path) -> Result<String> {
    let (script, wasm) = (format!("{target_name}.js"), format!("{target_name}_bg.wasm"));
    let hash = hash_files(&[bound.join(&script), bound.join(&wasm)])?;
    let (hashed_script, hashed_wasm) = (format!("{target_name}-{hash}.js"), format!("{target_name}-{hash}_bg.wasm"));
    copy(&bound.join(script), &out.join(&hashed_script))?;
    copy(&bound.join(wasm), &out.join(&hashed_wasm))?;
    let snippets = bound.join("snippets");
    if snippets.is_dir() {
        copy(&snippets, &out.join("snippets"))?;
    }

    let web = root().join("web");
    let source = read(&web.join("index.html"))?;
    let mut html = String::with_capacity(source.len());
    let mut rest = source.as_str();
    while let Some((before, link, after)) = next_link(rest)? {
        html.push_str(before);
        match link.attribute("rel") {
            Some("rust") => {
                html.push_str(&format!(
                    r#"<script type="module">import {{ start }} from "./boot.js"; start("./{hashed_script}", "./{hashed_wasm}");</script>"#
                ));
            }
            Some("copy-file" | "copy-dir") => {
                let from = web.join(link.attribute("href").context("a copy link in index.html has no href")?);
                let name = from.file_name().context("a copy link in index.html names no file")?;
                let to = match link.attribute("data-target-path") {
                    // As trunk does: a folder takes this path itself, a file goes into it.
                    Some(path) if from.is_dir() => out.join(path),
                    Some(path) => out.join(path).join(name),
                    None => out.join(name),
                };
                copy(&from, &to)?;
            }
            other => bail!("index.html marks a link of kind {other:?} with data-trunk, which only trunk understands"),
        }
        rest = after;
    }
    html.push_str(rest);
    ensure!(html.contains(&hashed_script), "index.html has no link with rel=\"rust\"");
    write(&out.join("index.html"), &html)?;
    Ok(hashed_wasm)
}

/// Writes the build's version and its files into the service worker of a finished page. Returns the version.
pub fn stamp(dir: &Path) -> Result<String> {
    let worker = dir.join("sw.js");
    let source = read(&worker)?;
    let files: Vec<String> = files_under(dir)?.into_iter().filter(|file| file != "sw.js").collect();
    let paths: Vec<PathBuf> = files.iter().map(|file| dir.join(file)).chain([worker.clone()]).collect();
    let version = hash_files(&paths)?;
    let (mut assets, shell): (Vec<&String>, Vec<&String>) = files.iter().partition(|file| file.starts_with(ASSETS));
    assets.retain(|file| !file.starts_with(ON_DEMAND));
    // The page is asked for by the folder's name.
    let shell: Vec<String> =
        shell.into_iter().map(|file| if file == "index.html" { "./".into() } else { file.clone() }).collect();

    let mut stamped = source;
    for (constant, value) in [
        ("const VERSION = \"unstamped\";", format!("const VERSION = {version:?};")),
        ("const SHELL = [];", format!("const SHELL = {shell:?};")),
        ("const ASSETS = [];", format!("const ASSETS = {assets:?};")),
    ] {
        ensure!(stamped.matches(constant).count() == 1, "{} does not say `{constant}` once", worker.display());
        stamped = stamped.replace(constant, &value);
    }
    write(&worker, &stamped)?;
    Ok(version)
}

/// A link for the build: `<link data-trunk ...>`.
struct Link<'a>(&'a str);

impl<'a> Link<'a> {
    fn attribute(&self, name: &str) -> Option<&'a str> {
        let start = self.0.find(&format!(" {name}=\""))? + name.len() + 3;
        self.0.get(start..)?.split('"').next()
    }
}

/// The text before the next link for the build, the link, and the text after it.
fn next_link(html: &str) -> Result<Option<(&str, Link<'_>, &str)>> {
    let Some((before, rest)) = html.split_once("<link data-trunk") else { return Ok(None) };
    let (link, after) = rest.split_once('>').context("a link in index.html is not closed")?;
    Ok(Some((before, Link(link), after)))
}

/// Every file below a folder, as paths with `/` from there, sorted.
fn files_under(dir: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let path = dir.join(&folder);
        for entry in fs::read_dir(&path).with_context(|| format!("cannot list {}", path.display()))? {
            let entry = entry.with_context(|| format!("cannot list {}", path.display()))?;
            let name = format!("{folder}{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() { folders.push(format!("{name}/")) } else { found.push(name) }
        }
    }
    found.sort();
    Ok(found)
}

/// FNV-1a, 64 bits, over the contents of files: it tells builds apart and keeps no one out.
fn hash_files(paths: &[PathBuf]) -> Result<String> {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for path in paths {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        for byte in (bytes.len() as u64).to_le_bytes().into_iter().chain(bytes) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
    Ok(format!("{hash:016x}"))
}

/// Copies a file or a whole folder.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() {
        return files_under(from)?.iter().try_for_each(|file| copy(&from.join(file), &to.join(file)));
    }
    let folder = to.parent().context("a file has a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of its own for one test, gone afterwards.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("admix-xtask-{name}-{}", std::process::id()));
            fs::create_dir_all(&dir).expect("the temporary folder can be written");
            Self(dir)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    fn built(scratch: &Scratch, wasm: &[u8]) -> (PathBuf, String, String) {
        let (bound, out) = (scratch.0.join("bound"), scratch.0.join("out"));
        fs::create_dir_all(bound.join("snippets/a")).expect("folder");
        fs::create_dir_all(&out).expect("folder");
        fs::write(bound.join("app.js"), "export default 1;").expect("file");
        fs::write(bound.join("app_bg.wasm"), wasm).expect("file");
        fs::write(bound.join("snippets/a/b.js"), "1").expect("file");
        let name = page(&bound, "app", &out).expect("the page of this repository can be built");
        let version = stamp(&out).expect("its service worker can be stamped");
        (out, name, version)
    }

    #[test]
    fn page_names_hashed_files_that_exist() {
        let scratch = Scratch::new("page");
        let (out, wasm, version) = built(&scratch, b"\0asm1");
        let html = read(&out.join("index.html")).expect("index.html");
        assert!(!html.contains("data-trunk rel"), "no link is left for the build");
        assert!(html.contains(&format!("./{wasm}")) && out.join(&wasm).is_file());
        let worker = read(&out.join("sw.js")).expect("sw.js");
        assert!(worker.contains(&version) && worker.contains(&wasm) && worker.contains("snippets/a/b.js"));
        assert!(!worker.contains("unstamped") && worker.contains("\"./\""));
        for (name, text) in [("icon.svg", &html), ("manifest.webmanifest", &html), ("boot.js", &html)] {
            assert!(text.contains(name) && out.join(name).is_file(), "{name}");
        }
    }

    #[test]
    fn another_program_is_another_version() {
        let (one, two) = (Scratch::new("one"), Scratch::new("two"));
        let (first, second) = (built(&one, b"\0asm1"), built(&two, b"\0asm2"));
        assert_ne!(first.1, second.1);
        assert_ne!(first.2, second.2);
    }

    #[test]
    fn a_worker_is_stamped_once() {
        let scratch = Scratch::new("twice");
        let (out, ..) = built(&scratch, b"\0asm1");
        assert!(stamp(&out).is_err());
    }
}
