//! Carries a plan out on the host, in f64: the twin of the engine's device loop, for tests and small experiments.

use crate::plan::{Op, Plan};
use crate::{Adaptive, Reg, Result};

/// Runs `plan` and returns the final latent.
///
/// `init` is the clean latent to start from (empty: none). `noise(i)` gives unit Gaussian draw number i, of the latent's length.
/// `network(input, timestep)` is the network itself: its input is already scaled, its output is noise, velocity or sample, as the plan's
/// prediction type says.
pub fn run(
    plan: &Plan,
    init: &[f64],
    mut noise: impl FnMut(usize) -> Vec<f64>,
    mut network: impl FnMut(&[f64], f64) -> Vec<f64>,
) -> Vec<f64> {
    let mut registers = registers(plan, init, &mut noise);
    steps(&plan.ops, &mut registers, &mut noise, &mut network);
    registers.swap_remove(plan.result.0)
}

/// The same where the steps depend on what came before: `plan` says how the run begins, `steps` how it goes on.
///
/// # Errors
/// Steps that lead nowhere.
pub fn run_adaptive(
    plan: &Plan,
    adaptive: &mut dyn Adaptive,
    init: &[f64],
    mut noise: impl FnMut(usize) -> Vec<f64>,
    mut network: impl FnMut(&[f64], f64) -> Vec<f64>,
) -> Result<Vec<f64>> {
    let mut registers = registers(plan, init, &mut noise);
    let mut error = None;
    while let Some(ops) = adaptive.next(error)? {
        error = steps(&ops, &mut registers, &mut noise, &mut network);
    }
    Ok(registers.swap_remove(plan.result.0))
}

/// The latents before the first operation.
pub fn registers(plan: &Plan, init: &[f64], mut noise: impl FnMut(usize) -> Vec<f64>) -> Vec<Vec<f64>> {
    let first = noise(0);
    let at = |i: usize| plan.latent_scale * init.get(i).copied().unwrap_or(0.0);
    let x: Vec<f64> = first.iter().enumerate().map(|(i, n)| n * plan.init_scale + at(i)).collect();
    let mut registers = vec![vec![0.0; x.len()]; plan.registers.max(1)];
    registers[0] = x;
    registers
}

/// Carries operations out. Gives the last error that was measured.
pub fn steps(
    ops: &[Op],
    registers: &mut [Vec<f64>],
    noise: &mut dyn FnMut(usize) -> Vec<f64>,
    network: &mut dyn FnMut(&[f64], f64) -> Vec<f64>,
) -> Option<f64> {
    let len = registers[0].len();
    let mut error = None;
    for op in ops {
        match op {
            Op::Denoise { x, scaling, timestep, out, uncond_out, .. } => {
                let x = registers[x.0].clone();
                let input: Vec<f64> = x.iter().map(|v| v * scaling.input).collect();
                let y = network(&input, *timestep);
                let denoised: Vec<f64> = x.iter().zip(&y).map(|(x, y)| scaling.skip * x + scaling.output * y).collect();
                if let Some(u) = uncond_out {
                    registers[u.0] = denoised.clone();
                }
                registers[out.0] = denoised;
            }
            Op::Combine { dst, terms } => {
                let sum = (0..len).map(|i| terms.iter().map(|(r, c)| c * registers[r.0][i]).sum()).collect();
                registers[dst.0] = sum;
            }
            Op::Noise { dst, index } => registers[dst.0] = noise(*index),
            Op::Snap { x, bits } => {
                let unit = 2f64.powi(*bits);
                registers[x.0].iter_mut().for_each(|v| *v = (*v * unit).round_ties_even() / unit);
            }
            Op::Error { low, high, before, atol, rtol } => {
                let at = |r: &Reg, i: usize| registers[r.0][i];
                let part = |i: usize| {
                    let scale = atol.max(rtol * at(low, i).abs().max(at(before, i).abs()));
                    ((at(low, i) - at(high, i)) / scale).powi(2)
                };
                error = Some(((0..len).map(part).sum::<f64>() / len as f64).sqrt());
            }
            Op::StepEnd { .. } => {}
        }
    }
    error
}
