//! burn's kernels and ours, which share nothing, find the numbers of plain loops on the host, at awkward sizes and on both kernel tiers.

use admix_peer::Peers;
use admix_peer::work::Work;
use admix_tensor::Tier;

/// f32 sums of up to 1,000 products in different orders: 2^-24 times a few tens.
const TOLERANCE: f64 = 3e-6;

#[test]
fn both_find_what_the_host_finds() {
    let sizes = [
        Work::Linear { m: 33, k: 77, n: 50 },
        Work::Linear { m: 130, k: 320, n: 64 },
        Work::Conv { n: 2, edge: 13, c: 20, o: 12 },
        Work::Conv { n: 1, edge: 8, c: 64, o: 32 },
        Work::Attention { n: 2, heads: 3, tokens: 77, d: 40 },
        Work::Attention { n: 1, heads: 2, tokens: 64, d: 16 },
    ];
    let opened = Peers::open().expect("the tests need a Vulkan driver (see CONTRIBUTING.md)");
    for tier in [Tier::Cpu, Tier::Gpu] {
        let peers = opened.with_tier(tier);
        for work in sizes {
            let found = peers.check(work).unwrap_or_else(|e| panic!("{}: {e}", work.name()));
            println!("{} {tier:?}: {:.1e}, {:.1e}", work.name(), found.ours, found.theirs);
            assert!(found.ours < TOLERANCE && found.theirs < TOLERANCE, "{} {tier:?}: {found:?}", work.name());
        }
    }
}
