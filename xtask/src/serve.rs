//! A small web server for dist/ on this machine alone: enough to try the page, ranges included.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};

/// Serves a folder until the program is stopped.
pub fn serve(dir: &Path, port: u16) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).with_context(|| format!("cannot listen on port {port}"))?;
    println!("http://127.0.0.1:{port} (stop it with Ctrl-C)");
    for stream in listener.incoming() {
        let dir = dir.to_path_buf();
        std::thread::spawn(move || {
            // A browser that goes away in the middle is not worth a message.
            if let Ok(stream) = stream {
                let _ = answer(&dir, stream);
            }
        });
    }
    Ok(())
}

/// Answers the requests of one connection, one after another.
fn answer(dir: &Path, stream: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    while let Some(request) = Request::read(&mut lines)? {
        if !matches!(request.method.as_str(), "GET" | "HEAD") {
            write!(stream, "HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        }
        let opened = file_for(dir, &request.path).and_then(|path| Some((File::open(&path).ok()?, path)));
        let Some((mut file, path)) = opened else {
            let body = "not found\n";
            write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
            continue;
        };
        let metadata = file.metadata()?;
        let changed = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let tag = format!("\"{changed:x}-{:x}\"", metadata.len());
        let common = format!(
            "ETag: {tag}\r\nCache-Control: no-cache\r\nAccept-Ranges: bytes\r\nContent-Type: {}\r\n",
            kind(&path)
        );
        if request.known_tag.as_deref() == Some(&tag) {
            write!(stream, "HTTP/1.1 304 Not Modified\r\n{common}\r\n")?;
            continue;
        }
        let whole = 0..metadata.len();
        let part = match request.range.as_deref().map(|range| parse_range(range, metadata.len())) {
            None => {
                write!(stream, "HTTP/1.1 200 OK\r\n{common}Content-Length: {}\r\n\r\n", whole.end)?;
                whole
            }
            Some(Some(part)) => {
                let (first, last, length) = (part.start, part.end - 1, part.end - part.start);
                let total = whole.end;
                write!(
                    stream,
                    "HTTP/1.1 206 Partial Content\r\n{common}Content-Range: bytes {first}-{last}/{total}\r\nContent-Length: {length}\r\n\r\n"
                )?;
                part
            }
            Some(None) => {
                let total = whole.end;
                write!(
                    stream,
                    "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */{total}\r\nContent-Length: 0\r\n\r\n"
                )?;
                continue;
            }
        };
        if request.method == "GET" {
            file.seek(SeekFrom::Start(part.start))?;
            std::io::copy(&mut file.take(part.end - part.start), &mut stream)?;
        }
    }
    Ok(())
}

struct Request {
    method: String,
    path: String,
    range: Option<String>,
    known_tag: Option<String>,
}

impl Request {
    /// The next request's head; none at the end of the connection.
    fn read(lines: &mut impl BufRead) -> std::io::Result<Option<Self>> {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace().map(str::to_owned);
        let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(None) };
        let mut request = Self { method, path, range: None, known_tag: None };
        loop {
            line.clear();
            if lines.read_line(&mut line)? == 0 || line.trim().is_empty() {
                return Ok(Some(request));
            }
            if let Some((name, value)) = line.split_once(':') {
                match name.to_ascii_lowercase().as_str() {
                    "range" => request.range = Some(value.trim().to_owned()),
                    "if-none-match" => request.known_tag = Some(value.trim().to_owned()),
                    _ => {}
                }
            }
        }
    }
}

/// The file a request means, if it lies below the folder.
fn file_for(dir: &Path, path: &str) -> Option<PathBuf> {
    let path = path.split(['?', '#']).next()?.trim_start_matches('/');
    // Names in dist/ need no percent signs; a path with other than plain parts would lead out of the folder.
    let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    let file = dir.join(if path.is_empty() { "index.html" } else { path });
    (plain && file.is_file()).then_some(file)
}

/// `bytes=a-b`, `bytes=a-` or `bytes=-n` within a length.
fn parse_range(range: &str, length: u64) -> Option<Range<u64>> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let part = match (first, last) {
        ("", last) => length.saturating_sub(last.parse().ok()?)..length,
        (first, "") => first.parse().ok()?..length,
        (first, last) => first.parse().ok()?..last.parse::<u64>().ok()?.saturating_add(1).min(length),
    };
    (part.start < part.end).then_some(part)
}

fn kind(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("wasm") => "application/wasm",
        Some("json") => "application/json",
        Some("webmanifest") => "application/manifest+json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_stay_within_the_file() {
        assert_eq!(parse_range("bytes=0-9", 100), Some(0..10));
        assert_eq!(parse_range("bytes=90-200", 100), Some(90..100));
        assert_eq!(parse_range("bytes=90-", 100), Some(90..100));
        assert_eq!(parse_range("bytes=-5", 100), Some(95..100));
        assert_eq!(parse_range("bytes=100-", 100), None);
        assert_eq!(parse_range("bytes=9-3", 100), None);
        assert_eq!(parse_range("bytes=0-18446744073709551615", 100), Some(0..100));
        assert_eq!(parse_range("lines=0-1", 100), None);
    }

    #[test]
    fn requests_stay_within_the_folder() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert_eq!(file_for(dir, "/Cargo.toml?v=1"), Some(dir.join("Cargo.toml")));
        assert_eq!(file_for(dir, "/../Cargo.toml"), None);
        assert_eq!(file_for(dir, "/src"), None);
    }
}
