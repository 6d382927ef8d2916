//! One walk through the finished program, as a person would take it: list, render, mix, inspect, and a mistake.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::process::{capture, command, release_binary, target_dir};

/// Drives the release build of `admix` in a folder of its own.
pub fn run() -> Result<()> {
    let folder = target_dir()?.join("end-to-end");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let admix = |arguments: &[&str]| {
        eprintln!("$ admix {}", arguments.join(" "));
        capture(command(release_binary("admix")?).current_dir(&folder).args(arguments)).map(|text| squeezed(&text))
    };

    let models = names(&admix(&["list", "models", "--json"])?);
    let adapters = names(&admix(&["list", "adapters", "--json"])?);
    let adapter = reference(adapters.first().context("no built-in adapter is listed")?);
    // Without a second model the recipe is an adapter alone; how many models have to be there is for other tests to say.
    let merge = models.iter().find(|name| name.as_str() != "mini").map_or(String::new(), |tune| {
        let tune = reference(tune);
        format!(r#""merge": [{{"method": "weighted_sum", "models": [{{"ref": "{tune}", "weight": 0.5}}]}}],"#)
    });

    // A picture, twice: the same seed gives the same bytes.
    let render =
        ["render", "--prompt", "a red apple", "--steps", "4", "--seed", "7", "--json", "--adapter", &adapter, "--out"];
    let said = admix(&[&render[..], &["one.png"]].concat())?;
    ensure!(said.contains("\"seed\":7"), "render --json names no seed: {said}");
    admix(&[&render[..], &["two.png"]].concat())?;
    let (one, two) = (read(&folder.join("one.png"))?, read(&folder.join("two.png"))?);
    ensure!(one.starts_with(b"\x89PNG\r\n\x1a\n"), "one.png is no PNG");
    ensure!(one == two, "the same command made two different pictures");

    // A mix as a recipe: rendered, then written as a checkpoint, then that rendered.
    let recipe = format!(
        r#"{{"admix": 1, "base": {{"ref": "builtin"}}, {merge} "adapters": [{{"ref": "{adapter}", "weight": 0.5}}]}}"#
    );
    fs::write(folder.join("recipe.json"), recipe).context("cannot write recipe.json")?;
    let render = ["render", "--prompt", "a red apple", "--steps", "4", "--seed", "7", "--json", "--out"];
    admix(&[&render[..], &["live.png", "--recipe", "recipe.json"]].concat())?;
    ensure!(read(&folder.join("live.png"))? != one, "the recipe changed nothing");
    admix(&["mix", "recipe.json", "--out", "mixed.safetensors", "--json"])?;
    let said = admix(&["inspect", "mixed.safetensors", "--json"])?;
    ensure!(said.contains("\"kind\":\"checkpoint\""), "inspect does not see a checkpoint: {said}");
    admix(&[&render[..], &["mixed.png", "--model", "mixed.safetensors"]].concat())?;

    // A mistake: one line, exit 2, no file.
    let output = command(release_binary("admix")?)
        .current_dir(&folder)
        .args(["render", "--prompt", "x", "--sampler", "no-such-sampler", "--out", "wrong.png"])
        .output()
        .context("admix could not be started")?;
    let message = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(2), "an unknown sampler ends with {} instead of 2: {message}", output.status);
    ensure!(message.contains("no-such-sampler"), "the message does not name the unknown sampler: {message}");
    if folder.join("wrong.png").exists() {
        bail!("a failed render left wrong.png");
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// JSON without the spaces that are free to be there; names and numbers have none of their own.
fn squeezed(json: &str) -> String {
    json.split_whitespace().collect()
}

/// The `name` of every item of `admix list ... --json`.
fn names(list: &str) -> Vec<String> {
    list.split("{\"name\":\"").skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
}

fn reference(name: &str) -> String {
    if name.starts_with("builtin") { name.to_owned() } else { format!("builtin:{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_found_by_name() {
        let list =
            squeezed("{ \"items\": [ {\"name\": \"mini\", \"label\": \"Mini\"}, {\"name\": \"builtin:ink\"} ] }");
        let names = names(&list);
        assert_eq!(names, ["mini", "builtin:ink"]);
        assert_eq!(reference(&names[0]), "builtin:mini");
        assert_eq!(reference(&names[1]), "builtin:ink");
    }
}
