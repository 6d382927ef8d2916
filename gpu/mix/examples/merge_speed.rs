//! Prints how fast merges are on this device: `cargo run --release -p admix-mix --example merge_speed [elements [methods]]`.
//! With `--tensors 320,102400,... methods`: seconds of each method over tensors of those sizes, as JSON (for tests/peers/mergekit_speed.py).
//! With `--profile method`: where the time of one large tensor goes.

use admix_mix::{bench, methods};
use admix_tensor::{DeviceOptions, Gpu};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, sizes, names] = arguments.as_slice()
        && flag == "--tensors"
    {
        let sizes: Vec<usize> = sizes.split(',').map(str::parse).collect::<Result<_, _>>()?;
        let names: Vec<&str> = names.split(',').collect();
        let gpu = pollster::block_on(Gpu::open(&DeviceOptions::default()))?;
        let all = pollster::block_on(bench::model(&gpu, &names, &sizes, 2))?;
        let rows: Vec<String> = all.iter().map(|(name, seconds)| format!("\"{name}\": {seconds}")).collect();
        println!("{{{}}}", rows.join(", "));
        return Ok(());
    }
    if let [flag, name] = arguments.as_slice()
        && flag == "--profile"
    {
        let gpu = pollster::block_on(Gpu::open(&DeviceOptions::default()))?;
        for (shader, calls, seconds) in bench::profile(&gpu, name, 16 << 20)? {
            println!("{shader:24} {calls:4} calls {:8.2} ms", seconds * 1e3);
        }
        return Ok(());
    }
    let elements = std::env::args().nth(1).map_or(Ok(8 << 20), |a| a.parse())?;
    let only = std::env::args().nth(2);
    let gpu = pollster::block_on(Gpu::open(&DeviceOptions::default()))?;
    let copy = pollster::block_on(bench::copy_speed(&gpu, elements, 5))?;
    println!("{}: copy by shader {:.2} GB/s, by transfer {:.2} GB/s", gpu.name(), copy.shader, copy.transfer);
    let all = methods().iter().filter(|m| !m.on_host()).map(|m| m.name());
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
