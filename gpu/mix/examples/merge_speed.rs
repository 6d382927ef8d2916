//! Prints how fast merges are on this device: `cargo run --release -p admix-mix --example merge_speed [elements]`.

use admix_mix::{bench, methods};
use admix_tensor::{DeviceOptions, Gpu};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let elements = std::env::args().nth(1).map_or(Ok(8 << 20), |a| a.parse())?;
    let only = std::env::args().nth(2);
    let gpu = pollster::block_on(Gpu::open(&DeviceOptions::default()))?;
    let copy = pollster::block_on(bench::copy_speed(&gpu, elements, 5))?;
    println!("{}: copy by shader {:.2} GB/s, by transfer {:.2} GB/s", gpu.name(), copy.shader, copy.transfer);
    let all = methods().iter().map(|m| m.name());
    let names: Vec<&str> = all.filter(|n| only.as_ref().is_none_or(|o| o.split(',').any(|w| w == *n))).collect();
    for f in pollster::block_on(bench::merges(&gpu, &names, elements, 4))? {
        println!(
            "{:24} {:8.2} ms {:6.2} GB/s {:5.1} % of shader copy {:5.1} % of transfer, {} dispatches",
            f.name,
            f.seconds * 1e3,
            f.gbps(),
            100.0 * f.gbps() / copy.shader,
            100.0 * f.gbps() / copy.transfer,
            f.dispatches
        );
    }
    Ok(())
}
