//! numpy's and torch's ways to make sequences, where the last digit matters.

/// numpy.linspace(start, stop, n) in f64: the last entry is exactly `stop`; one point is `start`.
pub fn linspace(start: f64, stop: f64, n: usize) -> Vec<f64> {
    let step = if n > 1 { (stop - start) / (n - 1) as f64 } else { 0.0 };
    (0..n).map(|i| if n > 1 && i == n - 1 { stop } else { start + i as f64 * step }).collect()
}

/// torch.linspace(start, stop, n) in f32: from both ends towards the middle.
pub fn linspace_f32(start: f32, stop: f32, n: usize) -> Vec<f32> {
    if n < 2 {
        return vec![start; n];
    }
    let step = (stop - start) / (n - 1) as f32;
    (0..n).map(|i| if i < n / 2 { start + step * i as f32 } else { stop - step * (n - 1 - i) as f32 }).collect()
}

/// numpy.interp of `table` over 0, 1, ...: linear, clamped at both ends.
pub fn interp(table: &[f64], at: f64) -> f64 {
    let Some(last) = table.len().checked_sub(1) else { return 0.0 };
    let at = at.clamp(0.0, last as f64);
    let low = (at.floor() as usize).min(last);
    let high = (low + 1).min(last);
    table[low] + (table[high] - table[low]) * (at - low as f64)
}
