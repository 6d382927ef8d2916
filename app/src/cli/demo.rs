//! `admix demo`: a contact sheet of the built-in model, its adapters and a merge.

use std::path::PathBuf;

use admix_engine::demo::{self, Plan};
use admix_engine::{Control, Given, Picture};
use serde_json::json;

use super::fault::Fault;
use super::progress::Bar;
use super::{cancel, output, recipe};

/// Arguments of `admix demo`.
#[derive(clap::Args)]
pub struct DemoArgs {
    /// The folder for the pictures; it is created where it does not exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// White pixels between the pictures of the sheet.
const GAP: usize = 8;

/// Renders every picture of the plan, then the sheet.
pub fn run(args: &DemoArgs, json: bool) -> Result<(), Fault> {
    let cancel = cancel::on_ctrl_c();
    let shown = args.out.display();
    if args.out.is_file() {
        return Err(Fault::input(format!("--out: {shown} is a file; name a folder")));
    }
    let plan = demo::plan()?;
    plan.skipped.iter().for_each(|line| eprintln!("note: {line}"));
    let mut session = recipe::open_session(false)?;
    std::fs::create_dir_all(&args.out).map_err(|e| Fault::other(format!("cannot create {shown}: {e}")))?;

    let total: usize = plan.rows.iter().map(|r| r.cells.len()).sum();
    let mut bar = Bar::new();
    let (mut pictures, mut paths) = (Vec::new(), Vec::new());
    for cell in plan.rows.iter().flat_map(|r| &r.cells) {
        bar.show("pictures", pictures.len(), total);
        let mut control = Control { cancel: cancel.clone(), ..Control::default() };
        let rendered = pollster::block_on(session.render(&cell.recipe, &Given::default(), &mut control))?;
        let path = args.out.join(format!("{}.png", cell.name));
        save(&path, &rendered.png(0)?)?;
        pictures.extend(rendered.pictures);
        paths.push(path);
    }
    drop(bar);
    let sheet = args.out.join("sheet.png");
    save(&sheet, &Picture::sheet(&pictures, demo::COLUMNS, GAP).to_png(&[])?)?;
    let page = args.out.join("index.html");
    save(&page, html(&plan).as_bytes())?;
    if json {
        let list: Vec<_> = paths.iter().map(|p| p.display().to_string()).collect();
        output::print_json(&json!({
            "out": shown.to_string(), "sheet": sheet.display().to_string(), "page": page.display().to_string(),
            "pictures": list, "rows": plan.rows.iter().map(|r| &r.title).collect::<Vec<_>>(), "skipped": plan.skipped,
            "device": session.gpu().name()
        }));
    } else {
        for (i, row) in plan.rows.iter().enumerate() {
            eprintln!("row {}: {}", i + 1, row.title);
        }
        output::print(&sheet.display().to_string());
        eprintln!("{total} pictures; with captions in {}", page.display());
    }
    Ok(())
}

fn save(path: &std::path::Path, bytes: &[u8]) -> Result<(), Fault> {
    let mut one = output::Batch::default();
    one.add(path, bytes)?;
    one.finish()
}

/// A page that shows the pictures with their captions.
fn html(plan: &Plan) -> String {
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    let mut out = String::from(
        "<!doctype html><meta charset=\"utf-8\"><title>Admix demo</title>\n\
         <style>body{font:15px sans-serif;margin:2em;max-width:60em}figure{display:inline-block;margin:0 1em 1em 0;width:160px}\
         img{width:160px;image-rendering:auto}figcaption{font-size:13px;color:#444}</style>\n<h1>Admix</h1>\n",
    );
    for row in &plan.rows {
        out.push_str(&format!("<h2>{}</h2>\n", escape(&row.title)));
        for cell in &row.cells {
            let caption = escape(&cell.caption);
            out.push_str(&format!(
                "<figure><img src=\"{}.png\" alt=\"{caption}\"><figcaption>{caption}</figcaption></figure>\n",
                escape(&cell.name)
            ));
        }
    }
    out
}
