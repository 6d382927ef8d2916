//! Small things that panels are made of.

mod blocks;
mod controls;
mod icons;
mod menu;
mod seed;

pub use blocks::block_curve;
pub use controls::{
    Reach, big_button, caption, chip, count_row, edge_tab, focus_mark, heading, help_label, is_strip_drag, knob_row,
    number_row, strip_asked,
};
pub use icons::{Icon, icon_button};
pub use menu::menu_of;
pub use seed::seed_value;
