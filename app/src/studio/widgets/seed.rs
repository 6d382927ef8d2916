//! A seed to drag or to type, all 64 bits of it.

use std::cell::Cell;

use egui::{DragValue, Response, Ui};

/// Draws it. egui's numbers are floats, which hold 53 bits: what is typed is taken as it stands, and a drag moves by its way alone.
pub fn seed_value(ui: &mut Ui, seed: &mut u64) -> Response {
    let shown = seed.to_string();
    let typed = Cell::new(None);
    let mut set = |new: Option<f64>| {
        if let Some(new) = new {
            *seed = typed.take().unwrap_or_else(|| moved(*seed, new));
        }
        *seed as f64
    };
    let value = DragValue::from_get_set(&mut set)
        .speed(0.2)
        .range(0.0..=u64::MAX as f64)
        .custom_formatter(|_, _| shown.clone())
        .custom_parser(|text| {
            let value: u64 = text.trim().parse().ok()?;
            typed.set(Some(value));
            Some(value as f64)
        });
    ui.add(value)
}

/// The seed a drag comes to that ends at `new`.
fn moved(seed: u64, new: f64) -> u64 {
    let way = (new - seed as f64).round() as i128;
    (i128::from(seed) + way).clamp(0, i128::from(u64::MAX)) as u64
}

#[cfg(test)]
mod tests {
    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable as _;

    use super::*;

    #[test]
    fn no_bit_is_lost() {
        for seed in [0, 1 << 40, (1 << 53) + 1, u64::MAX] {
            assert_eq!(moved(seed, seed as f64), seed);
            let mut h = Harness::new_ui_state(|ui, seed| drop(seed_value(ui, seed).accessible_name("Seed")), seed);
            h.run_steps(3);
            assert_eq!(*h.state(), seed, "what is only shown stays");
            h.get_by_label("Seed").focus();
            h.run_steps(2);
            h.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::A);
            h.event(egui::Event::Text("18446744073709551557".into()));
            h.run_steps(2);
            h.key_press(egui::Key::Enter);
            h.run_steps(2);
            assert_eq!(*h.state(), 18_446_744_073_709_551_557);
        }
        assert_eq!((moved(10, 4.0), moved(3, -9.0)), (4, 0));
    }
}
