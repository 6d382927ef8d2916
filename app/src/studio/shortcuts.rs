//! Every action by name, with its key: what the palette lists and the keyboard does.

use egui::{Context, Key, KeyboardShortcut, Modifiers};

use super::Studio;
use super::canvas::Compare;
use super::study::Setting;
use crate::io::pick;

/// An action.
pub struct Command {
    /// What it does, for people.
    pub name: &'static str,
    /// Its keys, for people.
    pub keys: &'static str,
    /// Its keys; none: by name only, or the window's own.
    shortcut: Option<KeyboardShortcut>,
    /// Other keys that do the same.
    also: Option<KeyboardShortcut>,
    /// Does it.
    pub act: fn(&mut Studio),
}

impl Command {
    /// Its keys, by the names they have on this system's keyboards.
    pub fn shown_keys(&self, context: &Context) -> String {
        match &self.shortcut {
            Some(shortcut) => {
                let all = [Some(shortcut), self.also.as_ref()].into_iter().flatten();
                all.map(|s| context.format_shortcut(s)).collect::<Vec<_>>().join(", ")
            }
            None if context.os().is_mac() => self.keys.replace("Ctrl+", "Cmd+"),
            None => self.keys.into(),
        }
    }
}

/// A tooltip with the keys of the command of that name: "Undo (Ctrl+Z)".
pub fn with_keys(ui: &egui::Ui, text: &str, command: &str) -> String {
    let found = COMMANDS.iter().rev().find(|c| c.name == command);
    found.map_or_else(|| text.into(), |c| format!("{text} ({})", c.shown_keys(ui.ctx())))
}

const fn by_name(name: &'static str, act: fn(&mut Studio)) -> Command {
    Command { name, keys: "", shortcut: None, also: None, act }
}

const fn key(name: &'static str, keys: &'static str, modifiers: Modifiers, key: Key, act: fn(&mut Studio)) -> Command {
    Command { name, keys, shortcut: Some(KeyboardShortcut::new(modifiers, key)), also: None, act }
}

/// A letter that stands alone where no text is written, and with Ctrl in a window of its own: a browser loads the page anew at Ctrl+R, goes to
/// the address at Ctrl+L and keeps Ctrl+T to itself.
const fn letter(name: &'static str, keys: &'static str, letter: Key, act: fn(&mut Studio)) -> Command {
    let is_tab = cfg!(target_arch = "wasm32");
    let also = if is_tab { None } else { Some(KeyboardShortcut::new(COMMAND, letter)) };
    Command { also, ..key(name, keys, NONE, letter, act) }
}

const COMMAND: Modifiers = Modifiers::COMMAND;
const NONE: Modifiers = Modifiers::NONE;

/// All actions.
pub const COMMANDS: &[Command] = &[
    key("Make image", "Ctrl+Enter", COMMAND, Key::Enter, |s| s.make()),
    key("Cancel what runs", "Esc", NONE, Key::Escape, |s| s.step_back()),
    by_name("Cancel everything", |s| s.desk.cancel(true)),
    by_name("Cancel what waits", |s| s.desk.cancel_rest()),
    letter("Another seed", "R", Key::R, |s| s.roll_seed()),
    by_name("Four neighbours", |s| s.make_neighbours()),
    letter("Live on or off", "L", Key::L, |s| s.set_live(!s.prefs.live)),
    // Before undo: of two keys that fit, the one with more modifiers has to be asked first.
    key("Redo", "Ctrl+Shift+Z", Modifiers { shift: true, ..COMMAND }, Key::Z, |s| s.redo()),
    key("Redo", "Ctrl+Y", COMMAND, Key::Y, |s| s.redo()),
    key("Undo", "Ctrl+Z", COMMAND, Key::Z, |s| s.undo()),
    key("Compare with the picture before", "Ctrl+D", COMMAND, Key::D, |s| s.compare_with_last()),
    key("Compare: wipe", "M", NONE, Key::M, |s| s.compare_as(Compare::Wipe)),
    key("Compare: side by side", "C", NONE, Key::C, |s| s.compare_as(Compare::SideBySide)),
    key("Save picture as PNG", "Ctrl+S", COMMAND, Key::S, |s| s.save_shown()),
    by_name("Copy recipe", |s| s.copy_recipe()),
    by_name("Copy a link to the recipe", |s| s.copy_link()),
    by_name("Save recipe", |s| s.save_recipe()),
    key("Export the mix", "Ctrl+E", COMMAND, Key::E, |s| s.export()),
    key("Add files", "Ctrl+O", COMMAND, Key::O, |s| pick::open(&s.inbox)),
    #[cfg(not(target_arch = "wasm32"))]
    by_name("Add a model folder", |s| pick::open_folder(&s.inbox)),
    #[cfg(not(target_arch = "wasm32"))]
    by_name("Watch a folder for new files", |s| s.watch_folder()),
    letter("Strip along CFG", "T", Key::T, |s| s.start_strip(Setting::Cfg)),
    by_name("Strip along steps", |s| s.start_strip(Setting::Steps)),
    by_name("Strip along the samplers", |s| s.start_strip(Setting::Sampler)),
    key("Grid", "Ctrl+G", COMMAND, Key::G, |s| s.prefs.grid_open = !s.prefs.grid_open),
    key("Shelf", "Ctrl+1", COMMAND, Key::Num1, |s| s.prefs.shelf_open = !s.prefs.shelf_open),
    key("History", "Ctrl+2", COMMAND, Key::Num2, |s| s.prefs.history_open = !s.prefs.history_open),
    key("Mix", "Ctrl+3", COMMAND, Key::Num3, |s| s.prefs.mix_open = !s.prefs.mix_open),
    key("Guide", "Ctrl+4", COMMAND, Key::Num4, |s| s.prefs.guide_open = !s.prefs.guide_open),
    by_name("Panels back to their places", |s| s.tiles = super::tiles::default_tree()),
    key("Commands", "Ctrl+K", COMMAND, Key::K, |s| s.palette.toggle()),
    key("Keys and gestures", "F1", NONE, Key::F1, |s| s.keys_open = !s.keys_open),
    Command { keys: "Ctrl++", ..by_name("Larger", |s| egui::gui_zoom::zoom_in(&s.context)) },
    Command { keys: "Ctrl+-", ..by_name("Smaller", |s| egui::gui_zoom::zoom_out(&s.context)) },
    Command { keys: "Ctrl+0", ..by_name("Original size", |s| s.context.set_zoom_factor(1.0)) },
    by_name("Light or dark", |s| s.switch_theme()),
    by_name("Remove all adapters", |s| {
        s.document.recipe.adapters.clear();
        s.document.on.clear();
    }),
    by_name("Start afresh", |s| s.document = Default::default()),
    by_name("Open the graphics device anew", |s| s.reopen_device()),
    by_name("Frame times", |s| s.show_frames = !s.show_frames),
];

/// What the pointer does beside clicking what it points at: gesture, effect.
pub const POINTER: &[(&str, &str)] = &[
    ("Shift-drag a slider", "Strip of pictures along it; a click adopts one"),
    ("Right-click a control", "The same by menu"),
    ("Click a history picture", "Bring its settings back"),
    ("Alt- or Ctrl-click a history picture", "Compare it with the picture on show"),
    ("Drag on a comparison", "Move the wipe"),
    ("Drag across block bars", "Draw weights by block; double-click: all alike"),
    ("Drag a panel's heading", "Move the panel; its edges resize it"),
    ("Tab, then arrow keys", "On block bars: choose and turn; on a comparison: the wipe"),
    ("Shift+F10", "The menu of what has the keyboard"),
    ("B, Delete on a history picture", "Compare it; pressed twice, take it away"),
    ("Drop files anywhere", "Shelf, settings of a picture, or a recipe"),
    ("Ctrl+Up, Ctrl+Down", "In a prompt: more or less weight for the word"),
];

/// The keys that a browser would take for something of its own: their names, with Shift, with Ctrl.
#[cfg(any(target_arch = "wasm32", test))]
pub fn taken_from_browser() -> impl Iterator<Item = (&'static str, bool, bool)> {
    let all = COMMANDS.iter().flat_map(|c| [c.shortcut, c.also]).flatten();
    // Letters alone are text.
    let kept = all.filter(|s| s.modifiers.command || s.logical_key == Key::F1);
    kept.map(|s| (s.logical_key.name(), s.modifiers.shift, s.modifiers.command))
}

impl Studio {
    pub(super) fn shortcuts(&mut self, context: &Context) {
        let is_typing = context.egui_wants_keyboard_input();
        // A dialog over everything answers its own keys.
        let is_covered = self.palette.is_open() || self.keys_open;
        for command in COMMANDS {
            for shortcut in [command.shortcut, command.also].into_iter().flatten() {
                let is_bare = shortcut.modifiers == NONE;
                if is_bare && (is_typing || is_covered) {
                    continue;
                }
                if context.input_mut(|i| i.consume_shortcut(&shortcut)) {
                    (command.act)(self);
                }
            }
        }
    }

    /// Escape: the nearest thing that can be left. What lies over everything first, then a running render, the comparison, the strip.
    fn step_back(&mut self) {
        if self.suggest.editing.is_some() {
            self.close_card();
        } else if self.details.take().is_some() {
            // A file's card is closed.
        } else if self.desk.live().is_some_and(|l| l.purpose == crate::session::Purpose::Asked) {
            self.desk.cancel(false);
        } else if self.canvas.other.is_some() {
            self.canvas.other = None;
        } else if self.strip.is_some() {
            self.close_strip();
        } else {
            self.desk.cancel(true);
        }
    }

    /// Compares in this way; the same key again stops.
    fn compare_as(&mut self, mode: Compare) {
        if self.canvas.other.is_some() && self.canvas.mode != mode {
            self.canvas.mode = mode;
            return;
        }
        self.canvas.mode = mode;
        self.compare_with_last();
    }

    /// Light becomes dark and dark light.
    pub fn switch_theme(&mut self) {
        let is_dark = self.context.global_style().visuals.dark_mode;
        self.context.set_theme(if is_dark { egui::Theme::Light } else { egui::Theme::Dark });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tab_leaves_the_browser_its_own_keys() {
        // What a tab has: letters without the keys of a window.
        let in_tab = COMMANDS.iter().filter_map(|c| c.shortcut).filter(|s| s.modifiers.command && !s.modifiers.shift);
        for shortcut in in_tab {
            let key = shortcut.logical_key;
            let own = [Key::R, Key::L, Key::T, Key::N, Key::W, Key::C, Key::V, Key::X, Key::F, Key::Tab];
            assert!(!own.contains(&key), "{}", key.name());
        }
        assert!(taken_from_browser().any(|k| k == ("K", false, true)));
        assert!(taken_from_browser().all(|(name, _, ctrl)| ctrl || name == "F1"));
    }
}
