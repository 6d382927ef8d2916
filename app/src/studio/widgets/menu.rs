//! Menus of what is pointed at.

use egui::{Key, Modifiers, Popup, Response, SetOpenCommand, Ui};

/// A menu that the right button opens at the pointer, and Shift+F10 or the menu key under what has the keyboard.
pub fn menu_of(response: &Response, add: impl FnOnce(&mut Ui)) {
    let by_key = response.id.with("menu by key");
    let context = &response.ctx;
    let pressed = response.has_focus()
        && context
            .input_mut(|i| i.consume_key(Modifiers::SHIFT, Key::F10) || i.consume_key(Modifiers::NONE, Key::Menu));
    if pressed || response.secondary_clicked() {
        context.data_mut(|d| d.insert_temp(by_key, pressed));
    }
    let mut menu = Popup::context_menu(response);
    if context.data(|d| d.get_temp(by_key)).unwrap_or(false) {
        menu = menu.anchor(response);
    }
    if pressed {
        menu = menu.open_memory(SetOpenCommand::Bool(true));
    }
    menu.show(add);
}
