//! `admix bench`: this machine's figures, each beside the device's own limit.

use admix_engine::bench::{self, Bench, Figure, Options};
use serde_json::Value;

use super::fault::Fault;
use super::progress::Bar;
use super::{output, recipe};

/// Arguments of `admix bench`.
#[derive(clap::Args)]
pub struct BenchArgs {
    /// Smaller sizes and fewer samples
    #[arg(long)]
    quick: bool,
}

/// Another program's figures on a software adapter's kind of machine: torch 2.15 on two threads of a two-core machine, f32, quiet. Shown beside ours
/// only where the sizes are the same, as an order of magnitude: it was not measured on this machine.
const TORCH: [(&str, f64); 4] =
    [("matmul", 200.0), ("conv3x3", 385.0), ("attention", 168.0), ("group_norm_silu", 90.0)];

/// Measures and reports.
pub fn run(args: &BenchArgs, json: bool) -> Result<(), Fault> {
    let mut session = recipe::open_session(false)?;
    session.keeps_inputs = true;
    let mut bar = Bar::new();
    let options = Options { quick: args.quick };
    let measured =
        pollster::block_on(bench::run(&mut session, options, &mut |what| bar.say(&format!("measuring {what}"))));
    drop(bar);
    let measured = measured?;
    if json {
        output::print_json(&serde_json::to_value(&measured).unwrap_or(Value::Null));
    } else {
        let software = session.gpu().tier == admix_engine::tensor::Tier::Cpu;
        output::print(&table(&measured, software && !args.quick));
    }
    Ok(())
}

fn table(bench: &Bench, peers: bool) -> String {
    let mut lines = vec![
        bench.device.clone(),
        format!(
            "limits: {:.1} GFLOP/s (multiply-adds in registers), {:.1} GB/s (copying by a shader)",
            bench.limits.gflops, bench.limits.gbps
        ),
        String::new(),
    ];
    let peer_head = if peers { "  torch*" } else { "" };
    lines.push(format!("{:<20} {:>9} {:<8} {:>8} {:>6}{peer_head}  what", "", "value", "unit", "limit", "ratio"));
    for f in &bench.figures {
        lines.push(line(f, peers));
    }
    if peers {
        lines.push(String::new());
        lines.push("* torch 2.15 on the CPU, two threads, measured on another two-core machine".into());
    }
    lines.extend(bench.notes.iter().map(|n| format!("note: {n}")));
    lines.join("\n")
}

fn line(f: &Figure, peers: bool) -> String {
    let show = |v: Option<f64>, digits: usize| v.map_or_else(|| "-".into(), |v| format!("{v:.digits$}"));
    let peer = match TORCH.iter().find(|(name, _)| *name == f.name) {
        _ if !peers => String::new(),
        Some((_, value)) => format!("{value:>8.0}"),
        None => format!("{:>8}", "-"),
    };
    let mut what = f.what.clone();
    if let Some(ms) = f.ms {
        what.push_str(&format!(", {ms:.2} ms"));
    }
    if let Some(dispatches) = f.dispatches {
        what.push_str(&format!(", {dispatches} kernel calls"));
    }
    if let Some(share) = f.of_matmul {
        what.push_str(&format!(", {:.0} % of matmul", share * 100.0));
    }
    format!(
        "{:<20} {:>9.2} {:<8} {:>8} {:>6}{peer}  {what}",
        f.name,
        f.value,
        f.unit,
        show(f.limit, 2),
        show(f.ratio, 2)
    )
}
