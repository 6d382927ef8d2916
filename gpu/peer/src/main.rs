//! `cargo run --release -p admix-peer`: Admix's kernels beside burn-wgpu's, in one run, on one device.

use admix_peer::work::Work;
use admix_peer::{PeerError, Peers};

/// The sizes of `admix bench`, and two of a U-Net's smaller levels.
const SIZES: &[Work] = &[
    Work::Linear { m: 1024, k: 1024, n: 1024 },
    Work::Linear { m: 2048, k: 320, n: 2560 },
    Work::Conv { n: 2, edge: 64, c: 320, o: 320 },
    Work::Conv { n: 2, edge: 16, c: 640, o: 640 },
    Work::Attention { n: 2, heads: 8, tokens: 1024, d: 40 },
    Work::Attention { n: 2, heads: 8, tokens: 256, d: 80 },
];

fn main() -> Result<(), PeerError> {
    let peers = Peers::open()?;
    println!("{}, f32, median of 5\n", peers.name());
    println!("{:<44} {:>14} {:>14} {:>8} {:>10}", "", "Admix", "burn-wgpu", "times", "distance");
    for work in SIZES {
        let found = peers.compare(*work, 5)?;
        let rate = |seconds: f64| format!("{:.1} GFLOP/s", work.flop() / seconds / 1e9);
        println!(
            "{:<44} {:>14} {:>14} {:>7.2}x {:>10.1e}",
            work.name(),
            rate(found.ours),
            rate(found.theirs),
            found.theirs / found.ours,
            found.distance
        );
    }
    Ok(())
}
